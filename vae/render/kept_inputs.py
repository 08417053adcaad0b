"""What a command reads stays: no result may take its place."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.image_files.formats import FORMATS
from data.system.errors import UserError
from data.system.files import user_path

_RESULTS = ("out", "save_latents", "report")  # a fitted model has a check of its own, see `vae.checkpoint`


def check_results_typed(arguments: Mapping[str, Any]) -> None:
    """Raises `UserError` if a result that was named would take the place of a file that the command reads."""
    for name in _RESULTS:
        if arguments.get(name):
            check_result(user_path(arguments[name]), arguments)


def check_result(result: Path, arguments: Mapping[str, Any]) -> None:
    """Raises `UserError` if a result would take the place of a file that the arguments name, or of a folder's picture.

    Args:
        result: a file that will be written.
        arguments: of the command, as they were typed; words that name no file do no harm.
    """
    for value in (value for name, value in arguments.items() if name not in _RESULTS):
        words = value if isinstance(value, list) else [value]
        if any(_is_read(str(word), result) for word in words if word):
            raise UserError(f"{result}: is read by this command, and would be lost; name another file")


def _is_read(word: str, result: Path) -> bool:
    """True if a word names the file, a latent in it, or the folder of a picture that it is."""
    with suppress(OSError, ValueError):  # no file can be called so
        if not result.is_file():
            return False
        for path in map(user_path, (word, *word.rsplit(":", 1)[:-1])):
            if path.is_file():
                return path.samefile(result)
            if path.is_dir():
                return result.suffix.lower() in FORMATS and path.resolve() in result.resolve().parents
    return False
