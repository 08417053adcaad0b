"""The options of the renderer, in the groups that commands share; the docstrings are their help."""

from dataclasses import dataclass
from typing import Literal

from vae.metrics.lines_benchmark import PAIRS

PathName = Literal["linear", "slerp", "spline", "route"]


@dataclass(frozen=True)
class Source:
    """Where the weights come from.

    Args:
        checkpoint: a .ckpt file; null is the newest last.ckpt below checkpoints/, or else checkpoints/patterns.ckpt.
    """

    checkpoint: str | None = None


@dataclass(frozen=True)
class Keys:
    """What a path goes through.

    Args:
        seed: random keyframes are the first latents that this seed gives; null is 0.
        count: how many random keyframes; null is 4 for a loop, 1 for a traverse and 2 elsewhere.
        truncation: what the latents of seeds are multiplied by: less than 1 is closer to the mean picture.
    """

    seed: int | None = None
    count: int | None = None
    truncation: float = 1.0


@dataclass(frozen=True)
class Screen:
    """How pictures are shown.

    Args:
        size: side of a picture in pixels; null is 256, or the model's own size where that is larger.
        resample: how pictures are resized: `lanczos` is smooth, `nearest` keeps hard pixels.
        precision: what the decoder computes in: `bfloat16` is faster where the processor has it in hardware, and
            pixels are off by some levels of 256, of the shipped model by 9 at most.
        out: the result; the suffix picks the format: for an animation .gif .webp .png .avif .mp4 .webm, or none for a
            folder of frames; for a still .png .jpg .webp .avif .gif; null is renders/, the command's name and .gif,
            or .png for a still.
    """

    size: int | None = None
    resample: Literal["lanczos", "nearest"] = "lanczos"
    precision: Literal["float32", "bfloat16"] = "float32"
    out: str | None = None


@dataclass(frozen=True)
class Motion:
    """How a path is walked.

    Args:
        frames: frames from one keyframe to the next, on an open path counting both; a circle has four such stretches,
            a random walk one for each of its latents. S stretches of a loop make S × frames, of an open path
            S × (frames − 1) + 1.
        fps: frames a second.
        easing: inside each stretch: linear, ease, ease-in, ease-out, ease-in-out, cubic-in-out or
            cubic-bezier(a,b,c,d) with four numbers in [0, 1]; null is linear for a loop and ease-in-out elsewhere.
        pace: what the easing eases: `image` is visible change, and a stretch has frames by how much of that it has;
            `latent` is time on the path, with the same number of frames for each stretch.
        hold: how many more frames rest on each keyframe.
        max_size: 2MB or 500kB, for example: what a file may not exceed. In this order: fewer colours or a lower
            quality, every second frame and every third at true duration, a smaller picture, until it fits; then as
            many colours or as much quality as still fit.
        quality: `draft` is for a first look: encoded in a hurry, with coarser colours in a GIF, and in other files
            with another size or quality.
        save_latents: a file, walk.npz for example, for the latents of all frames; `walk.npz:3` is then a keyframe.
        report: a file, report.json for example, for the numbers of the path.
    """

    frames: int = 40
    fps: float = 20.0
    easing: str | None = None
    pace: Literal["image", "latent"] = "image"
    hold: int = 0
    max_size: str | None = None
    quality: Literal["usual", "draft"] = "usual"
    save_latents: str | None = None
    report: str | None = None


@dataclass(frozen=True)
class Tiles:
    """Many walks at once.

    Args:
        grid: 4x3, for example: four by three walks, each through random keyframes of its own, in step.
    """

    grid: str | None = None


@dataclass(frozen=True)
class Loop:
    """How a loop is closed.

    Args:
        path: through the keyframes; a spline has no kink anywhere.
        style: `keyframes`: through all of them; `circle`: the great circle through two, which are brought to the mean
            of their lengths; `noise`: a random walk of constant length, made of an even number of latents.
    """

    path: PathName = "spline"
    style: Literal["keyframes", "circle", "noise"] = "keyframes"


@dataclass(frozen=True)
class Strip:
    """A still of a path.

    Args:
        steps: pictures, evenly spaced in t.
        path: through the keyframes; null is slerp.
    """

    steps: int = 8
    path: PathName | None = None


@dataclass(frozen=True)
class Traverse:
    """A still of the latents.

    Args:
        steps: pictures in a row, from −3 to 3.
        rows: how many latents, those first that say most.
    """

    steps: int = 9
    rows: int = 8


@dataclass(frozen=True)
class Samples:
    """A still of the prior.

    Args:
        grid: columns and rows.
        seed: names the latents.
        truncation: what the latents are multiplied by: less than 1 is closer to the mean picture.
    """

    grid: str = "8x6"
    seed: int = 0
    truncation: float = 1.0


@dataclass(frozen=True)
class Explore:
    """A page to morph by hand.

    Args:
        sets: squares to choose from, each with four keyframes in its corners.
        seed: names the random keyframes.
        truncation: what the latents of seeds are multiplied by: less than 1 is closer to the mean picture.
        out: the page; null is renders/explore.html.
    """

    sets: int = 4
    seed: int = 0
    truncation: float = 1.0
    out: str | None = None


@dataclass(frozen=True)
class Rival:
    """What else draws.

    Args:
        generator: an ONNX file of any network that draws pictures of latents, a GAN's for example; it walks the same
            paths, from the same seeds.
    """

    generator: str | None = None


@dataclass(frozen=True)
class Export:
    """A model for other programs.

    Args:
        out: .onnx for the decoder, .safetensors or .pth for all weights; null is renders/decoder.onnx.
    """

    out: str | None = None


@dataclass(frozen=True)
class Lines:
    """What the benchmark needs.

    Args:
        checkpoint: a .ckpt file, trained on `lines`.
        seed: names the fresh lines.
        pairs: how many pairs of them.
    """

    checkpoint: str = "checkpoints/lines.ckpt"
    seed: int = 1
    pairs: int = PAIRS
