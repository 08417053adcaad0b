"""`~` and `~user` in the options of a command, in its arguments and in YAML alike: home folders."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from data.system.files import user_path


def expand_tilde_arguments(words: list[str]) -> list[str]:
    """Arguments in which a value `~` is the home folder; YAML, as which values are parsed, would take it for null.

    >>> [word.startswith(("~", "--a=~")) for word in expand_tilde_arguments(["~", "--a=~", "--a=~/b"])]
    [False, False, True]
    """
    home = str(Path.home())
    return [f"{word[:-1]}{home}" if word == "~" or word.endswith("=~") else word for word in words]


def expand_tildes(value: Any, defaults: dict[str, Any]) -> Any:
    """An option's value, or those of a command, where texts that begin with `~` are paths below a home folder.

    Values that are the defaults, option → value, stay as they are: a config is for other users too.

    Raises:
        UserError: there is no such user.
    """
    if isinstance(value, Namespace):
        for key, part in value.items():
            if part not in (defaults.get(key), defaults.get(key.partition(".")[2])):  # alone, or after a command
                value[key] = expand_tildes(part, defaults)
    elif isinstance(value, dict):
        return {key: expand_tildes(part, defaults) for key, part in value.items()}
    elif isinstance(value, list):
        return [expand_tildes(part, defaults) for part in value]
    elif isinstance(value, (str, Path)) and str(value).startswith("~"):
        return type(value)(user_path(str(value)))
    return value
