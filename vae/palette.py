"""Palettes of 256 colours or fewer, one for each frame of a GIF, quickly and without flicker.

A frame's colours are counted in cells of 4×4×4 levels. k-means (Lloyd, *Least squares quantization in PCM*, 1982) on
the cells' mean colours, weighted by how many pixels they have, moves the palette of the frame before to where this
frame's colours are; as frames of a morph differ little, two rounds are enough, and what was one colour stays one.
A frame that is far worse off than the one before is of another scene and starts anew.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vae.frames import Frame

_BITS = 6  # of each channel, that tell cells apart
_FIRST, _NEXT = 6, 2  # rounds of k-means
_FEW = 128  # cells; a frame that has no more of them is looked at more closely
_CUT = 1.5  # times the error of the frame before: another scene
_EXACT = 0.25  # squared levels that nobody sees
_PIECE = 256  # cells that stay in the processor's cache, and too few for BLAS to wake its threads
_ENOUGH = 1 << 14  # pixels of a large frame are counted


class _Cells(NamedTuple):
    """A frame's colours.

    Attributes:
        of_pixel: (H · W,), in [0, M).
        colour: (M, 4) float32, the mean of the pixels, and 1.
        weight: (M,) float32, how many they are.
    """

    of_pixel: NDArray[Any]
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
        self._usual = 0.0
        self._table = np.zeros(1 << 3 * _BITS, np.int32)

    def __call__(self, frame: Frame) -> tuple[Frame, Frame]:
        """Indices (H, W) of the colours of a palette (colours, 3)."""
        cells = self._cells(frame)
        if self._means is not None:
            nearest, error = _settle(cells, self._means, _NEXT)
        if self._means is None or error > _CUT * self._usual + _EXACT:
            self._means = _spread(cells, self.colours)
            nearest, error = _settle(cells, self._means, _FIRST)
        self._usual = error
        indices = nearest.astype(np.uint8)[cells.of_pixel].reshape(frame.shape[:2])
        return indices, (self._means + 0.5).clip(0, 255).astype(np.uint8)

    def _cells(self, frame: Frame) -> _Cells:
        rgb = np.frombuffer(Image.fromarray(frame).tobytes("raw", "RGBX"), np.uint32)
        channels = rgb & 255, rgb >> 8 & 255, rgb >> 16 & 255
        r, g, b = (channel >> 8 - _BITS for channel in channels)
        code = (r << 2 * _BITS | g << _BITS | b).view(np.int32)
        # numbers the cells that occur in a table that is never cleared: the last pixel of a cell stands for it
        pixel = np.arange(len(code), dtype=np.int32)
        self._table[code] = pixel
        last = np.flatnonzero(self._table[code] == pixel)
        self._table[code[last]] = np.arange(len(last), dtype=np.int32)
        of_pixel: NDArray[Any] = self._table[code]
        if len(last) <= _FEW:
            _, last, of_pixel = np.unique(rgb, return_index=True, return_inverse=True)

        counted = np.concatenate([last, pixel[:: len(pixel) // _ENOUGH | 1]])  # each cell at least once
        cell = of_pixel[counted]
        weight = np.bincount(cell).astype(np.float32)
        colour = np.ones((len(weight), 4), np.float32)
        for index, channel in enumerate(channels):
            colour[:, index] = np.bincount(cell, channel[counted]) / weight
        return _Cells(of_pixel, colour, weight)


def _spread(cells: _Cells, colours: int) -> NDArray[np.float32]:
    """Where k-means starts: at the mean, then again and again at the cell that is worst off (cf. Arthur 2007)."""
    colour = cells.colour[:, :3]
    means = np.empty((colours, 3), np.float32)
    means[0] = np.average(colour, 0, cells.weight)
    error = ((colour - means[0]) ** 2).sum(1)
    for index in range(1, colours):
        means[index] = colour[(error * cells.weight).argmax()]
        error = np.minimum(error, ((colour - means[index]) ** 2).sum(1))
    return means


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


def _settle(cells: _Cells, means: NDArray[np.float32], rounds: int) -> tuple[NDArray[np.intp], float]:
    """Rounds of k-means, which move the means: the nearest one of each cell (M,), and a pixel's mean squared error."""
    for _ in range(rounds):
        nearest, error = _assign(cells, means)
    return nearest, error


def _assign(cells: _Cells, means: NDArray[np.float32]) -> tuple[NDArray[np.intp], float]:
    """One round of k-means: the nearest mean of each cell; the means (K, 3) move to the middle of their cells.

    A mean that is nearest to none goes to the cell that is worst off.
    """
    nearest, error = _nearest(cells.colour, means)
    lost = float(np.average(error, weights=cells.weight))
    size = np.bincount(nearest, cells.weight, len(means))
    idle = np.flatnonzero(size == 0)[: len(nearest)]
    if len(idle):
        nearest[np.argpartition(-error * cells.weight, len(idle) - 1)[: len(idle)]] = idle
        size = np.bincount(nearest, cells.weight, len(means))
    used = size > 0
    for channel in range(3):
        total = np.bincount(nearest, cells.weight * cells.colour[:, channel], len(means))
        means[used, channel] = total[used] / size[used]
    return nearest, lost
