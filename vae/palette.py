"""Palettes of 256 colours or fewer, one for each frame of a GIF, quickly and without flicker.

A frame's colours are counted in cells of 4×4×4 levels. One round of k-means (Lloyd, *Least squares quantization in
PCM*, 1982) on the cells' mean colours, weighted by how many pixels they have, moves a palette to where this frame's
colours are. It starts where the pixels that shared a colour in the frame before have gone, if they are still alike:
colours are followed, and the error stays the same from frame to frame. Else it starts at the palette of the frame
before. A frame that is far worse off than that is of another scene, and starts at Pillow's median cut.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vae.frames import Frame

_BITS = 6  # of each channel, that tell cells apart
_MASK = (1 << _BITS) - 1
_FIRST = 6  # rounds of k-means in a new scene
_FEW = 128  # cells; a frame that has no more of them is looked at more closely
_ALIKE = 4.0  # times the error of the frame before: worth following
_CUT = 2.5  # times the error of the frame before: another scene
_EXACT = 0.25  # squared levels that nobody sees
_PIECE = 256  # cells that stay in the processor's cache, and too few for BLAS to wake its threads
_ENOUGH = 1 << 14  # pixels of a large frame are counted

Floats = NDArray[np.floating[Any]]


def octree(frame: Frame) -> tuple[Frame, Frame]:
    """Indices (H, W) of the colours of a palette (256, 3), by Pillow alone: coarser, and in a hurry."""
    found = Image.fromarray(frame).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return np.asarray(found), np.resize(np.array(found.getpalette(), np.uint8), (256, 3))


class _Cells(NamedTuple):
    """A frame's colours.

    Attributes:
        colour: (M, 4) float32, the mean of the pixels, and 1.
        weight: (M,) float32, how many they are.
    """

    colour: NDArray[np.float32]
    weight: NDArray[np.float32]


class Palette:
    """Palettes for frame after frame.

    Args:
        colours: how many each has, at most 256.
    """

    def __init__(self, colours: int = 256) -> None:
        self.colours = colours
        self._means: NDArray[np.float32] | None = None
        self._before = np.zeros(0, np.uint8)  # indices of the frame before
        self._error = 0.0  # of the frame before
        self._seen = np.zeros(1 << 3 * _BITS, bool)
        self._number = np.zeros(1 << 3 * _BITS, np.intp)
        self._index = np.zeros(1 << 3 * _BITS, np.uint8)

    def __call__(self, frame: Frame) -> tuple[Frame, Frame]:
        """Indices (H, W) of the colours of a palette (colours, 3)."""
        picture = Image.fromarray(frame)
        rgb = np.frombuffer(picture.tobytes("raw", "RGBX"), np.uint32)
        code, occupied, middle = self._coded(rgb)
        self._number[occupied] = np.arange(len(occupied))
        some = slice(None, None, len(rgb) // _ENOUGH | 1)
        pixels = _channels(rgb[some]).astype(float)
        cells = _count(self._number.take(code[some]), pixels, middle)

        if self._means is not None:
            means = self._followed(pixels)
            nearest, error = _assign(cells, means)
        if self._means is None or error > _CUT * self._error + _EXACT:
            means = _median_cut(picture, self.colours)
            for _ in range(_FIRST):
                nearest, error = _assign(cells, means)

        self._index[occupied] = nearest
        indices = self._index.take(code)
        self._means, self._error, self._before = means, error, indices[some]
        return indices.reshape(frame.shape[:2]), (means + 0.5).clip(0, 255).astype(np.uint8)

    def _coded(self, rgb: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
        """Each pixel's cell (H · W,), which of them occur (M,), and the colour in the middle of those (3, M)."""
        code = (rgb >> 2 & _MASK | rgb >> 4 & _MASK << _BITS | rgb >> 6 & _MASK << 2 * _BITS).astype(np.intp)
        self._seen[code] = True
        occupied = np.flatnonzero(self._seen)
        self._seen[occupied] = False
        if len(occupied) <= _FEW:
            _, first, every = np.unique(rgb, return_index=True, return_inverse=True)
            return every, np.arange(len(first)), _channels(rgb[first])
        return code, occupied, np.stack([(occupied >> shift & _MASK) * 4 + 2 for shift in (0, _BITS, 2 * _BITS)])

    def _followed(self, pixels: Floats) -> NDArray[np.float32]:
        """Where pixels (3, N) that had one colour in the frame before have gone, if they stayed together."""
        assert self._means is not None
        size, total = _sums(self._before, pixels, self.colours)
        mean = total / np.maximum(size, 1)
        apart = float(np.square(pixels).sum() - (size * mean**2).sum()) / pixels.shape[1]  # BLAS would wake its threads
        if apart > _ALIKE * self._error + _EXACT:
            return self._means
        return np.where(size > 0, mean, self._means.T).T.astype(np.float32, order="C")


def _channels(rgb: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """(N,) → (3, N)."""
    return np.stack([rgb & 255, rgb >> 8 & 255, rgb >> 16 & 255])


def _sums(group: NDArray[Any], pixels: Floats, groups: int) -> tuple[Floats, Floats]:
    """How many pixels (3, N) each group has (groups,), and their sum (3, groups)."""
    size = np.bincount(group, minlength=groups).astype(float)
    return size, np.stack([np.bincount(group, channel, groups) for channel in pixels])


def _count(cell: NDArray[np.intp], pixels: Floats, middle: NDArray[Any]) -> _Cells:
    """The cells; one of which no pixel was counted is one pixel's worth of its middle."""
    size, total = _sums(cell, pixels, middle.shape[1])
    missed = size == 0
    weight = size + missed
    colour = np.ones((len(size), 4), np.float32)
    colour[:, :3] = ((total + missed * middle) / weight).T
    return _Cells(colour, weight.astype(np.float32))


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


def _assign(cells: _Cells, means: NDArray[np.float32]) -> tuple[NDArray[np.intp], float]:
    """One round of k-means: the nearest mean of each cell (M,), and a pixel's mean squared error then.

    The means (K, 3) move to the middle of their cells; one that is nearest to none goes to the cell that is worst off.
    """
    nearest, error = _nearest(cells.colour, means)
    lost = error * cells.weight
    size = np.bincount(nearest, cells.weight, len(means))
    idle = np.flatnonzero(size == 0)[: len(nearest)]
    if len(idle):
        worst = np.argpartition(-lost, len(idle) - 1)[: len(idle)]
        nearest[worst], means[idle], lost[worst] = idle, cells.colour[worst, :3], 0
        size = np.bincount(nearest, cells.weight, len(means))
    used, left = size > 0, float(lost.sum())
    for channel in range(3):
        total = np.bincount(nearest, cells.weight * cells.colour[:, channel], len(means))
        middle = total[used] / size[used]
        left -= float(size[used] @ (middle - means[used, channel]) ** 2)  # Huygens: what moving to the middle gains
        means[used, channel] = middle
    return nearest, max(left, 0.0) / float(cells.weight.sum())
