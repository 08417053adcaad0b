"""Clips → frames, drawn in batches and given out one by one, and what is measured of them on the way."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, repeat
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from data.image_files.reader import read_picture
from data.system.errors import UserError
from data.transforms import to_uint8
from vae.generator import Generator
from vae.inference import decode_batches
from vae.latent.keyframes import Keyframe, latents_of
from vae.metrics.perceptual import VisibleChangeMeter
from vae.metrics.smoothness import gradient_energy
from vae.morphing.metamorphosis import Metamorphosis
from vae.render.clips import Clip
from vae.render.formats.frame import Frame
from vae.render.options import PictureOptions
from vae.tuning.detail import Detail
from vae.tuning.keyframe_tuning import fitted_to_pictures

_MOST_BYTES = 2_000_000_000

Item = TypeVar("Item")


class FrameMeter:
    """The visible change from each frame to the next, the gradient energy of each, and how many differ from all before.

    They are measured while the frames stream by.
    """

    def __init__(self) -> None:
        self.change = VisibleChangeMeter()
        self._energy: list[Tensor] = []
        self._digests: set[bytes] = set()

    def update(self, x: Tensor, pixels: Tensor) -> None:
        """Adds frames: pictures (N, C, H, W) in [-1, 1], and the same as bytes (N, H, W, C) on the CPU."""
        self.change.update(x)
        self._energy.append(gradient_energy(x).cpu())
        self._digests |= {hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in pixels.numpy()}

    @property
    def distinct(self) -> int:
        return len(self._digests)

    @property
    def energy(self) -> Tensor:
        return torch.cat(self._energy)


def render_frames(batches: Iterable[Tensor], meter: FrameMeter | None = None) -> Iterator[Frame]:
    """Streams pictures; the next batch is made in a thread while frames of this one are being used.

    Args:
        batches: (N, C, H, W) in [-1, 1], of `decode_batches` for example.
        meter: is given the frames as they are made.

    Yields:
        frames, (H, W, 3) uint8; grey pictures as three equal channels.
    """

    def parts() -> Iterator[Frame]:
        for x in batches:
            pixels = to_uint8(x).cpu()
            if meter is not None:
                meter.update(x, pixels)
            yield pixels.expand(-1, -1, -1, 3).numpy()

    return chain.from_iterable(prefetch(parts()))


class Film:
    """The frames of a clip at times (T,).

    Attributes:
        clip: the clip.
        t: the times.
        meter: measures the frames while they stream by, if that is asked for.
        frames: a stream of the frames at the model's own size.
    """

    def __init__(self, clip: Clip, t: Tensor, picture: PictureOptions, measured: bool = False) -> None:
        self.clip, self.t, self._picture = clip, t, picture
        self.meter = FrameMeter() if measured else None
        moments, self._place = torch.unique_consecutive(t, return_inverse=True)  # a frame that rests is drawn once
        self._shares: deque[Tensor] = deque()  # those of frames that are made and not yet enlarged
        self._reached, self._resting = -1, np.empty(0, np.uint8)
        self._large, self._detail = None, None
        if clip.metamorphosis is None:
            self._detail = keyframe_detail(clip.model, clip.keyframes, picture)
        elif (picture.side(clip.model.image_size), picture.resample) != (clip.model.image_size, "lanczos"):
            self._large = _enlarged(clip, clip.metamorphosis, picture)
        self._weights = self._detail.weights(clip.trajectory.at(t)) if self._detail else t
        counts = self._place.bincount().tolist()
        frames = render_frames(clip.draw(moments, picture.dtype, self._shares if self._large else None), self.meter)
        self.frames = chain.from_iterable(map(repeat, frames, counts))

    def enlarged(self, frame: Frame, index: int) -> Frame:
        """The next frame at the size that is asked for, with all that the keyframes' pictures show; its place."""
        if self._large:
            if self._reached < self._place[index]:
                x = self._large.mixed(self.t[index], self._shares.popleft())
                self._reached, self._resting = self._reached + 1, to_uint8(x[None])[0].expand(-1, -1, 3).numpy()
            return self._resting
        frame = self._picture.resized(frame)
        return self._detail.added(frame, self._weights[index]) if self._detail else frame

    def all(self) -> Iterator[Frame]:
        """The frames at the size that is asked for."""
        return (self.enlarged(frame, index) for index, frame in enumerate(self.frames))


def keyframe_detail(model: Generator, keyframes: Sequence[Keyframe], picture: PictureOptions) -> Detail | None:
    """The detail of keyframes' pictures at the size of the frames; None where the model was not fitted to them."""
    if not keyframes or not fitted_to_pictures(model):
        return None
    pivots, residuals = latents_of(keyframes), {}
    for k, frame in enumerate(render_frames(decode_batches(model, pivots, picture.dtype))):
        if (file := keyframes[k].file) is not None:
            drawn = picture.resized(frame)
            given = read_picture(file, len(drawn), model.channels, fit=keyframes[k].fit)
            residuals[k] = given.astype(np.int16) - drawn
    return Detail(pivots, residuals)


def _enlarged(clip: Clip, metamorphosis: Metamorphosis, picture: PictureOptions) -> Metamorphosis:
    """The same of the pictures at the size of the frames: the files', and enlarged what the model draws."""
    side, pictures = picture.side(clip.model.image_size), []
    for keyframe, small in zip(clip.keyframes, metamorphosis.pictures, strict=True):
        if keyframe.file is None:
            pixels = picture.resized(small.expand(-1, -1, 3).numpy())[..., : clip.model.channels]
        else:
            pixels = read_picture(keyframe.file, side, clip.model.channels, fit=keyframe.fit)
        pictures.append(torch.from_numpy(pixels.copy()))
    return replace(metamorphosis, pictures=torch.stack(pictures), resample=picture.resample)


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made in a thread while the one before it is being used."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, items, None)
        while (item := future.result()) is not None:
            future = thread.submit(next, items, None)
            yield item


def check_memory(pictures: int, side: int) -> None:
    """Raises `UserError` if pictures of a side, all held at once, would take more than 2 GB."""
    if (needed := 3 * pictures * side**2) > _MOST_BYTES:
        raise UserError(
            f"{pictures:,} pictures of {side} pixels a side are {needed / 1e9:.0f} GB, held at once; ask for fewer or "
            "a smaller --size, or write .mp4, .webm or .gif without --max-size"
        )
