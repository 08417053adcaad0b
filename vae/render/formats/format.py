"""`Format`: one kind of animation file. `vae.render.formats.table` lists them all."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

from vae.render.formats.frame import Frame

Quality = int | Literal["draft"] | None


class AnimationEncoder(Protocol):
    """A function that writes an animation into a file.

    Args:
        file: open for reading and writing, at its beginning.
        frames: (H, W, 3) uint8, at least one, all of one size.
        fps: frames a second.
        quality: one of `Format.qualities`; None is the best; "draft" is encoded faster and less well.
    """

    def __call__(self, file: BinaryIO, frames: Iterator[Frame], fps: float, quality: Quality) -> None: ...


@dataclass(frozen=True)
class Format:
    """One kind of animation file.

    Attributes:
        suffix: of its files, in lower case, with the dot.
        encode: writes the file.
        qualities: the lower qualities that a limit on the file's size may choose, the best first.
        quality_unit: what those numbers count: "colours" of a frame, or "quality" on the encoder's own scale.
        streamed: whether frames are encoded one by one, so that the memory needed does not grow with their number.
        longest_side: the most pixels that a side can have.
        highest_fps: the most frames a second that players show at full speed.
    """

    suffix: str
    encode: AnimationEncoder
    qualities: tuple[int, ...]
    quality_unit: Literal["colours", "quality"] = "quality"
    streamed: bool = False
    longest_side: int = 65_535
    highest_fps: float = 1000
