"""Groups of options: frozen dataclasses whose fields are options of a command line.

The types of fields and the docstring of the class are the command line's types and help. What a type cannot say stands
in its annotation, `Annotated[type, extra]`:

    Annotated[int, Range(1, 64)]                       a number within limits
    Annotated[Easing | None, parse_easing]             a word, and the function that makes a value of it
    Annotated[str, Literal[...]]                       one of some words
    Annotated[tuple[str, ...], Words(help, parse)]     several words
    Annotated[bool, Switch(help)]                      an option without a value

A field `from_` of several words is the option `--from`, a name that Python reserves.
Words are parsed once, by `parse_options`; a function that parses raises `UserError` with one line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, make_dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from data.system.errors import UserError, check_at_least

if TYPE_CHECKING:  # paths and frames are used without a command line too
    from jsonargparse import ArgumentParser

Group = TypeVar("Group")


class Range(NamedTuple):
    """The least and the largest value of a number."""

    low: float
    high: float | None = None


class Words(NamedTuple):
    """An option that takes several words: its help, and what parses them."""

    meaning: str
    parse: Callable[[Sequence[str]], tuple[Any, ...]]


class Switch(NamedTuple):
    """An option without a value: its help."""

    meaning: str


def option_name(field: str) -> str:
    """The name of a field's option, without dashes."""
    return field.removesuffix("_")


def _extra(hint: Any) -> Any:
    """The part of an annotation beside the type: a `Range`, `Words`, `Switch`, literals, a function, or None."""
    return getattr(hint, "__metadata__", (None,))[0]


def add_options(parser: "ArgumentParser", group: type) -> None:
    """Adds a group of options, as the words and numbers that are typed, with the help of its docstring."""
    hints, typed = get_type_hints(group, include_extras=True), []
    for field in fields(group):
        hint, extra = hints[field.name], _extra(hints[field.name])
        if isinstance(extra, Words):
            name = option_name(field.name)
            parser.add_argument(f"--{name}", nargs="+", type=str, default=None, help=extra.meaning)
        elif isinstance(extra, Switch):
            parser.add_argument(f"--{field.name}", action="store_true", help=extra.meaning)
        elif isinstance(extra, Range) or extra is None:
            typed.append((field.name, get_args(hint)[0] if extra else hint, field.default))
        else:
            kind: Any = extra if get_origin(extra) is Literal else str
            default = None if field.default is None else str(field.default)
            typed.append((field.name, kind if default else kind | None, default))
    if typed:
        parser.add_class_arguments(make_dataclass(group.__name__, typed, namespace={"__doc__": group.__doc__}))


def descriptions(group: type) -> dict[str, str]:
    """The texts of a group's docstring about its options, option → text; not those of `Words` and `Switch`."""
    from docstring_parser import parse

    found = ((part.arg_name, part.description) for part in parse(group.__doc__ or "").params)
    return {name: " ".join((text or "").split()) for name, text in found}


def parse_options(group: type[Group], arguments: Mapping[str, Any]) -> Group:
    """A group of options with their values. Raises `UserError` for one that will not do."""
    hints = get_type_hints(group, include_extras=True)
    options = {field: option_name(field) for field in hints}
    return group(**{field: _value(name, _extra(hints[field]), arguments[name]) for field, name in options.items()})


def _value(name: str, extra: Any, value: Any) -> Any:
    if isinstance(extra, Words):
        return extra.parse(value or ())
    if value is None or extra is None or isinstance(extra, Switch) or get_origin(extra) is Literal:
        return value
    if not isinstance(extra, Range):
        return extra(value)
    if extra.high is None:
        check_at_least(int(extra.low), name, value)
    elif not extra.low <= value <= extra.high:
        number = f"{value:g}" if isinstance(value, float) else value
        raise UserError(f"{name} {number}: must be from {extra.low} to {extra.high}")
    return value
