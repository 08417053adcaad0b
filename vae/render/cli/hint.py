"""The command to try next."""

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from shlex import quote

from data.system.program import program_command
from vae.render.cli.commands import COMMANDS

_KEPT = {  # options beside the words without one, and their defaults, which need not be said
    **dict.fromkeys(("checkpoint", "class", "seed", "count", "audio", "minutes", "aspect", "border", "size")),
    "hold": 0,
    "fit": "crop",
    "style": "keyframes",
    "path": "spline",
}
_EXAMPLES = Path(__file__).parents[3] / ".github" / "keyframes"  # in a checkout


def next_command(command: str | None, typed: Mapping[str, object]) -> str:
    """The command to try after another one, or after the usual four, with its keyframes and model; "" if there is none.

    Args:
        command: that was run.
        typed: its options that were given, as words or lists of words.
    """
    if command is None:
        files = [file for file in (_EXAMPLES / "bear.png", _EXAMPLES / "horse.png") if file.is_file()]
        return _line([*map(_nearby, files)] or ["loop", "--seed", "3"])
    if not (following := COMMANDS[command].following):
        return ""
    name, *more = following.split()
    known, typed = COMMANDS[name].options, dict(typed)
    if name != "compare":  # which alone takes several models
        typed["checkpoint"] = _words(typed.get("checkpoint"))[:1]
    given = _words(typed.get(COMMANDS[name].positional or ""))
    kept = [
        [f"--{option}", *_words(typed[option])]
        for option, default in _KEPT.items()
        if option in known and f"--{option}" not in more and typed.get(option) not in (None, [], default)
    ]
    return _line([name, *given, *chain(*kept), *more])


def _nearby(file: Path) -> str:
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else [] if value is None else [str(value)]


def _line(words: Iterable[str]) -> str:
    return " ".join([program_command("render"), *map(quote, words)])
