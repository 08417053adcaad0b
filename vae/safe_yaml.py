"""YAML of unknown origin, read in bounded memory and time.

A few lines of aliases can stand for billions of values, a number for megabytes of digits, a file for a pipe that never
ends. What a text stands for is counted before anything is made of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Path as ConfigPath  # type: ignore[attr-defined]
from jsonargparse import get_loader, set_loader, set_parsing_settings

from data.system.errors import UserError
from data.system.files import check_regular_file

_REMEDY = "name a config in YAML, which --print_config writes"
_MOST_BYTES = 1_000_000
_MOST_VALUES = 10_000
_LONGEST_NUMBER = 100  # digits
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UnsafeYAML(yaml.YAMLError):
    """YAML that would take too much memory or time."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not taken: {reason}")


def read_config(path: Path) -> str:
    """The text of a config file.

    Raises:
        UserError: it is no plain file, too large, or not text.
        OSError: it cannot be read.
    """
    check_regular_file(path)
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise UserError(f"{path}: is larger than {_MOST_BYTES // 10**6} MB; {_REMEDY}")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text; {_REMEDY}") from None


def check_yaml(text: str) -> None:
    """Raises `yaml.YAMLError` unless a text is YAML of at most 10,000 values, aliases counted as what they stand for.

    >>> check_yaml("data: {limit: 1000}")
    >>> check_yaml("a: &a [1, *a]")
    Traceback (most recent call last):
    vae.safe_yaml.UnsafeYAML: not taken: an alias of itself
    """
    try:
        node = yaml.compose(text, Loader=_LOADER)
        if node is not None and _count(node, {}) > _MOST_VALUES:
            raise UnsafeYAML(f"more than {_MOST_VALUES} values")
    except RecursionError:
        raise UnsafeYAML("nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """The value of a text in YAML, of plain types. Raises `yaml.YAMLError` unless it is safe."""
    check_yaml(text)
    try:
        return yaml.load(text, Loader=_LOADER)
    except (ValueError, RecursionError) as error:  # a date with a 13th month, for example
        raise UnsafeYAML(str(error)) from None


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for.

    Args:
        node: what to count.
        known: node → its count, 0 while it is counted.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise UnsafeYAML("an alias of itself")
        return known[id(node)]
    known[id(node)] = 0
    if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
        raise UnsafeYAML(f"a number of {len(node.value)} digits")
    known[id(node)] = 1 + sum(_count(part, known) for part in _parts(node))
    return known[id(node)]


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def guard_configs() -> None:
    """Has jsonargparse read configs, and the files that stand for one of their parts, in these bounds."""
    usual = get_loader("yaml")

    def load(text: str) -> Any:
        check_yaml(text)
        return usual(text)

    set_loader("yaml", load, (yaml.YAMLError,))
    set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning has it fetch them from anywhere
    setattr(ConfigPath, "read_text", lambda path: read_config(Path(path)))  # noqa: B010  # which mypy takes amiss
