"""The options of the renderer that commands share, see `vae.option_groups`; others stand beside what they are of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from data.fit import Fit
from data.system.errors import UserError
from data.system.files import user_path
from data.system.spelling import suggest
from vae.latent.keyframes import KEYFRAME_KINDS
from vae.latent.timing import Easing, parse_durations, parse_easing
from vae.latent.trajectory import PATH_NAMES
from vae.option_groups import Range, Words
from vae.render.formats.border import Border, add_border, bordered_tiles, parse_aspect
from vae.render.formats.frame import Frame, resize
from vae.render.formats.size_limit import parse_size
from vae.render.formats.sound import Sound, read_sound
from vae.render.kept_inputs import check_result
from vae.tuning.pivotal import DEFAULT_BUDGET, Budget, parse_budget

DEFAULT_FRAMES = 40  # of a stretch
_SIDE = 256
_MOST_TILES = 64


@dataclass(frozen=True)
class RenderRequest:
    """A command as it was typed.

    Attributes:
        command: its name.
        arguments: all its options as they were typed, plain values for a report; `checkpoint` lists the files.
    """

    command: str
    arguments: dict[str, Any]

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """The files of the models."""
        return tuple(map(user_path, self.arguments["checkpoint"]))

    def default_out(self, out: Path | None, suffix: str) -> Path:
        """The file that was named, or else one below renders/ with the command's name, see `check_result`."""
        if out is None:
            check_result(out := Path(f"renders/{self.command}{suffix}"), self.arguments)
        return out


def parse_grid(word: str) -> tuple[int, int]:
    """The columns and rows of a grid like 4x3, of at most 64 tiles. Raises `UserError` if the word is none."""
    columns, _, rows = word.strip().lower().replace("×", "x").partition("x")
    sides = [int(side) if side.isdecimal() and len(side) < 5 else 0 for side in (columns, rows)]
    if not 1 <= sides[0] * sides[1] <= _MOST_TILES:
        raise UserError(f"grid {word!r}: not a grid; write columns and rows as 4x3, {_MOST_TILES} tiles at most")
    return sides[0], sides[1]


def parse_paths(names: Sequence[str]) -> tuple[str, ...]:
    """The names of paths. Raises `UserError` unless each is known and given once."""
    for name in names:
        if list(names).count(name) > 1:
            raise UserError(f"path {name}: is named twice; name it once")
        if name not in PATH_NAMES:
            raise UserError(f"path {name!r}: no such path; {suggest(name, PATH_NAMES)}")
    return tuple(names)


def _parse_files(names: Sequence[str]) -> tuple[Path, ...]:
    return tuple(user_path(name) for name in names)


def file_like(example: str) -> Callable[[str], Path]:
    """The function that makes a path of a name, which raises `UserError` unless it has the example's suffix."""

    def parse(name: str) -> Path:
        path, suffix = user_path(name), Path(example).suffix
        if path.suffix != suffix:
            raise UserError(f"{name}: must be a {suffix} file; name it like {example}")
        return path

    return parse


Device = Literal["auto", "cpu", "cuda", "mps"]
PathName = Annotated[str, Literal.__getitem__(PATH_NAMES)]
Truncation = Annotated[float, Range(0, 10)]
File = Annotated[Path | None, user_path]
Tuning = Annotated[Budget, parse_budget]
Classes = Annotated[
    tuple[str, ...],
    Words("the class of random pictures, in a model with classes; several: each of them at one noise", tuple),
]
Keyframes = Annotated[tuple[str, ...], Words(", ".join(kind.meaning for kind in KEYFRAME_KINDS), tuple)]


@dataclass(frozen=True)
class ModelOptions:
    """One model.

    Args:
        checkpoint: a .ckpt file; null is the newest last.ckpt below checkpoints/, or else checkpoints/patterns.ckpt.
        device: where the model runs: `auto` takes a GPU if there is one, else the CPU.
    """

    checkpoint: File = None
    device: Device = "auto"


@dataclass(frozen=True)
class KeyframeOptions:
    """The keyframes of a path.

    Args:
        seed: random keyframes are the first latents that this seed gives; null is 0.
        count: how many random keyframes; null is 4 for a loop, 1 for a traverse or a direction, 3 for an analogy and 2
            elsewhere.
        truncation: what the latents of seeds are multiplied by: less than 1 is closer to the mean picture.
        tune: how long a copy of the decoder is fitted to the pictures among the keyframes, so that the path begins and
            ends with them: a number of steps, or what to reach, 35dB for example; 0 shows the model as it is.
        fit: how pictures that are not square become so: `crop` keeps their centre, `pad` all of them on a ground of the
            median colour of their border, `stretch` all of them, out of proportion.
        save_tuned: a file, film.ckpt for example, for that copy, which every command and export take as a checkpoint.
    """

    keyframes: Keyframes = ()
    seed: int | None = None
    count: Annotated[int | None, Range(1, 1000)] = None
    truncation: Truncation = 1.0
    tune: Tuning = DEFAULT_BUDGET
    fit: Fit = "crop"
    save_tuned: Annotated[Path | None, file_like("film.ckpt")] = None
    class_: Classes = ()


@dataclass(frozen=True)
class ComparedModelsOptions:
    """Several models.

    Args:
        generator: an ONNX file of any network that draws pictures of latents, a GAN's for example; it follows the same
            paths, from the same seeds, on the CPU.
        device: where the other models run: `auto` takes a GPU if there is one, else the CPU.
    """

    checkpoint: Annotated[
        tuple[Path, ...], Words("one .ckpt file or several, compared side by side from the same seeds", _parse_files)
    ] = ()
    generator: File = None
    device: Device = "auto"


@dataclass(frozen=True)
class PathsOptions:
    """Several paths."""

    paths: Annotated[tuple[str, ...], Words(f"which paths, in any order: {' '.join(PATH_NAMES)}", parse_paths)] = ()


@dataclass(frozen=True)
class PictureOptions:
    """The size, the shape, the precision and the file of pictures.

    Args:
        size: side of a picture in pixels; null is 256, or the model's own size where that is larger.
        aspect: the shape of the whole frame, as 16:9, 9:16 or 4:5: a border fills it, and the size of a single picture
            is the shorter side; null adds none.
        border: `blurred` is an enlarged and blurred copy of the frame, `plain` the median colour of its edges; null is
            blurred.
        resample: how pictures are resized: `lanczos` is smooth, `nearest` keeps hard pixels.
        precision: what the decoder computes in: `bfloat16` is faster where the processor has it in hardware, and
            pixels are off by some levels of 256, of the shipped model by 9 at most.
        out: the file, whose suffix picks the format: for an animation .gif .webp .png .avif .mp4 .webm, or none for a
            folder of frames; for a still .png .jpg .webp .avif .gif; null is renders/, the command's name and .gif,
            or .png for a still.
    """

    size: Annotated[int | None, Range(16, 4096)] = None
    aspect: Annotated[Fraction | None, parse_aspect] = None
    border: Border | None = None
    resample: Literal["lanczos", "nearest"] = "lanczos"
    precision: Literal["float32", "bfloat16"] = "float32"
    out: File = None

    def __post_init__(self) -> None:
        if self.border and self.aspect is None:
            raise UserError(f"--border {self.border}: fills what --aspect leaves; give --aspect, or leave it out")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.precision == "float32" else torch.bfloat16

    def side(self, image_size: int) -> int:
        """The side in pixels of a picture that a model decodes with `image_size` pixels a side."""
        return max(_SIDE, image_size) if self.size is None else self.size

    def resized(self, frame: Frame) -> Frame:
        """A square frame of a model at the size that is asked for."""
        return resize(frame, self.side(frame.shape[0]), self.resample)

    def bordered(self, frame: Frame) -> Frame:
        """A whole frame in the shape that is asked for."""
        return frame if self.aspect is None else add_border(frame, self.aspect, self.border or "blurred")

    def tiles(self, columns: int, rows: int) -> int:
        """How many pictures have the pixels of a whole frame of columns × rows of them."""
        return bordered_tiles(columns, rows, self.aspect)


@dataclass(frozen=True)
class MotionOptions:
    """The times of an animation, and what is written with it.

    Args:
        frames: frames from one keyframe to the next, on an open path counting both; null is 40. A circle has four such
            stretches, a random walk one for each of its latents. S stretches of a loop make S × frames, of an open path
            S × (frames − 1) + 1.
        audio: a sound, song.ogg for example, that the film lasts as long as, of 20 minutes at most: what is visible
            changes where it is loud, and most where a note begins; .mp4 and .webm have it in them.
        fps: frames a second.
        easing: how each stretch speeds up and slows down: linear, ease, ease-in, ease-out, ease-in-out, cubic-in-out or
            cubic-bezier(a,b,c,d) with four numbers in [0, 1]; null is linear for a loop and ease-in-out elsewhere.
        pace: what the easing eases: `image` is visible change, and a stretch has frames by how much of that it has;
            `latent` is time on the path, with the same number of frames for each stretch.
        hold: how many more frames rest on each keyframe.
        max_size: what a file may not exceed, as 2MB or 500kB: by fewer colours or a lower quality, every second frame
            and every third at true duration, a smaller picture, in this order, until it fits; then with as many
            colours or as much quality as still fit.
        quality: `draft` is for a first look: encoded in a hurry, with coarser colours in a GIF, and in other files
            with another size or quality.
        save_latents: a file, walk.npz for example, for the latents of all frames; `walk.npz:3` is then a keyframe.
        report: a file, report.json for example, for the numbers of the path.
        judge: a folder of real pictures, to be told how real the frames between keyframes look among them, beside those
            of a cross-fade, and how evenly they change, all at the model's own size; needs the extra `judge`.
    """

    frames: Annotated[int | None, Range(1, 100_000)] = None
    audio: Annotated[Sound | None, read_sound] = None
    fps: float = 20.0
    easing: Annotated[Easing | None, parse_easing] = None
    pace: Literal["image", "latent"] = "image"
    hold: Annotated[int, Range(0, 100_000)] = 0
    max_size: Annotated[int | None, parse_size] = None
    quality: Literal["usual", "draft"] = "usual"
    save_latents: Annotated[Path | None, file_like("walk.npz")] = None
    report: Annotated[Path | None, file_like("report.json")] = None
    judge: File = None
    durations: Annotated[
        tuple[float, ...],
        Words("seconds from each keyframe to the next, as 2 0.5 3, in place of --frames", parse_durations),
    ] = ()
