"""The choices of the page → the words of a command of render.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.system.errors import UserError
from vae.option_groups import descriptions
from vae.render.clips import BetweenOptions
from vae.render.options import KeyframeOptions, MotionOptions, PictureOptions
from vae.render.walks.paths import MEANINGS

LEAST, MOST = 2, 8  # pictures
LOOP = "loop"
AUTOMATIC = "automatic"
_HELP = {
    name: text
    for group in (KeyframeOptions, BetweenOptions, MotionOptions, PictureOptions)
    for name, text in descriptions(group).items()
}


@dataclass(frozen=True)
class FilmOptions:
    """A film as it is chosen on the page.

    Attributes:
        path: of `MEANINGS`, the command.
        seconds: how long it is, without its rests.
        rest: seconds on each keyframe.
        size: side of a frame in pixels.
        suffix: of the file, which is its format.
        fps: frames a second.
        easing: its name, or `AUTOMATIC`.
        fit: how pictures become square.
        between: what is between keyframes.
    """

    path: str
    seconds: float
    size: int
    suffix: str
    easing: str = AUTOMATIC
    rest: float = 0.0
    fps: float = MotionOptions.fps
    fit: str = KeyframeOptions.fit
    between: str = BetweenOptions.between

    def words(self, keyframes: Sequence[str], out: Path, checkpoint: Path | None = None) -> list[str]:
        """The command and its options, of a film through keyframes.

        >>> " ".join(FilmOptions("slerp", 3, 256, ".gif").words(["4", "7", "9"], Path("a.gif")))  # doctest: +ELLIPSIS
        'slerp --keyframes 4 7 9 --durations 1.5 1.5 --hold 0 --fps 20.0 --size 256 ... --out a.gif'

        Raises:
            UserError: too few keyframes, or too many.
        """
        check_count(len(keyframes))
        stretches = len(keyframes) - (self.path != LOOP)
        words = [self.path, "--keyframes", *keyframes]
        words += ["--durations", *[f"{self.seconds / stretches:g}"] * stretches]
        words += ["--hold", str(round(self.rest * self.fps)), "--fps", str(self.fps), "--size", str(self.size)]
        words += ["--fit", self.fit, "--between", self.between]
        words += [] if self.easing == AUTOMATIC else ["--easing", self.easing]
        words += [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        return [*words, "--out", str(out)]


def help_of(option: str) -> str:
    """The text of the command line's help on an option, as a sentence."""
    return _HELP[option][0].upper() + _HELP[option][1:]


def meaning_of(path: str) -> str:
    """The name of a path and what it is."""
    return f"{path}: {MEANINGS[path]}"


def check_count(count: int) -> None:
    """Raises `UserError` unless a film can go through so many pictures.

    >>> check_count(9)
    Traceback (most recent call last):
    data.system.errors.UserError: 9 pictures: a film goes through 2 to 8; remove 1
    """
    if LEAST <= count <= MOST:
        return
    number = f"{count or 'no'} picture{'' if count == 1 else 's'}"
    remedy = f"remove {count - MOST}" if count > MOST else f"add {LEAST - count} or more"
    raise UserError(f"{number}: a film goes through {LEAST} to {MOST}; {remedy}")
