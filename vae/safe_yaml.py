"""YAML of unknown origin, read in bounded memory and time.

A few lines of aliases can expand to billions of values, a number can have megabytes of digits, a file can be an endless
pipe. A text is parsed as a stream of events before any value of it is made.
"""

import re
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
_DEEPEST = 50
_LONG_NUMBER = re.compile(r"[-+.:\da-fox_]{100,}", re.IGNORECASE)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    """Raises `yaml.YAMLError` unless a text is YAML without aliases, of at most 10,000 values.

    >>> check_yaml("data: {limit: 1000}")
    >>> check_yaml("a: &a [1, *a]")
    Traceback (most recent call last):
    yaml.error.YAMLError: not taken: an alias, *a
    """
    values = depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"not taken: an alias, *{event.anchor}"[:60])
        if values > _MAX_VALUES or depth > _DEEPEST:
            raise yaml.YAMLError(f"not taken: more than {_MAX_VALUES} values, or {_DEEPEST} within one another")
        if isinstance(event, yaml.ScalarEvent) and _LONG_NUMBER.fullmatch(event.value):
            raise yaml.YAMLError(f"not taken: a number of {len(event.value)} digits")


def parse_yaml(text: str) -> Any:
    """The value of a text in YAML, of plain types. Raises `yaml.YAMLError` unless it is safe."""
    check_yaml(text)
    try:
        return yaml.load(text, Loader=_LOADER)
    except ValueError as error:  # a date with a 13th month, for example
        raise yaml.YAMLError(str(error)) from None


def guard_configs() -> None:
    """Makes jsonargparse read configs, and the files that options name as a part of one, within these bounds."""
    load_yaml = get_loader("yaml")

    def load(text: str) -> Any:
        check_yaml(text)
        return load_yaml(text)

    set_loader("yaml", load, (yaml.YAMLError,))
    set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning has it fetch them from anywhere
    setattr(ConfigPath, "read_text", lambda path: read_config(Path(path)))  # noqa: B010  # mypy refuses the assignment
