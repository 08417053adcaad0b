"""Palettes of 256 colours or fewer, one for each frame of a GIF, quickly and without flicker.

A frame's colours are counted in cells of 4×4×4 levels, and k-means (Lloyd, *Least squares quantization in PCM*, 1982)
moves a palette to where they are. It starts where the pixels that shared a colour in the frame before have gone, if
they are still alike: colours are followed, and a pixel's error stays what it was. Else it starts at the palette of the
frame before. One round is enough unless the error grows, as where something new comes in: then means that are little
missed go where they are needed (Patanè and Russo, *The enhanced LBG algorithm*, Neural Networks 2001), and a second
round follows. If the error grows much, this is another scene, which starts at Pillow's median cut.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vae.render.formats.frame import Frame

_BITS = 6  # of each channel, that tell cells apart
_SHIFTS = (0, 8, 16)  # of red, green and blue in a pixel's four bytes
_FIRST = 6  # rounds of k-means in a new scene
_FEW = 128  # cells; a frame that has no more of them is looked at more closely
_ALIKE, _GROWN, _CUT = 2.0, 1.1, 2.5  # times the error of the frame before: followed; a second round; another scene
_MOVED = 32  # means that go elsewhere before a second round, at most
_EXACT = 0.25  # squared levels that nobody sees
_PIECE = 256  # cells that stay in the processor's cache, and too few for BLAS to wake its threads
_ENOUGH = 1 << 14  # pixels of a large frame are counted

_Floats = NDArray[np.floating[Any]]


class _Colours(NamedTuple):
    """A frame's colours.

    Attributes:
        pixels: (3, N) those that are counted.
        cell: (N,) of each.
        colour: (M, 4) float32, the mean of each cell, or its middle where no pixel of it is counted; and 1.
        weight: (M,) how many pixels are counted.
    """

    pixels: _Floats
    cell: NDArray[np.intp]
    colour: NDArray[np.float32]
    weight: _Floats


class Quantizer:
    """Palettes for frame after frame.

    Args:
        colours: how many each has, at most 256.
    """

    def __init__(self, colours: int = 256) -> None:
        self.colours = colours
        self._means: NDArray[np.float32] | None = None
        self._before = np.zeros(0, np.uint8)  # indices of the frame before
        self._error = 0.0  # of the frame before
        # of every possible cell: whether it occurs, its number among those that do, its index
        self._seen = np.zeros(1 << 3 * _BITS, bool)
        self._number = np.zeros(1 << 3 * _BITS, np.intp)
        self._index = np.zeros(1 << 3 * _BITS, np.uint8)

    def __call__(self, frame: Frame) -> tuple[Frame, Frame]:
        """Indices (H, W) of the colours of a palette (colours, 3)."""
        picture = Image.fromarray(frame)
        rgb = np.frombuffer(picture.tobytes("raw", "RGBX"), "<u4")
        code, occupied, middle = self._coded(rgb)
        self._number[occupied] = np.arange(len(occupied))
        some = slice(None, None, _stride(len(rgb), frame.shape[1]))
        found = _count(_channels(rgb[some]).astype(float), self._number.take(code[some]), middle)

        if self._means is not None:
            nearest, means, error = _round(found, self._followed(found.pixels))
            if error > _GROWN * self._error + _EXACT:
                nearest, means, error = _round(found, _relocated(found, nearest, means))
        if self._means is None or error > _CUT * self._error + _EXACT:
            means = _median_cut(picture, self.colours)
            for _ in range(_FIRST):
                nearest, means, error = _round(found, means)

        self._index[occupied] = nearest
        indices = self._index.take(code)
        self._means, self._error, self._before = means, error, indices[some]
        return indices.reshape(frame.shape[:2]), (means + 0.5).clip(0, 255).astype(np.uint8)

    def _coded(self, rgb: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
        """Each pixel's cell (H · W,), which of them occur (M,), and the colour in the middle of those (3, M)."""
        dropped, mask = 8 - _BITS, (1 << _BITS) - 1
        red, green, blue = ((rgb >> shift + dropped) & mask for shift in _SHIFTS)
        code = (red | green << _BITS | blue << 2 * _BITS).astype(np.intp)
        self._seen[code] = True
        occupied = np.flatnonzero(self._seen)
        self._seen[occupied] = False
        if len(occupied) <= _FEW:
            _, first, every = np.unique(rgb, return_index=True, return_inverse=True)
            return every, np.arange(len(first)), _channels(rgb[first])
        parts = [occupied >> place & mask for place in (0, _BITS, 2 * _BITS)]
        return code, occupied, (np.stack(parts) << dropped) + (1 << dropped >> 1)

    def _followed(self, pixels: _Floats) -> NDArray[np.float32]:
        """Where pixels (3, N) that had one colour in the frame before have gone, if they stayed together."""
        assert self._means is not None
        means, error = _middles(self._before, pixels, self._means)
        return means if error <= _ALIKE * self._error + _EXACT else self._means


def _stride(pixels: int, width: int) -> int:
    """How many pixels to go on to the next that is counted, so that those are in all columns."""
    stride = pixels // _ENOUGH + 1
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride


def _channels(rgb: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """(N,) → (3, N)."""
    return np.stack([rgb >> shift & 255 for shift in _SHIFTS])


def _grouped(group: NDArray[Any], pixels: _Floats, otherwise: NDArray[Any]) -> tuple[_Floats, _Floats]:
    """How many pixels (3, N) each group has (K,), and their mean (3, K), or `otherwise` (3, K) where there are none."""
    size = np.bincount(group, minlength=otherwise.shape[1]).astype(float)
    total = np.stack([np.bincount(group, channel, len(size)) for channel in pixels])
    return size, np.where(size > 0, total / np.maximum(size, 1), otherwise)


def _middles(group: NDArray[Any], pixels: _Floats, means: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The mean of each group of pixels (K, 3), that of an empty one as it was, and a pixel's mean squared distance."""
    size, middle = _grouped(group, pixels, means.T)
    # not a product of matrices, for which BLAS would wake its threads
    apart = float(np.square(pixels).sum() - (size * middle**2).sum()) / pixels.shape[1]
    return middle.T.astype(np.float32, order="C"), apart


def _count(pixels: _Floats, cell: NDArray[np.intp], middle: NDArray[Any]) -> _Colours:
    """The colours of a frame, given what `_coded` says is in the middle of its cells."""
    weight, mean = _grouped(cell, pixels, middle)
    colour = np.ones((len(weight), 4), np.float32)
    colour[:, :3] = mean.T
    return _Colours(pixels, cell, colour, weight)


def _median_cut(picture: Image.Image, colours: int) -> NDArray[np.float32]:
    """Where k-means starts, (colours, 3) (Heckbert 1982)."""
    cut = picture.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette()
    return np.resize(np.array(cut, np.float32), (colours, 3))


def _nearest(colour: NDArray[np.float32], means: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Which of the means (K, 3) is nearest to each colour (M, 4), and its squared distance."""
    table = np.vstack([-2 * means.T, (means**2).sum(1)])  # colour @ table is ‖c − m‖² − ‖c‖²
    nearest, error = np.empty(len(colour), np.intp), (colour[:, :3] ** 2).sum(1)
    for start in range(0, len(colour), _PIECE):
        piece = slice(start, start + _PIECE)
        distance = colour[piece] @ table
        nearest[piece] = distance.argmin(1)
        error[piece] += np.take_along_axis(distance, nearest[piece, None], 1)[:, 0]
    return nearest, error


def _round(found: _Colours, means: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32], float]:
    """One round of k-means: the nearest mean of each cell (M,), the means moved (K, 3), a pixel's mean squared error.

    A mean that is nearest to none goes to the cell that is worst off.
    """
    nearest, error = _nearest(found.colour, means)
    idle = np.flatnonzero(np.bincount(nearest, minlength=len(means)) == 0)[: len(nearest)]
    if len(idle):
        worst = np.argpartition(-error * found.weight, len(idle) - 1)[: len(idle)]
        means = means.copy()
        nearest[worst], means[idle] = idle, found.colour[worst, :3]
    return nearest, *_middles(nearest[found.cell], found.pixels, means)


def _relocated(found: _Colours, nearest: NDArray[np.intp], means: NDArray[np.float32]) -> NDArray[np.float32]:
    """The means (K, 3) after some have gone to cells that lose more than the pixels which they leave would."""
    lost = ((found.colour[:, :3] - means[nearest]) ** 2).sum(1) * found.weight
    squares = (means**2).sum(1)
    apart = squares[:, None] + squares - 2 * means @ means.T
    np.fill_diagonal(apart, np.inf)
    missed = np.bincount(nearest, found.weight, len(means)) * apart.min(1)
    count = min(_MOVED, len(means), len(lost))
    least, worst = missed.argsort()[:count], lost.argsort()[::-1][:count]
    worth = missed[least] < lost[worst]
    means = means.copy()
    means[least[worth]] = found.colour[worst[worth], :3]
    return means
