"""Palettes of at most 256 colours, one for each frame of a GIF, found fast and without flicker.

The colours of a frame are counted in cells of 4×4×4 levels, and k-means (Lloyd, *Least squares quantization in PCM*,
1982) finds the palette. It starts from the previous frame: from the present mean colours of the groups of pixels that
shared a colour there, so that a pixel's error stays the same from frame to frame; or, if such groups are no longer
alike, from the previous palette. One iteration is enough unless the error grows, as where a new object appears: then
the colours that contribute least move to where the error is largest (Patanè and Russo, *The enhanced LBG algorithm*,
Neural Networks 2001), and a second iteration follows. If the error grows much, this is a new scene, which starts from
Pillow's median cut (Heckbert 1982).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vae.render.formats.frame import Frame

_BITS = 6  # of each channel that number the cells
_SHIFTS = (0, 8, 16)  # of red, green and blue in the four bytes of a pixel
_NEW_SCENE_ITERATIONS = 6
_FEW_CELLS = 128  # with no more than these, each colour is a cell of its own
_FOLLOW_LIMIT, _RELOCATE_LIMIT, _NEW_SCENE_LIMIT = 2.0, 1.1, 2.5  # error over that of the previous frame
_MOST_RELOCATED = 32
_NEGLIGIBLE = 0.25  # squared levels: an error that is not visible
_CHUNK = 256  # cells at once: they stay in the processor's cache, and BLAS does not wake its threads for so few
_SAMPLED = 1 << 14  # pixels of a large frame that are counted

_Floats = NDArray[np.floating[Any]]


class _Histogram(NamedTuple):
    """The colours of a frame, counted in cells."""

    pixels: _Floats  # (3, N), those that were sampled
    cell: NDArray[np.intp]  # (N,), of each
    colour: NDArray[np.float32]  # (M, 4), the mean of each cell, or its centre if it has no sampled pixel; and a 1
    weight: _Floats  # (M,), the number of sampled pixels in each cell


class Quantizer:
    """Finds palettes of so many colours, at most 256, for one frame after another."""

    def __init__(self, colours: int = 256) -> None:
        self.colours = colours
        self._means: NDArray[np.float32] | None = None
        self._previous_indices = np.zeros(0, np.uint8)  # of the sampled pixels
        self._previous_error = 0.0
        # of every possible cell: whether it occurs, its number among those that do, its index in the palette
        self._occurs = np.zeros(1 << 3 * _BITS, bool)
        self._number = np.zeros(1 << 3 * _BITS, np.intp)
        self._index = np.zeros(1 << 3 * _BITS, np.uint8)

    def __call__(self, frame: Frame) -> tuple[Frame, Frame]:
        """Indices (H, W) into a palette (colours, 3), both uint8."""
        picture = Image.fromarray(frame)
        rgb = np.frombuffer(picture.tobytes("raw", "RGBX"), "<u4")
        code, occupied, centre = self._cells(rgb)
        self._number[occupied] = np.arange(len(occupied))
        sample = slice(None, None, _stride(len(rgb), frame.shape[1]))
        pixels, cell = _channels(rgb[sample]).astype(float), self._number.take(code[sample])
        weight, mean = _group(cell, pixels, centre)
        histogram = _Histogram(pixels, cell, np.vstack([mean, np.ones_like(weight)]).T.astype(np.float32, "C"), weight)

        if self._means is not None:
            nearest, means, error = _iterate(histogram, self._follow(histogram.pixels))
            if error > _RELOCATE_LIMIT * self._previous_error + _NEGLIGIBLE:
                nearest, means, error = _iterate(histogram, _relocate(histogram, nearest, means))
        if self._means is None or error > _NEW_SCENE_LIMIT * self._previous_error + _NEGLIGIBLE:
            cut = picture.quantize(self.colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette()
            means = np.resize(np.array(cut, np.float32), (self.colours, 3))
            for _ in range(_NEW_SCENE_ITERATIONS):
                nearest, means, error = _iterate(histogram, means)

        self._index[occupied] = nearest
        indices = self._index.take(code)
        self._means, self._previous_error, self._previous_indices = means, error, indices[sample]
        return indices.reshape(frame.shape[:2]), (means + 0.5).clip(0, 255).astype(np.uint8)

    def _cells(self, rgb: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
        """The cell of each pixel (H · W,), the cells that occur (M,), and the colours of their centres (3, M)."""
        dropped, mask = 8 - _BITS, (1 << _BITS) - 1
        red, green, blue = ((rgb >> shift + dropped) & mask for shift in _SHIFTS)
        code = (red | green << _BITS | blue << 2 * _BITS).astype(np.intp)
        self._occurs[code] = True
        occupied = np.flatnonzero(self._occurs)
        self._occurs[occupied] = False
        if len(occupied) <= _FEW_CELLS:
            _, first, inverse = np.unique(rgb, return_index=True, return_inverse=True)
            return inverse, np.arange(len(first)), _channels(rgb[first])
        parts = [occupied >> place & mask for place in (0, _BITS, 2 * _BITS)]
        return code, occupied, (np.stack(parts) << dropped) + (1 << dropped >> 1)

    def _follow(self, pixels: _Floats) -> NDArray[np.float32]:
        """The present means (K, 3), in pixels (3, N), of groups that shared a colour; if they differ, the old means."""
        assert self._means is not None
        means, error = _group_means(self._previous_indices, pixels, self._means)
        return means if error <= _FOLLOW_LIMIT * self._previous_error + _NEGLIGIBLE else self._means


def _stride(pixels: int, width: int) -> int:
    """The distance between sampled pixels; it shares no divisor with the width, so that every column is sampled."""
    stride = pixels // _SAMPLED + 1
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride


def _channels(rgb: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Red, green and blue of pixels: (N,) → (3, N)."""
    return np.stack([rgb >> shift & 255 for shift in _SHIFTS])


def _group(group: NDArray[Any], pixels: _Floats, default: NDArray[Any]) -> tuple[_Floats, _Floats]:
    """The size (K,) and the mean (3, K) of each group of pixels (3, N); the mean of an empty one is its default."""
    size = np.bincount(group, minlength=default.shape[1]).astype(float)
    total = np.stack([np.bincount(group, channel, len(size)) for channel in pixels])
    return size, np.where(size > 0, total / np.maximum(size, 1), default)


def _group_means(
    group: NDArray[Any], pixels: _Floats, default: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """The mean (K, 3) of each group of pixels (3, N), by default (K, 3), and the pixels' mean squared distance."""
    size, mean = _group(group, pixels, default.T)
    # not a product of matrices, for which BLAS would wake its threads
    error = float(np.square(pixels).sum() - (size * mean**2).sum()) / pixels.shape[1]
    return mean.T.astype(np.float32, order="C"), error


def _nearest(colour: NDArray[np.float32], means: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The index of the mean (K, 3) that is nearest to each colour (M, 4), and its squared distance."""
    table = np.vstack([-2 * means.T, (means**2).sum(1)])  # colour @ table is ‖c − m‖² − ‖c‖²
    nearest, error = np.empty(len(colour), np.intp), (colour[:, :3] ** 2).sum(1)
    for start in range(0, len(colour), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        distance = colour[chunk] @ table
        nearest[chunk] = distance.argmin(1)
        error[chunk] += np.take_along_axis(distance, nearest[chunk, None], 1)[:, 0]
    return nearest, error


def _iterate(histogram: _Histogram, means: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32], float]:
    """One iteration of k-means: the nearest mean of each cell (M,), the new means (K, 3), the mean squared error.

    A mean that is nearest to no cell moves to the cell with the largest error.
    """
    nearest, error = _nearest(histogram.colour, means)
    empty = np.flatnonzero(np.bincount(nearest, minlength=len(means)) == 0)[: len(nearest)]
    if len(empty):
        worst = np.argpartition(-error * histogram.weight, len(empty) - 1)[: len(empty)]
        means = means.copy()
        nearest[worst], means[empty] = empty, histogram.colour[worst, :3]
    return nearest, *_group_means(nearest[histogram.cell], histogram.pixels, means)


def _relocate(histogram: _Histogram, nearest: NDArray[np.intp], means: NDArray[np.float32]) -> NDArray[np.float32]:
    """The means (K, 3), some of them moved to cells where that lowers the error by more than it costs elsewhere."""
    gain = ((histogram.colour[:, :3] - means[nearest]) ** 2).sum(1) * histogram.weight
    squares = (means**2).sum(1)
    distance = squares[:, None] + squares - 2 * means @ means.T
    np.fill_diagonal(distance, np.inf)
    cost = np.bincount(nearest, histogram.weight, len(means)) * distance.min(1)
    count = min(_MOST_RELOCATED, len(means), len(gain))
    cheapest, worst = cost.argsort()[:count], gain.argsort()[::-1][:count]
    pays = cost[cheapest] < gain[worst]
    means = means.copy()
    means[cheapest[pays]] = histogram.colour[worst[pays], :3]
    return means
