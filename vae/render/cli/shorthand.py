"""Short forms of a command line: words that no option precedes."""

import re
from collections.abc import Sequence
from pathlib import Path

from data.system.files import user_path
from vae.command_line.words import insert_option, swap_help
from vae.render.cli.commands import COMMANDS

_SEED = r"[+-]?\d{1,20}"
_MODELS = (".ckpt", ".onnx")


def expand(words: Sequence[str]) -> list[str]:
    """A command line in full: its command, and the option that its first words belong to.

    A folder alone is a tour, keyframes alone are slerp, or a loop with `--loop`.

    >>> expand(["cat.png", "dog.png", "--fps", "30"])
    ['slerp', '--keyframes', 'cat.png', 'dog.png', '--fps', '30']
    >>> expand(["3", "7", "9", "--loop"]), expand(["route", "a.png", "b.png"]), expand(["slrep", "a.png"])
    (['loop', '--keyframes', '3', '7', '9'], ['route', '--keyframes', 'a.png', 'b.png'], ['slrep', 'a.png'])
    """
    words = swap_help(words, COMMANDS)
    named = [word for word in words if word != "--loop"]
    if named and named[0] not in COMMANDS and _is_material(named[0]):
        if named[0].endswith("/") or user_path(named[0]).is_dir():
            words.insert(0, "tour")
        else:
            words = ["slerp" if named == words else "loop", *named]
    if words and words[0] in COMMANDS and (option := COMMANDS[words[0]].positional):
        return insert_option(words, f"--{option}", _is_material)
    return words


def _is_material(word: str) -> bool:
    """True if a word names a seed, or a file or folder, be it there or not, that is no model."""
    if re.fullmatch(_SEED, word):
        return True
    if not word or word.startswith("-") or "=" in word:
        return False
    path = Path(word)
    return path.suffix not in _MODELS and bool(path.suffix or "/" in word or user_path(word).exists())
