"""Short forms of a command line: a folder that no option precedes, and `fit` that is not named."""

from collections.abc import Sequence
from pathlib import Path

from data.sources import SOURCES
from data.system.files import user_path
from vae.command_line.words import HELP, insert_option, swap_help

COMMANDS = ("fit", "validate", "test")
_OTHERS = (".ckpt", ".yaml", ".yml")


def expand(words: Sequence[str]) -> list[str]:
    """A command line in full: its command, and the option that pictures belong to.

    >>> expand([]), expand(["--minutes", "9"]), expand(["MNIST", "--minutes", "9"]), expand(["validate", "pics/"])
    (['fit'], ['fit', '--minutes', '9'], ['fit', '--data.source', 'MNIST', '--minutes', '9'], \
['validate', '--data.source', 'pics/'])
    """
    words = swap_help(words, COMMANDS)
    alone = len(words) == 1 and words[0] in (*HELP, "--version")
    if not words or (not alone and (words[0].startswith("-") or _is_source(words[0]))):
        words.insert(0, "fit")
    return insert_option(words, "--data.source", _is_source) if words[0] in COMMANDS else words


def _is_source(word: str) -> bool:
    """True if a word names a data set, or a folder, be it there or not."""
    if word in SOURCES:
        return True
    if not word or word.startswith("-") or word in COMMANDS or Path(word).suffix in _OTHERS:
        return False
    return "/" in word or user_path(word).is_dir()
