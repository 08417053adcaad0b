"""Animations of clips: one, several in a grid, or a comparison with labels and a live chart."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError, echo, escape_unprintable
from data.system.files import check_writable, resolved, save_bytes
from vae.generator import Generator
from vae.latent.latent_file import write_latents
from vae.latent.pace import synchronized_times
from vae.latent.timing import EASINGS, times
from vae.latent.trajectory import visible_change_per_stretch
from vae.metrics.smoothness import gradient_energy
from vae.render import captions
from vae.render.chart import Curves, curve_colours, live_chart, relative_sharpness
from vae.render.clips import Clip
from vae.render.formats import size_limit, writers
from vae.render.formats.frame import Frame, resize
from vae.render.formats.table import FORMATS
from vae.render.frames import FrameMeter, render_frames
from vae.render.options import MotionOptions, PictureOptions, RenderRequest
from vae.render.report import measure_path, measure_seam, print_seams, save_report, table

_MOST_FRAMES = 100_000
_MOST_PIXELS = 2**28  # of a frame or a still
_MOST_BYTES = 4 * 10**9


def default_easing(closed: bool) -> str:
    """The name of the easing where none is given."""
    return "linear" if closed else "ease-in-out"


def frame_times(clips: Sequence[Clip], motion: MotionOptions) -> tuple[list[Tensor], list[Tensor | None]]:
    """The times (T,) of the frames of clips with equally many segments, which reach their keyframes together.

    Returns:
        the times of each clip; its `visible_change_per_stretch`, which `--pace image` measures, or None.
    """
    segments, closed = clips[0].trajectory.segments, clips[0].trajectory.closed
    count = segments * motion.frames + (segments + 1) * motion.hold
    if count > _MOST_FRAMES:
        raise UserError(f"{count:,} frames: {_MOST_FRAMES:,} are the most; give fewer --frames, --hold or keyframes")
    easing = motion.easing or EASINGS[default_easing(closed)]
    if motion.pace == "latent":
        return [times(segments, motion.frames, easing, closed, motion.hold)] * len(clips), [None] * len(clips)
    changes = [visible_change_per_stretch(clip.model, clip.trajectory) for clip in clips]
    return synchronized_times(changes, motion.frames, easing, closed, motion.hold), [*changes]


def check_pixels(tiles: int, side: int) -> None:
    """Raises `UserError` if so many tiles of a side are too many pixels."""
    if (pixels := tiles * side**2) > _MOST_PIXELS:
        raise UserError(
            f"{tiles} tiles of this size are {pixels / 1e6:,.0f} megapixels; give a smaller --size or fewer"
        )


def check_animation(motion: MotionOptions, out: Path, models: Iterable[Generator]) -> None:
    """Raises `UserError`, before any work, if the files could not be written."""
    writers.check(out, motion.fps)
    if motion.max_size is not None and not out.suffix:
        raise UserError(f"--max_size: is for a file, and {out} is a folder of frames; give --out a suffix")
    if motion.quality == "draft" and (motion.max_size is not None or not out.suffix):
        raise UserError("--quality draft: is for a file of any size; leave --max_size out, and give --out a suffix")
    beside = [path for path in (motion.save_latents, motion.report) if path]
    check_writable(*([out] if out.suffix else []), *beside)
    for path in beside:
        if not out.suffix and resolved(out) in resolved(path).parents:
            raise UserError(f"{path}: lies in the folder of frames; keep it elsewhere")
    if motion.save_latents and len({model.latent_dim for model in models}) > 1:
        raise UserError("--save_latents: these models have latents of different lengths; save those of one")


def render_animation(
    request: RenderRequest,
    clips: Sequence[Clip],
    columns: int,
    picture: PictureOptions,
    motion: MotionOptions,
    out: Path,
    compared: bool = False,
) -> None:
    """Writes an animation, and what else the options ask for; prints what was measured.

    Args:
        request: for the report.
        clips: shown side by side.
        columns: of the tiles.
        picture: their size and precision.
        motion: their times, and other files.
        out: the file or folder.
        compared: adds labels, a live chart and a table of numbers.
    """
    picture = replace(picture, size=max(picture.side(clip.model.image_size) for clip in clips))
    check_pixels(len(clips), picture.side(0))
    t, changes = frame_times(clips, motion)
    _check_memory(clips, len(t[0]), picture, motion, out, compared)
    meters = [FrameMeter() for clip in clips if compared or clip.trajectory.closed]
    watched: Sequence[FrameMeter | None] = meters or [None] * len(clips)
    streams = [_stream(*row, picture) for row in zip(clips, t, watched, strict=True)]
    frames = _comparison(clips, t, streams, meters, columns, picture) if compared else _tiles(streams, columns, picture)
    kept, fps, sacrifice = _write(frames, len(t[0]), clips[0].trajectory.closed, picture, motion, out)
    t = [when[kept] for when in t]
    echo(f"{out}: {len(t[0])} frames, {len(t[0]) / fps:.1f} s{sacrifice}")

    names = [clip.label if compared or len(clips) == 1 else f"{clip.label} {n}" for n, clip in enumerate(clips)]
    numbers = {}
    if not compared:
        _print_bent(clips)
    if compared or motion.report:
        numbers = dict(zip(names, map(measure_path, clips, changes), strict=True))
        print(table(numbers))
    seams = [] if compared else [measure_seam(meter) for meter in meters]
    if seams:
        print_seams(seams)
    if motion.save_latents:
        _save_latents(motion.save_latents, [clip.trajectory.at(when) for clip, when in zip(clips, t, strict=True)])
    if motion.report:
        easing = request.arguments["easing"] or default_easing(clips[0].trajectory.closed)
        header = {"frames": len(t[0]), "fps": fps, "easing": easing}
        save_report(motion.report, request, header, dict(zip(names, clips, strict=True)), numbers, seams)


def _check_memory(
    clips: Sequence[Clip], count: int, picture: PictureOptions, motion: MotionOptions, out: Path, compared: bool
) -> None:
    """Raises `UserError` if frames that are held at once would not fit into memory."""
    suffix = out.suffix.lower()
    streamed = (not suffix or FORMATS[suffix].streamed) and motion.max_size is None
    sides = [clip.model.image_size for clip in clips if compared] + [picture.side(0) for _ in clips if not streamed]
    needed = count * sum(3 * side**2 for side in sides)
    if needed > _MOST_BYTES:
        raise UserError(
            f"{count:,} frames are {needed / 10**9:.0f} GB, which {out.suffix}, --max_size or a comparison holds at "
            "once; write .mp4, .webm or .gif without --max_size, or fewer or smaller frames"
        )


def _stream(clip: Clip, t: Tensor, meter: FrameMeter | None, picture: PictureOptions) -> Iterator[Frame]:
    """The frames of a clip at times (T,), at the model's own size; one that rests on a keyframe is decoded once."""
    moments, counts = torch.unique_consecutive(t, return_counts=True)
    frames = render_frames(clip.model, clip.trajectory.at(moments), picture.dtype, meter)
    return chain.from_iterable(repeat(frame, count) for frame, count in zip(frames, counts.tolist(), strict=True))


def _tiles(streams: Sequence[Iterator[Frame]], columns: int, picture: PictureOptions) -> Iterator[Frame]:
    """The frames of clips in a grid."""
    for tiles in zip(*streams, strict=True):
        yield captions.in_grid([_resized(frame, picture) for frame in tiles], columns)


def _comparison(
    clips: Sequence[Clip],
    t: Sequence[Tensor],
    streams: Sequence[Iterator[Frame]],
    meters: Sequence[FrameMeter],
    columns: int,
    picture: PictureOptions,
) -> Iterator[Frame]:
    """The frames of a comparison; the chart needs all numbers, so all are decoded before the first is composed."""
    decoded, colours, chart = [list(stream) for stream in streams], curve_colours(len(clips)), None
    curves = [_curves(*row) for row in zip(clips, t, meters, strict=True)]
    for index, tiles in enumerate(zip(*decoded, strict=True)):
        rows = zip(tiles, clips, colours, strict=True)
        labelled = [captions.caption(_resized(frame, picture), clip.label, colour) for frame, clip, colour in rows]
        frame = captions.in_grid(labelled, columns)
        chart = chart or live_chart(curves, frame.shape[1])
        yield captions.in_column([frame, chart(index)])


def _resized(frame: Frame, picture: PictureOptions) -> Frame:
    return resize(frame, picture.side(frame.shape[0]), picture.resample)


def _curves(clip: Clip, t: Tensor, meter: FrameMeter) -> Curves:
    """The speed and sharpness of frames at times (T,), some of which may rest; sharpness is over that of keyframes."""
    _, index = torch.unique_consecutive(t, return_inverse=True)
    change, energy = meter.change.compute(), meter.energy()[index]
    speed = change[index[:-1].clamp_max(len(change) - 1)] * index.diff()
    at_keyframes = [
        energy[(t - k).abs().argmin()] if keyframe.picture is None else gradient_energy(keyframe.picture)
        for k, keyframe in enumerate(clip.keyframes)
    ]
    return Curves(torch.cat([speed, speed[-1:]]), relative_sharpness(energy, t, torch.stack(at_keyframes)))


def _write(
    frames: Iterator[Frame], count: int, closed: bool, picture: PictureOptions, motion: MotionOptions, out: Path
) -> tuple[list[int], float, str]:
    """Writes the file; returns the numbers of the frames that are in it, their rate, and what was given up in words."""
    with tqdm(frames, escape_unprintable(str(out)), count, leave=False, unit=" frames", delay=1) as bar:
        if motion.max_size is None:
            writers.write(bar, out, motion.fps, "draft" if motion.quality == "draft" else None)
            return list(range(count)), motion.fps, ""
        fitted = size_limit.encode_within(
            list(bar), out.suffix.lower(), motion.fps, motion.max_size, closed, picture.resample
        )
    save_bytes(fitted.content, out)
    given_up = f", {len(fitted.content) / 1000:.0f} kB ({fitted.reductions})"
    return list(fitted.frame_indices), motion.fps * len(fitted.frame_indices) / count, given_up


def _print_bent(clips: Sequence[Clip]) -> None:
    """Prints how many segments of routes are not a spline's."""
    bent = [clip.trajectory.bent for clip in clips if clip.trajectory.bent is not None]
    if bent:
        segments = torch.cat(bent)
        print(f"route: bent {int(segments.sum())} of {len(segments)} stretches, the others are a spline's")


def _save_latents(path: Path, latents: Sequence[Tensor]) -> None:
    write_latents(path, torch.cat(list(latents)).numpy())
    order = f", {len(latents[0])} of each walk in turn" if len(latents) > 1 else ""
    echo(f"{path}: {sum(map(len, latents))} latents{order}; {path}:0 is the first, to be used as a keyframe")
