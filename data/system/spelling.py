"""What was meant: the nearest of the names that would have done."""

from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

_NEAR = 0.6
_LOOKED_AT = 1000  # files of a folder


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The name that is most like a word, whatever its case and hyphens, by its last part alone if the word has one.

    >>> nearest("CIFAR-10", ["CIFAR10", "SVHN"]), nearest("--batch-size", ["--data.batch_size"]), nearest("x", ["ab"])
    ('CIFAR10', '--data.batch_size', None)
    """
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(_plain(name if "." in word else name.rsplit(".")[-1]), name)
    found = get_close_matches(_plain(word), names, 1, _NEAR)
    return names[found[0]] if found else None


def suggestion(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A remedy: the nearest name, or else what is said instead, or else all names.

    >>> suggestion("slrep", ["slerp", "spline"]), suggestion("fly", ["slerp", "spline"])
    ('did you mean slerp?', 'take slerp or spline')
    """
    *most, last = known = list(known)
    near = nearest(word, known)
    return f"did you mean {near}?" if near else otherwise or f"take {', '.join(most)} or {last}"


def neighbour(path: Path, otherwise: str) -> str:
    """A remedy for a file or folder that is not there: one beside it with nearly that name, or else `otherwise`."""
    names: dict[str, str] = {}
    with suppress(OSError):
        names = {entry.stem: entry.name for entry in islice(path.parent.iterdir(), _LOOKED_AT)}
    near = nearest(path.stem, names)
    return f"did you mean {path.with_name(names[near])}?" if near else otherwise
