"""Help that fits a screen: a line for each option, or the whole text of some."""

import re
import shutil
import textwrap
from argparse import Action
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

_COLUMN, _NARROWEST, _WIDEST = 30, 60, 120


def short_meaning(meaning: str) -> str:
    """The first clause of a help text.

    >>> short_meaning("how many random keyframes; null is 4 for a loop, 1 for a traverse."), short_meaning("side: px")
    ('how many random keyframes', 'side')
    """
    return re.split(r"[;:](?: |$)|\.(?: |$)", " ".join(meaning.split()), maxsplit=1)[0]


def literals(hint: Any) -> list[str]:
    """The words among the values that a type allows.

    >>> literals(Literal["a", "b"] | None), literals(int)
    (['a', 'b'], [])
    """
    if get_origin(hint) is Literal:
        return [str(word) for word in get_args(hint)]
    return [word for part in get_args(hint) for word in literals(part)]


def meaning_of(action: Action, whole: bool = False) -> str:
    """The meaning of an option, or the first clause of it, with the words that it takes and its default."""
    meaning, words = " ".join((action.help or "").split()), literals(getattr(action, "_typehint", None))
    default = "" if action.default in (None, False, []) or action.nargs == 0 else f"default {action.default}"
    notes = "; ".join(filter(None, ("|".join(words), default)))
    return (meaning if whole else short_meaning(meaning)) + (f" ({notes})" if notes else "")


def help_screen(usage: str, description: str, sections: Mapping[str, Mapping[str, str]], more: str = "") -> str:
    """The help of a program or a command.

    Args:
        usage: how it is called.
        description: what it does.
        sections: titles → names → their meanings.
        more: where to find the rest.

    >>> print(help_screen("draw [options]", "Draws.", {"Size": {"--size": "in pixels"}}), end="")
    usage: draw [options]
    <BLANKLINE>
    Draws.
    <BLANKLINE>
    Size:
      --size  in pixels
    """
    width = min(_WIDEST, max(_NARROWEST, shutil.get_terminal_size().columns))
    column = min(_COLUMN, max((len(name) for rows in sections.values() for name in rows), default=0) + 4)
    parts = [f"usage: {usage}", _filled(description.strip(), width)]
    for title, rows in sections.items():
        if rows:
            parts.append("\n".join([f"{title}:", *(_row(name, text, column, width) for name, text in rows.items())]))
    return "\n\n".join(filter(None, [*parts, _filled(more, width)])) + "\n"


def _filled(text: str, width: int) -> str:
    return "\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in text.splitlines())


def _row(name: str, meaning: str, column: int, width: int) -> str:
    indent, start = " " * column, f"  {name}  "
    text = textwrap.fill(meaning, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return f"{start}{text[len(start) :]}" if len(start) <= column else f"{start.rstrip()}\n{text}"
