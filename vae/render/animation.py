"""Animations: walks, shown one by one, in tiles or side by side in comparison."""

from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError, echo, escape_unprintable
from data.system.files import check_writable, resolved, save_bytes, user_path
from vae.generator import Generator
from vae.latent import timing as timeline
from vae.latent.latent_file import check_name, write_latents
from vae.latent.pace import in_step
from vae.latent.trajectory import visible_change_of_segments
from vae.metrics.perceptual import visible_change
from vae.metrics.smoothness import decode as decode_all
from vae.metrics.smoothness import gradient_energy
from vae.render import captions, findings
from vae.render import chart as plot
from vae.render.formats import size_limit as sizes
from vae.render.formats import writers as animation
from vae.render.formats.frame import Frame
from vae.render.formats.table import FORMATS
from vae.render.takes import Clip, check_screen, clips, shown, side

_MOST_FRAMES = 100_000
_MOST_BYTES = 4 * 10**9


def _easing(take: Clip, options: Any) -> str:
    return options.easing or ("linear" if take.walk.closed else "ease-in-out")


def times(every: list[Clip], options: Any) -> list[Tensor]:
    """The times of the frames of walks that are shown in step."""
    walk = every[0].walk
    count = walk.segments * options.frames + (walk.segments + 1) * options.hold
    if count > _MOST_FRAMES:
        raise UserError(f"{count:,} frames: {_MOST_FRAMES:,} are the most; give fewer --frames, --hold or keyframes")
    easing = timeline.easing(_easing(every[0], options))
    if options.pace == "image":
        seen = [visible_change_of_segments(take.vae, take.walk) for take in every]
        return in_step(seen, options.frames, easing, walk.closed, options.hold)
    return [timeline.times(walk.segments, options.frames, easing, walk.closed, options.hold)] * len(every)


def film(command: str, every: list[Clip], t: list[Tensor], columns: int, options: Any) -> Iterator[Frame]:
    """The frames; a comparison is labelled and has a live chart below."""
    streams = [_stream(take, when, options) for take, when in zip(every, t, strict=True)]
    if command != "compare":
        return (captions.in_grid(list(tiles), columns) for tiles in zip(*streams, strict=True))
    return _compared(every, t, columns, streams)


def _stream(take: Clip, t: Tensor, options: Any) -> Iterator[Frame]:
    """The frames of one walk; one that rests is drawn once."""
    once, counts = torch.unique_consecutive(t, return_counts=True)
    frames = shown(take.vae, take.walk.at(once), options)
    return chain.from_iterable(repeat(frame, count) for frame, count in zip(frames, counts.tolist(), strict=True))


def _compared(every: list[Clip], t: list[Tensor], columns: int, streams: list[Iterator[Frame]]) -> Iterator[Frame]:
    curves = [_curves(take, when) for take, when in zip(every, t, strict=True)]
    chart = None
    for index, tiles in enumerate(zip(*streams, strict=True)):
        labelled = [
            captions.caption(frame, take.label, ink)
            for frame, take, ink in zip(tiles, every, plot.curve_colours(len(every)), strict=True)
        ]
        frame = captions.in_grid(labelled, columns)
        chart = chart or plot.live_chart(curves, frame.shape[1])
        yield captions.in_column([frame, chart(index)])


@torch.no_grad()
def _curves(take: Clip, t: Tensor) -> plot.Curves:
    pictures = take.pictures
    assert pictures is not None
    z = take.walk.at(t)
    speed = visible_change(take.vae, z)
    sharp = torch.cat([gradient_energy(decode_all(take.vae, some)) for some in torch.split(z, 64)])
    return plot.Curves(torch.cat([speed, speed[-1:]]), plot.relative_sharpness(sharp, t, gradient_energy(pictures)))


def _check(vaes: Mapping[str, Generator], options: Any, out: Path) -> None:
    """Refuses, before any work, what could not be done."""
    animation.check(out, options.fps)
    timeline.easing(options.easing or "linear")
    for least, name in ((1, "frames"), (0, "hold")):
        if not least <= options[name] <= _MOST_FRAMES:
            raise UserError(f"{name} {options[name]}: must be from {least} to {_MOST_FRAMES}")
    if options.max_size is not None and not out.suffix:
        raise UserError(f"--max_size: is for a file, and {out} is a folder of frames; give --out a suffix")
    if options.quality == "draft" and (options.max_size is not None or not out.suffix):
        raise UserError("--quality draft: is for a file of any size; leave --max_size out, and give --out a suffix")
    beside = [user_path(name) for name in (options.save_latents, options.report) if name]
    check_writable(*([out] if out.suffix else []), *beside)
    for path in beside:
        if not out.suffix and resolved(out) in resolved(path).parents:
            raise UserError(f"{path}: lies in the folder of frames; keep it elsewhere")
    if options.save_latents:
        check_name(Path(options.save_latents))
        if len({vae.latent_dim for vae in vaes.values()}) > 1:
            raise UserError("--save_latents: these models have latents of different lengths; save those of one")
    if options.report and not options.report.endswith(".json"):
        raise UserError(f"{options.report}: a report is kept in a .json file; name it like report.json")


def _check_memory(every: list[Clip], t: list[Tensor], options: Any, out: Path) -> None:
    """Refuses what would not fit into memory, of the formats whose encoders take all frames at once."""
    streamed = (not out.suffix or FORMATS[out.suffix.lower()].streamed) and options.max_size is None
    needed = len(t[0]) * sum(3 * side(take.vae, options) ** 2 for take in every)
    if not streamed and needed > _MOST_BYTES:
        raise UserError(
            f"{len(t[0]):,} frames are {needed / 10**9:.0f} GB, which {out.suffix} or --max_size holds at once; "
            "write .mp4, .webm or .gif without --max_size, or fewer or smaller frames"
        )


def render_animation(command: str, vaes: Mapping[str, Generator], options: Any, out: Path) -> None:
    """Writes the animation of a command, and what else the options ask for; says what was found."""
    limit = None if options.max_size is None else sizes.parse_size(options.max_size)
    _check(vaes, options, out)
    every, columns = clips(command, vaes, options)
    check_screen(every[0].vae, options, len(every))
    t, fps, sacrifice = times(every, options), options.fps, ""
    _check_memory(every, t, options, out)
    pictures = film(command, every, t, columns, options)
    with tqdm(pictures, escape_unprintable(str(out)), len(t[0]), leave=False, unit=" frames", delay=1) as frames:
        if limit is None:
            animation.write(frames, out, fps, "draft" if options.quality == "draft" else None)
        else:
            suffix, closed = out.suffix.lower(), every[0].walk.closed
            fitted = sizes.encode_within(list(frames), suffix, fps, limit, closed, options.resample)
            save_bytes(fitted.content, out)
            sacrifice = f", {len(fitted.content) / 1000:.0f} kB ({fitted.reductions})"
            fps *= len(fitted.frame_indices) / len(t[0])
            t = [when[fitted.frame_indices] for when in t]
    echo(f"{out}: {len(t[0])} frames, {len(t[0]) / fps:.1f} s{sacrifice}")
    numbers = findings.numbers(command, every, options)
    seams = findings.seams(every, t)
    if options.save_latents:
        path = user_path(options.save_latents)
        latents = torch.cat([take.walk.at(when) for take, when in zip(every, t, strict=True)])
        write_latents(path, latents.numpy())
        order = f", {len(t[0])} of each walk in turn" if len(every) > 1 else ""
        echo(f"{path}: {len(latents)} latents{order}; {path}:0 is the first, to be used as a keyframe")
    if options.report:
        told = {"command": command, "frames": len(t[0]), "fps": fps, "easing": _easing(every[0], options)}
        findings.save_report(user_path(options.report), told, every, numbers, seams, options)
