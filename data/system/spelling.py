"""Words: how things are counted, and the closest of those that there are as a remedy for a misspelt name."""

from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

_LEAST_RATIO = 0.6
_MOST_FILES = 1000  # of a folder that are compared


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")


def closest_match(word: str, known: Iterable[str]) -> str | None:
    """The name closest to a word, without regard to case and hyphens; a word without dots is compared to last parts.

    The only name that begins with the word is the closest.

    >>> closest_match("CIFAR-10", ["CIFAR10", "SVHN"]), closest_match("x", ["ab"])
    ('CIFAR10', None)
    >>> closest_match("--batch-size", ["--data.batch_size"]), closest_match("--print", ["--init", "--print_config"])
    ('--data.batch_size', '--print_config')
    """
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(_plain(name if "." in word else name.rsplit(".")[-1]), name)
    plain = _plain(word)
    longer = [name for name in names if len(plain) > 2 and name.startswith(plain)]
    found = longer if len(longer) == 1 else get_close_matches(plain, names, 1, _LEAST_RATIO)
    return names[found[0]] if found else None


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "keyframe"), counted(2, "keyframe")
    ('1 keyframe', '2 keyframes')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def suggest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A remedy: the closest name, or else `otherwise`, or else all names.

    >>> suggest("slrep", ["slerp", "spline"]), suggest("fly", ["slerp", "spline"])
    ('did you mean slerp?', 'take slerp or spline')
    """
    *most, last = known = list(known)
    near = closest_match(word, known)
    return f"did you mean {near}?" if near else otherwise or f"take {', '.join(most)} or {last}"


def suggest_file(path: Path, otherwise: str) -> str:
    """A remedy for a file or folder that is not there: one beside it with nearly that name, or else `otherwise`."""
    names: dict[str, str] = {}
    with suppress(OSError):
        names = {entry.stem: entry.name for entry in islice(path.parent.iterdir(), _MOST_FILES) if entry != path}
    near = closest_match(path.stem, names)
    return f"did you mean {path.with_name(names[near])}?" if near else otherwise
