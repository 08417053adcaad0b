"""YAML of unknown origin, read in bounded memory and time.

A few lines of aliases can expand to billions of values, a number can have megabytes of digits, a file can be an endless
pipe. The values of a text are counted before any of them is made.
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
_MAX_BYTES = 1_000_000
_MAX_VALUES = 10_000
_MAX_DIGITS = 100
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UnsafeYAML(yaml.YAMLError):
    """YAML that would take too much memory or time; the message says why."""

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
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise UserError(f"{path}: is larger than {_MAX_BYTES // 10**6} MB; {_REMEDY}")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text; {_REMEDY}") from None


def check_yaml(text: str) -> None:
    """Raises `yaml.YAMLError` unless a text is YAML of at most 10,000 values, those behind each alias included.

    >>> check_yaml("data: {limit: 1000}")
    >>> check_yaml("a: &a [1, *a]")
    Traceback (most recent call last):
    vae.safe_yaml.UnsafeYAML: not taken: an alias of itself
    """
    try:
        node = yaml.compose(text, Loader=_LOADER)
        if node is not None and _count(node, {}) > _MAX_VALUES:
            raise UnsafeYAML(f"more than {_MAX_VALUES} values")
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
    """The number of values of a node, aliases expanded.

    Args:
        node: the node.
        known: the id of a node → its number of values, 0 while it is being counted.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise UnsafeYAML("an alias of itself")
        return known[id(node)]
    known[id(node)] = 0
    if node.tag in _NUMBERS and len(node.value) > _MAX_DIGITS:
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
    """Makes jsonargparse read configs, and the files that options name as a part of one, within these bounds."""
    load_yaml = get_loader("yaml")

    def load(text: str) -> Any:
        check_yaml(text)
        return load_yaml(text)

    set_loader("yaml", load, (yaml.YAMLError,))
    set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning has it fetch them from anywhere
    setattr(ConfigPath, "read_text", lambda path: read_config(Path(path)))  # noqa: B010  # mypy refuses the assignment
