"""The types of options in words, and the values that they allow, from the type hints of jsonargparse's actions."""

from argparse import Action
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

_WORDS = {int: "a whole number", float: "a number", str: "a word", Path: "a word", NoneType: "null"}


def _types(hint: Any) -> list[Any]:
    """The types that a hint allows, and the values of its literals.

    >>> _types(Literal["a", "b"] | int | None)
    ['a', 'b', <class 'int'>, <class 'NoneType'>]
    """
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) in (None, list):
        return [get_origin(hint) or hint]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [one for part in get_args(hint) for one in _types(part)]


def choices(action: Action) -> list[str]:
    """The values of an option's literals, and the names of Lightning's classes where it takes one."""
    allowed = [part for one in _types(getattr(action, "_typehint", None)) for part in (get_args(one) or (one,))]
    classes = [one for one in allowed if getattr(one, "__module__", "").startswith("lightning.")]
    return [one for one in allowed if isinstance(one, str)] + [name for one in classes for name in _subclasses(one)]


def _subclasses(kind: type) -> list[str]:
    known: list[type] = kind.__subclasses__()
    return [name for one in known for name in (one.__name__, *_subclasses(one))]


def describe_type(action: Action | None) -> str:
    """The type of an option in words, as `a whole number or null`; that of an unknown option is `a word`."""
    allowed = _types(getattr(action, "_typehint", None) or str)
    if float in allowed:
        allowed = [one for one in allowed if one is not int]
    words = [_WORDS.get(one, f"a {one.__name__}") if isinstance(one, type) else str(one) for one in allowed]
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last
