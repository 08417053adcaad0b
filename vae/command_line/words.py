"""Words of a command line, before a parser reads them."""

from collections.abc import Callable, Sequence


def insert_option(words: Sequence[str], option: str, is_meant: Callable[[str], bool]) -> list[str]:
    """A command and its words, with an option put before the first of them if no other is there and it is meant.

    >>> insert_option(["slerp", "3", "7", "--fps", "9"], "--keyframes", str.isdecimal)
    ['slerp', '--keyframes', '3', '7', '--fps', '9']
    >>> insert_option(["slerp", "--fps", "9"], "--keyframes", str.isdecimal)
    ['slerp', '--fps', '9']
    """
    command, *rest = words
    return [command, option, *rest] if rest and is_meant(rest[0]) else [command, *rest]
