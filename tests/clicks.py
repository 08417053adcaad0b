"""Sounds made for tests: clicks at known times."""

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 22_050


def click_track(
    seconds: float, times: Sequence[float], noise: float = 0.0, bass: float = 0.0, seed: int = 0
) -> NDArray[np.float32]:
    """Clicks that die away within 30 ms, some loud and some not, in noise and above a tone of 55 Hz: (N,)."""
    chance, t = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    samples = noise * chance.standard_normal(len(t)) + bass * np.sin(2 * np.pi * 55 * t)
    fading = np.exp(-np.arange(round(0.03 * RATE)) / (0.005 * RATE))
    for time in times:
        click = samples[round(time * RATE) :][: len(fading)]
        click += chance.uniform(0.3, 0.9) * (chance.uniform(-1, 1, len(fading)) * fading)[: len(click)]
    return samples.clip(-1, 1).astype(np.float32)


def save_wave(path: Path, samples: NDArray[np.float32], rate: int = RATE) -> Path:
    """Writes samples (N,) as a WAV of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path
