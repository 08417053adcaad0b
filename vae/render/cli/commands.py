"""The renderer's commands: the function that runs each, whose parameters are the groups of its options."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, NamedTuple, get_type_hints

from data.system.errors import echo, shell_quoted
from data.system.program import program_command
from vae.checkpoint import load_vae
from vae.export import export, usage
from vae.option_groups import Switch, option_name
from vae.render import lines_benchmark
from vae.render.animation import check_animation, render_animation
from vae.render.clips import BetweenOptions
from vae.render.growth.film import growth
from vae.render.models import choose_device, compared_models, default_checkpoint, single_model
from vae.render.morph_pad import explore
from vae.render.options import (
    ComparedModelsOptions,
    File,
    KeyframeOptions,
    ModelOptions,
    MotionOptions,
    PathsOptions,
    PictureOptions,
    RenderRequest,
)
from vae.render.stills.analogy import analogy
from vae.render.stills.strip import samples, strip
from vae.render.stills.traverse import traverse
from vae.render.studio.server import studio
from vae.render.walks.direction import direction
from vae.render.walks.paths import MEANINGS, GridOptions, LoopOptions, comparison_clips, loop_clips, path_clips
from vae.render.walks.tour import TourOptions, tour_clip, tour_pictures
from vae.shipped import SHIPPED_FOR_LINES


@dataclass(frozen=True)
class ExportOptions:
    """Files for other programs.

    Args:
        checkpoint: a .ckpt file; null is the newest last.ckpt below checkpoints/, or else checkpoints/patterns.ckpt.
        out: .onnx for the decoder, .safetensors or .pth for all weights; null is renders/decoder.onnx.
    """

    checkpoint: File = None
    out: File = None
    encoder: Annotated[bool, Switch("write the encoder too, as encoder.onnx beside decoder.onnx")] = False


def _animate(
    request: RenderRequest,
    model: ModelOptions,
    keyframes: KeyframeOptions,
    between: BetweenOptions,
    picture: PictureOptions,
    motion: MotionOptions,
    grid: GridOptions,
) -> Path:
    vae, out = single_model(request, model), request.default_out(picture.out, ".gif")
    check_animation(motion, out, [vae])
    clips = path_clips(request.command, vae, keyframes, between, grid, motion)
    return render_animation(request, clips, grid.columns, picture, motion, out, keyframes.fit)


def _loop(
    request: RenderRequest,
    model: ModelOptions,
    keyframes: KeyframeOptions,
    between: BetweenOptions,
    picture: PictureOptions,
    motion: MotionOptions,
    grid: GridOptions,
    loop: LoopOptions,
) -> Path:
    vae, out = single_model(request, model), request.default_out(picture.out, ".gif")
    check_animation(motion, out, [vae])
    clips = loop_clips(vae, keyframes, between, grid, loop, motion)
    return render_animation(request, clips, grid.columns, picture, motion, out, keyframes.fit)


def _tour(
    request: RenderRequest,
    model: ModelOptions,
    tour: TourOptions,
    picture: PictureOptions,
    motion: MotionOptions,
) -> Path:
    pictures = tour_pictures(tour, motion)
    vae, out = single_model(request, model), request.default_out(picture.out, ".mp4")
    check_animation(motion, out, [vae])
    clip, steps = tour_clip(vae, pictures, tour, motion)
    return render_animation(request, [clip], 1, picture, motion, out, tour.fit, steps=steps)


def _compare(
    request: RenderRequest,
    models: ComparedModelsOptions,
    keyframes: KeyframeOptions,
    between: BetweenOptions,
    picture: PictureOptions,
    motion: MotionOptions,
    paths: PathsOptions,
) -> Path:
    compared, out = compared_models(request, models), request.default_out(picture.out, ".gif")
    check_animation(motion, out, compared.values())
    clips, columns = comparison_clips(compared, keyframes, between, paths.paths, motion)
    return render_animation(request, clips, columns, picture, motion, out, keyframes.fit, compared=True)


def _export(request: RenderRequest, options: ExportOptions) -> None:
    source = options.checkpoint or default_checkpoint()
    echo(f"export: {source}")
    out, model = options.out or Path("renders/decoder.onnx"), load_vae(source)
    for path in export(model, out, options.encoder):
        echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    for line in usage(model, out):
        echo(line)


def _lines(request: RenderRequest, options: lines_benchmark.LinesOptions) -> None:
    angles = lines_benchmark.random_pairs(options.seed, options.pairs)
    checkpoint = options.checkpoint or SHIPPED_FOR_LINES
    model = load_vae(checkpoint, choose_device(options.device))
    echo(f"lines: {options.pairs} pairs of fresh lines, seed {options.seed}, {checkpoint}")
    print(lines_benchmark.scores_table(lines_benchmark.score_paths(model, angles)))
    source = shell_quoted(checkpoint)
    echo(f"0 is best; rotation is the ideal. Next: {program_command('render')} slerp --checkpoint {source}")


_POSITIONAL = ("keyframes", "pictures", "run")
_AFTER = {"linear": "slerp", "route": "compare", "loop": "loop --size 1080 --out loop.mp4"}  # after others, a route


class Command(NamedTuple):
    """One command.

    Attributes:
        meaning: its help.
        run: called with the request and its groups of options; returns the file that a user may open, or None.
        following: the command to try next, with options of its own.
    """

    meaning: str
    run: Callable[..., Path | None]
    following: str = ""

    @property
    def groups(self) -> list[type]:
        """The types of the groups."""
        _, *groups, _ = get_type_hints(self.run).values()
        return groups

    @property
    def options(self) -> list[str]:
        """The names of its options."""
        return [option_name(field.name) for group in self.groups for field in fields(group)]

    @property
    def positional(self) -> str | None:
        """The option that words without one belong to."""
        options = self.options
        return next((name for name in _POSITIONAL if name in options), None)


COMMANDS = {
    **{
        name: Command(meaning, _loop if name == "loop" else _animate, _AFTER.get(name, "route"))
        for name, meaning in MEANINGS.items()
    },
    "tour": Command(
        "A loop through all pictures of a folder, in an order in which neighbours are alike.",
        _tour,
        "tour --size 1080 --aspect 16:9 --out tour.mp4",
    ),
    "compare": Command(
        "Paths, or models, in step: labelled, with their speed and sharpness below and a table of their numbers.",
        _compare,
        "route --size 1080 --out route.mp4",
    ),
    "direction": Command(
        "Keyframes, a tile each, that move along the difference between the pictures of two folders.",
        direction,
    ),
    "strip": Command(
        "A still: the path's pictures side by side, with the time t under each; a row for each of several --paths.",
        strip,
        "compare",
    ),
    "traverse": Command(
        "A still: latents with the largest KL, or directions of most change, a row each, around a keyframe.",
        traverse,
    ),
    "analogy": Command(
        "A still: the first keyframe is to the second as the third is to what is found.", analogy, "loop"
    ),
    "samples": Command("A still: pictures drawn from the prior.", samples, "loop"),
    "growth": Command(
        "A training's film: the morph of its validations, which becomes sharp while it moves; needs no checkpoint.",
        growth,
    ),
    "explore": Command("A page to morph by hand between four keyframes, in any browser, without a network.", explore),
    "studio": Command("A page in the browser that makes films and follows trainings, on this machine only.", studio),
    "export": Command("The model for other programs: ONNX, safetensors or PyTorch weights.", _export),
    "lines": Command(
        "Scores a model of the data set `lines` by the LINES benchmark, beside paths that are known.", _lines
    ),
}
