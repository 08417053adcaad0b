"""Words of a command line, before a parser reads them."""

from collections.abc import Callable, Collection, Sequence

from data.system.errors import UserError

HELP = ("-h", "--help")


def insert_option(words: Sequence[str], option: str, is_meant: Callable[[str], bool]) -> list[str]:
    """A command and its words, with an option put before the first of them if no other is there and it is meant.

    Raises `UserError` if that option is there, too.

    >>> insert_option(["slerp", "3", "7", "--fps", "9"], "--keyframes", str.isdecimal)
    ['slerp', '--keyframes', '3', '7', '--fps', '9']
    >>> insert_option(["slerp", "--fps", "9"], "--keyframes", str.isdecimal)
    ['slerp', '--fps', '9']
    """
    command, *rest = words
    if not rest or not is_meant(rest[0]):
        return [command, *rest]
    if option in rest:
        raise UserError(f"{rest[0]}: stands beside {option}; name all in one place, with the option or without")
    return [command, option, *rest]


def swap_help(words: Sequence[str], commands: Collection[str]) -> list[str]:
    """The words, in which a command that `--help` precedes comes first.

    >>> swap_help(["--help", "slerp"], ["slerp"]), swap_help(["--help"], ["slerp"])
    (['slerp', '--help'], ['--help'])
    """
    asked, *rest = words or [""]
    return [rest[0], asked, *rest[1:]] if asked in HELP and rest and rest[0] in commands else list(words)
