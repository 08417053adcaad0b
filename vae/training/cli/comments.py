"""YAML that says above each key what it means, in the words of the docstrings."""

import re
import textwrap
from collections.abc import Iterator, Mapping

import yaml

_WIDTH = 110
_MARKUP = re.compile(r":\w+:`(?:~[\w.]*\.)?([^`]+)`|``([^`]*)``")
_DEFAULT = re.compile(r"\s+Defaults?: [^.]*(\.\S+)?\.?$")  # Lightning's; the value below may be another


def commented(text: str, meanings: Mapping[str, str | None]) -> str:
    r"""YAML with comments, and otherwise unchanged.

    Args:
        text: YAML without comments between its keys.
        meanings: what to say of a key, by its dotted path; of others nothing is said.

    >>> print(commented("model:\n  beta: 10.0", {"model.beta": "weight of ``KL``. Default: 1."}))
    model:
      # weight of KL
      beta: 10.0
    """
    lines = text.splitlines(keepends=True)
    for path, mark in reversed(list(_keys(yaml.compose(text, yaml.SafeLoader)))):
        if meaning := _plain(meanings.get(path) or ""):
            indent = " " * mark.column + "# "
            lines[mark.line : mark.line] = [
                f"{line}\n"
                for line in textwrap.wrap(
                    meaning, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
                )
            ]
    return "".join(lines)


def _keys(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, yaml.Mark]]:
    """The dotted path and the place of each key in mappings of mappings, from the top down."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, value in node.value:
            yield prefix + key.value, key.start_mark
            yield from _keys(value, f"{prefix}{key.value}.")


def _plain(meaning: str) -> str:
    """Without reStructuredText, in one line."""
    return _DEFAULT.sub("", _MARKUP.sub(r"\1\2", " ".join(meaning.split()))).removesuffix(".")
