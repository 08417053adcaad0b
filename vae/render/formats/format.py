"""All output formats of animations, by their suffixes. A new one needs a row in `FORMATS`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vae.render.formats.frame import Frame
from vae.render.formats.gif import encode_gif
from vae.render.formats.pillow import encode_by_pillow
from vae.render.formats.video import encode_video

Quality = int | Literal["draft"] | None  # None is the best, "draft" is encoded faster and less well


@dataclass(frozen=True)
class Format:
    """One kind of animation file.

    Attributes:
        encoder: (path, frames, fps, **options) writes a file of one or more frames of one size, to be played for ever.
        qualities: the lower qualities that a limit on the file's size may choose, the best first.
        quality_option: the encoder's option for them.
        options: of the encoder.
        draft_options: in place of those, for drafts.
        longest_side: the most pixels that a side can have.
        highest_fps: the most frames a second that players show at full speed.
        streamed: whether frames are written as they come; else the encoder holds all of them.
    """

    encoder: Callable[..., None]
    qualities: tuple[int, ...]
    quality_option: Literal["quality", "colours", "crf"] = "quality"
    options: Mapping[str, Any] = field(default_factory=dict)
    draft_options: Mapping[str, Any] = field(default_factory=dict)
    longest_side: int = 65_535
    highest_fps: float = 1000
    streamed: bool = True

    @property
    def has_sound(self) -> bool:
        """Whether its encoder takes a sound file, as `audio`."""
        return "sound_codec" in self.options

    def encode(
        self, path: Path, frames: Iterator[Frame], fps: float, quality: Quality, audio: Path | None = None
    ) -> None:
        """Writes a file of frames (H, W, 3), with the sound of a file where `has_sound`."""
        options = {**self.options, **(self.draft_options if quality == "draft" else {})}
        if isinstance(quality, int):
            options[self.quality_option] = quality
        if audio and self.has_sound:
            options["audio"] = audio
        self.encoder(path, frames, fps, **options)


FORMATS = {
    ".gif": Format(encode_gif, (128, 64, 32, 16), "colours", draft_options={"octree": True}, highest_fps=50),
    ".mp4": Format(
        encode_video,
        (22, 28, 34, 40),
        "crf",
        # x264's macroblock tree now and then makes other bytes of the same frames
        {
            "codec": "libx264",
            "sound_codec": "aac",
            "container": "mp4",
            "crf": 17,
            "preset": "medium",
            "x264-params": "mbtree=0",
        },
        {"preset": "ultrafast"},
        longest_side=16_384,
    ),
    ".webm": Format(
        encode_video,
        (32, 40, 48, 56),
        "crf",
        {"codec": "libvpx-vp9", "sound_codec": "libopus", "container": "webm", "crf": 24, "b": 0},
        {"deadline": "realtime", "cpu-used": 8, "row-mt": 1},
        longest_side=16_384,
    ),
    ".webp": Format(
        encode_by_pillow,
        (75, 50, 25, 10),
        options={"format": "WEBP", "quality": 90, "method": 4, "kmin": 0, "kmax": 1},  # kmax: merge no frames
        draft_options={"method": 0},
        longest_side=16_383,
        streamed=False,
    ),
    ".png": Format(
        encode_by_pillow, (256, 64, 16), "colours", {"format": "PNG"}, {"compress_level": 1}, streamed=False
    ),
    ".avif": Format(
        encode_by_pillow,
        (65, 45, 30, 15),
        options={"format": "AVIF", "quality": 85, "speed": 6},
        draft_options={"speed": 10},
        streamed=False,
    ),
}
