"""Onsets of a sound, and the speed of a film that follows them.

With X the short-time Fourier transform of the samples, the onset strength is the spectral flux

    F(n) = mean_k max(0, L(n, k) − L(n − 1, k)),    L = log(1 + 100 |X|)

An onset is where F is largest within ±60 ms, above 0.006 and a tenth of the largest F of all, and above 1.8 times its
median within ±0.5 s, which neither noise nor a held tone exceeds. With ℓ the loudness at a time, over the loudest, and
onsets at τ_k of the strength s_k, at most 1 each, a film changes at the speed

    v(t) = ℓ(t) + 6 · max_{τ_k ≤ t} s_k exp(−(t − τ_k) / 0.12 s)

Sources: Bello, Daudet, Abdallah, Duxbury, Davies and Sandler, *A Tutorial on Onset Detection in Music Signals*, IEEE
Transactions on Speech and Audio Processing 13(5), 2005; Dixon, *Onset Detection Revisited*, DAFx 2006, for the flux and
how its peaks are picked.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Samples = NDArray[np.float32]
_PER_SECOND = 200  # spectra
_WINDOW = 0.046  # s, of a spectrum
_COMPRESSION = 100.0
_BLOCK = 4096  # spectra at once
_APART, _AROUND = 0.06, 0.5  # s
_LEAST, _SHARE, _ABOVE = 0.006, 0.1, 1.8
_BEAT, _DECAY = 6.0, 0.12


class Onsets(NamedTuple):
    """Where a sound begins: times (K,) in s, ascending, and strengths (K,) in (0, 1]."""

    times: NDArray[np.float64]
    strengths: NDArray[np.float64]


def spectral_flux(samples: Samples, rate: int) -> NDArray[np.float64]:
    """F of samples (N,) in [-1, 1], `rate` a second: (M,), 200 a second from time 0 on.

    It is 0 within half a window of both ends, where silence begins and ends that is not the sound's.
    """
    hop, half = rate // _PER_SECOND, int(_WINDOW * rate) // 2
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (half + hop, half)), 2 * half)[hop // 2 :: hop]
    window, flux = np.hanning(2 * half).astype(np.float32) / half, np.zeros(len(frames) - 1)
    for start in range(0, len(flux), _BLOCK):
        level = np.log1p(_COMPRESSION * np.abs(np.fft.rfft(frames[start : start + _BLOCK + 1] * window)))
        flux[start : start + _BLOCK] = np.diff(level, axis=0).clip(0).mean(1)
    edge = half // hop + 2
    flux[:edge] = flux[-edge:] = 0
    return flux


def find_onsets(samples: Samples, rate: int) -> Onsets:
    """The onsets of samples (N,) in [-1, 1], `rate` a second."""
    flux, per_second = spectral_flux(samples, rate), rate / (rate // _PER_SECOND)

    def around(seconds: float, statistic: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
        reach = int(seconds * per_second)
        near = np.lib.stride_tricks.sliding_window_view(np.pad(flux, reach, "symmetric"), 2 * reach + 1)
        return np.concatenate([statistic(near[n : n + _BLOCK], axis=1) for n in range(0, len(near), _BLOCK)])

    least = max(_LEAST, _SHARE * flux.max())
    clear = (flux > least) & (flux > _ABOVE * around(_AROUND, np.median))
    places = np.flatnonzero(clear & (flux >= around(_APART, np.max)))
    return Onsets(places / per_second, flux[places] / flux.max())


def loudness(samples: Samples, rate: int, fps: float) -> NDArray[np.float64]:
    """The root mean square around each time f / fps, over the largest: (T,), T = N / rate · fps, rounded."""
    count = round(len(samples) / rate * fps)
    edges = ((np.arange(count) - 0.5) * rate / fps).round().clip(0, len(samples) - 1).astype(int)
    power = np.add.reduceat(np.square(samples), edges) / np.diff(edges, append=len(samples)).clip(1)
    return np.sqrt(power / max(power.max(), 1e-30))


def speed_of_sound(samples: Samples, rate: int, fps: float) -> Tensor:
    """The speed v at the frames of a film that is as long as a sound: (T,) float64, 0 or more.

    Args:
        samples: (N,) in [-1, 1].
        rate: samples a second.
        fps: frames a second; T = N / rate · fps, rounded.
    """
    speed, onsets = loudness(samples, rate, fps), find_onsets(samples, rate)
    beats = np.zeros(len(speed))
    np.maximum.at(beats, (onsets.times * fps).round().astype(int).clip(0, len(speed) - 1), onsets.strengths)
    for f in range(1, len(beats)):
        beats[f] = max(beats[f], beats[f - 1] * math.exp(-1 / (_DECAY * fps)))
    return torch.from_numpy(speed + _BEAT * beats)
