"""Animations of clips: one, several in a grid, or a comparison with labels and a live chart."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from data.fit import Fit
from data.system.errors import UserError, echo, escape_unprintable, shell_quoted
from data.system.files import check_writable, save_bytes
from data.system.spelling import counted
from vae.generator import Generator
from vae.latent.latent_file import write_latents
from vae.metrics.judge import Judged, Realism, check_judge, find_real, real_features, realism
from vae.render.chart import clip_colour, live_chart, measure_curves
from vae.render.clips import Clip
from vae.render.formats import captions, size_limit, writers
from vae.render.formats.format import FORMATS, Quality
from vae.render.formats.frame import Frame, frame_rate
from vae.render.frames import Film, check_memory
from vae.render.options import MotionOptions, PictureOptions, RenderRequest
from vae.render.pacing import DEFAULT_EASINGS, drawn_with_bar, frame_times
from vae.render.report import measure_path, measure_seam, save_report, table

_LEAST_JUDGED = 2
_LEAST_FRAMES, _LEAST_SECONDS = 2, 0.1  # of a film with a sound
_MOST_FRAMES = 1_000_000  # of --durations
_MOVING = 24  # pictures as bytes that the memory of two that are being moved would hold


def check_animation(motion: MotionOptions, out: Path, models: Iterable[Generator]) -> None:
    """Raises `UserError`, before any work, if the files could not be written."""
    writers.check(out, motion.fps)
    if motion.durations and motion.frames is not None:
        raise UserError("--durations: contradicts --frames; leave one of them out")
    if (frames := round(sum(motion.durations) * motion.fps)) > _MOST_FRAMES:
        raise UserError(f"--durations: are {frames:,} frames; give fewer seconds or a lower --fps")
    if motion.judge:
        check_judge()
        find_real(motion.judge)
    if motion.audio:
        _check_sound(motion, out)
    if motion.max_size is not None and not out.suffix:
        raise UserError(f"--max-size: is for a file, and {out} is a folder of frames; give --out a suffix")
    if motion.quality == "draft" and (motion.max_size is not None or not out.suffix):
        raise UserError("--quality draft: is for a file of any size; leave --max-size out, and give --out a suffix")
    check_writable(*filter(None, (out if out.suffix else None, motion.save_latents, motion.report)))
    if motion.save_latents and len({model.latent_dim for model in models}) > 1:
        raise UserError("--save-latents: these models have latents of different lengths; save those of one")


def _check_sound(motion: MotionOptions, out: Path) -> None:
    """Raises `UserError` if something else is to say when frames change, or the sound could not go with them."""
    for option in ("frames", "durations", "easing", "hold"):
        if getattr(motion, option):
            raise UserError(f"--{option}: the sound says when pictures change; leave it out beside --audio")
    assert motion.audio is not None
    if motion.audio.seconds < max(_LEAST_SECONDS, float(_LEAST_FRAMES / frame_rate(motion.fps))):
        raise UserError(f"{motion.audio.file}: is too short, {motion.audio.seconds:.2f} s; name a longer sound")
    if not (out.suffix and FORMATS[out.suffix.lower()].has_sound):
        kept = " and ".join(suffix for suffix, form in FORMATS.items() if form.has_sound)
        echo(f"{out}: moves with {motion.audio.file}, but has no sound in it; {kept} have")
    elif motion.max_size is not None:
        raise UserError("--max-size: does not count the sound; leave it out beside --audio, or give a lower --size")


def render_animation(
    request: RenderRequest,
    clips: Sequence[Clip],
    columns: int,
    picture: PictureOptions,
    motion: MotionOptions,
    out: Path,
    fit: Fit,
    compared: bool = False,
    steps: int | None = None,
) -> Path:
    """Writes an animation of clips side by side, and what else the options ask for; prints what was measured.

    A comparison has labels, a live chart and a table of numbers. The fit is that of the judge's pictures, the steps are
    those of `frame_times`. Returns the file or folder.
    """
    closed = clips[0].trajectory.closed
    picture = replace(picture, size=max(picture.side(clip.model.image_size) for clip in clips))
    t, changes = frame_times(clips, motion, steps)
    real = _real_pictures(motion.judge, clips, t, fit) if motion.judge else {}
    streamed = motion.max_size is None and (not out.suffix or FORMATS[out.suffix.lower()].streamed)
    pictures = sum(keyframe.file is not None for clip in clips for keyframe in clip.keyframes)
    moved = _MOVING * any(clip.metamorphosis for clip in clips)
    tiles = picture.tiles(columns, -(-len(clips) // columns))
    check_memory(2 * pictures + moved + tiles * (1 if streamed else len(t[0])), picture.side(0))
    if compared:
        check_memory(len(clips) * len(t[0]), max(clip.model.image_size for clip in clips))
    names = [clip.label if compared or len(clips) == 1 else f"{clip.label} {n}" for n, clip in enumerate(clips)]
    judged = {name: _judged(clip, when, real) for name, clip, when in zip(names, clips, t, strict=True) if real}
    films = [Film(clip, when, picture, compared or closed) for clip, when in zip(clips, t, strict=True)]
    frames = map(
        picture.bordered,
        _comparison(films, columns, [frames for _, frames in judged.values()]) if compared else _tiles(films, columns),
    )
    kept, fps, given_up = _write(frames, len(t[0]), closed, picture, motion, out)
    echo(f"{out}: {len(kept)} frames, {len(kept) / fps:.1f} s{given_up}")

    bent = [clip.trajectory.bent for clip in clips if clip.trajectory.bent is not None]
    if bent and not compared:
        segments = torch.cat(bent)
        others = "" if segments.all() else ", the others are a spline's"
        print(f"route: bent {int(segments.sum())} of {len(segments)} stretches{others}")
    numbers = {}
    if compared or motion.report:
        numbers = dict(zip(names, map(measure_path, clips, changes), strict=True))
        print(table(numbers))
    seams = [measure_seam(film.meter) for film in films if film.meter and not compared]
    if seams:
        step, repeated = max(seam.step for seam in seams), sum(seam.repeated for seam in seams)
        twice = f"{counted(repeated, 'frame')} shown twice"
        print(f"seam: the last step, to the first frame, is {step:.2f} of the median step; {twice}")
    verdicts = {name: verdict for name, (verdict, _) in judged.items()}
    for name, verdict in verdicts.items():
        print(f"judge: {name} {verdict.kid:.0f}, a cross-fade {verdict.cross_fade_kid:.0f}, pdv {verdict.pdv:.2f}")
    if motion.save_latents:
        latents = [clip.trajectory.at(when[kept]) for clip, when in zip(clips, t, strict=True)]
        write_latents(motion.save_latents, torch.cat(latents).numpy())
        order = f", {len(kept)} of each walk in turn" if len(clips) > 1 else ""
        models = " ".join(map(shell_quoted, request.checkpoints))
        first = f"{motion.save_latents}:0 is the first, to be used as a keyframe with --checkpoint {models}"
        echo(f"{motion.save_latents}: {len(kept) * len(clips)} latents{order}; {first}")
    if motion.report:
        easing = None if motion.audio else request.arguments["easing"] or DEFAULT_EASINGS[closed]
        header = {"frames": len(kept), "fps": fps, "easing": easing}
        save_report(motion.report, request, header, dict(zip(names, clips, strict=True)), numbers, seams, verdicts)
    return out


def _real_pictures(folder: Path, clips: Sequence[Clip], t: Sequence[Tensor], fit: Fit) -> dict[tuple[int, int], Tensor]:
    """The features of real pictures to judge clips by, for each size and number of channels of the models."""
    if min(len(torch.unique(times[times % 1 > 0])) for times in t) < _LEAST_JUDGED:
        raise UserError("--judge: needs two frames between keyframes; give more --frames")
    real = find_real(folder)
    kinds = {(clip.model.image_size, clip.model.channels) for clip in clips}
    return {kind: real_features(real, *kind, fit) for kind in kinds}


def _judged(clip: Clip, t: Tensor, real: Mapping[tuple[int, int], Tensor]) -> tuple[Realism, Judged]:
    """The judge's numbers of a film at times (T,)."""
    features = real[clip.model.image_size, clip.model.channels]
    return realism(drawn_with_bar(clip, "Judging"), clip.trajectory.segments, t, features)


def _tiles(films: Sequence[Film], columns: int) -> Iterator[Frame]:
    """The frames of films in a grid."""
    for index, tiles in enumerate(zip(*(film.frames for film in films), strict=True)):
        yield captions.in_grid([film.enlarged(tile, index) for film, tile in zip(films, tiles, strict=True)], columns)


def _comparison(films: Sequence[Film], columns: int, judged: Sequence[Judged]) -> Iterator[Frame]:
    """The frames of a comparison; the chart needs all numbers, so all are decoded before the first is composed."""
    decoded = [list(film.frames) for film in films]
    found: Sequence[Judged | None] = judged or [None] * len(films)
    curves = [
        measure_curves(film.clip, film.t, film.meter, of) for film, of in zip(films, found, strict=True) if film.meter
    ]
    chart = None
    for index, tiles in enumerate(zip(*decoded, strict=True)):
        labelled = [
            captions.caption(film.enlarged(frame, index), film.clip.label, clip_colour(n))
            for n, (film, frame) in enumerate(zip(films, tiles, strict=True))
        ]
        frame = captions.in_grid(labelled, columns)
        chart = chart or live_chart(curves, frame.shape[1])
        yield captions.in_column([frame, chart(index)])


def _write(
    frames: Iterator[Frame], count: int, closed: bool, picture: PictureOptions, motion: MotionOptions, out: Path
) -> tuple[list[int], float, str]:
    """Writes the file; returns the numbers of the frames that are in it, their rate, and what was given up in words."""
    with tqdm(frames, escape_unprintable(str(out)), count, leave=False, unit=" frames", delay=1) as bar:
        if motion.max_size is None:
            quality: Quality = "draft" if motion.quality == "draft" else None
            writers.write(bar, out, motion.fps, quality, motion.audio.file if motion.audio else None)
            return list(range(count)), motion.fps, ""
        fitted = size_limit.encode_within(
            list(bar), out.suffix.lower(), motion.fps, motion.max_size, closed, picture.resample
        )
    save_bytes(fitted.content, out)
    given_up = f", {len(fitted.content) / 1000:.0f} kB ({fitted.reductions})"
    return list(fitted.frame_indices), motion.fps * len(fitted.frame_indices) / count, given_up
