"""A generator from an ONNX file of any network z → image, a GAN's for example.

Its latents are (N, D) or, as in a DCGAN (Radford, Metz and Chintala 2016), (N, D, 1, 1), and come from Normal(0, I).
Its pictures are square, grey or RGB, (N, C, H, W) or (N, H, W, C). N is free or fixed.

Black and white are what `range` in the file's metadata says, as that of our own exports does, or else what the pictures
of 16 random latents show: -1 and 1 if a number is below 0, as tanh gives; 0 and 1 if none is above 1; or 0 and 255.

A file is a program that may never end: it is run by a process of its own, whose time and memory are limited.
"""

import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.system.errors import UserError
from data.system.files import check_regular_file
from data.system.worker_process import TIMED_OUT, WorkerProcess, physical_memory
from vae.generator import seeded_latents
from vae.onnx_worker import FLOATS, LARGEST
from vae.optional import check_installed

_RANGES = {"[-1, 1]": (-1.0, 1.0), "[0, 1]": (0.0, 1.0), "[0, 255]": (0.0, 255.0)}
SECONDS = 120.0  # that reading the file may take, and that so many pictures may which are drawn at once
MEMORY = (physical_memory() or 16 << 30) // 2  # bytes that the process may take
_PATIENCE = 10  # or so many times as long as the first ones took, if that is more
_PROBES = 16
_LONGEST = 1 << 16  # bytes of an answer that is no picture
_MOST_NUMBERS = 2**20  # that go in at once
_ROUNDING = 0.01  # of the range


class OnnxGenerator:
    """A `vae.generator.Generator` that runs on the CPU and has no encoder.

    Args:
        path: the file.

    Raises:
        UserError: it is not there, is no generator, or draws what is no picture.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.device = path, torch.device("cpu")
        self._drawn: tuple[int, ...] = ()  # the shape of a picture, once it is known
        self._slowest = 0.0  # seconds that a picture took
        self._asking = threading.Lock()
        check_regular_file(path)
        if not path.is_file():
            raise UserError(f"{path}: no such generator; export one with torch.onnx.export")
        for package in ("onnx", "onnxruntime"):
            check_installed(package, "onnx")
        words = [str(path), str(torch.get_num_threads()), str(MEMORY)]
        self._worker = WorkerProcess("vae.onnx_worker", words, "run ONNX files")
        found = self._said()
        if found["inputs"] != 1 or found["outputs"] != 1:
            raise self._refusal(f"has {found['inputs']} inputs and {found['outputs']} outputs, a generator one of each")
        self._type, shape = found["type"], found["shape"]
        if self._type not in FLOATS or len(shape) not in (2, 4) or shape[2:] not in ([], [1, 1]):
            raise self._refusal(f"takes {self._type} of {shape}, not latents (N, D) or (N, D, 1, 1)")
        batch, *self._latent = shape
        if not isinstance(self._latent[0], int):
            raise self._refusal("does not say how many numbers a latent has; export it with only the batch left free")
        self.latent_dim, self._batch = self._latent[0], batch if isinstance(batch, int) else None
        if not 1 <= self.latent_dim * (self._batch or 1) <= _MOST_NUMBERS:
            raise self._refusal(f"takes latents {shape}, of which there are too many numbers or none")
        self._look(found["range"])

    def _said(self) -> dict[str, Any]:
        """What the file says of itself."""
        good, answer = self._ask(b"", _LONGEST, SECONDS, "read")
        if not good:
            raise self._refusal(
                f"not an ONNX file that can be run ({answer.decode(errors='replace')}); export it again"
            )
        found = json.loads(answer)
        if found["external"]:
            raise self._refusal("keeps its weights in another file; export it with external_data=False")
        return found

    def _ask(self, request: bytes, most: int, seconds: float, purpose: str) -> tuple[bool, bytes]:
        """What the process answers, with at most so many bytes, or why it cannot."""
        try:
            with self._asking:  # threads take turns
                self._worker.send(seconds, request)
                return self._worker.receive(most)
        except (OSError, EOFError):
            if self._worker.close() == TIMED_OUT:
                fault = f"took longer than {seconds:g} s to {purpose}; export it for a batch of 1, or choose another"
            else:
                fault = "cannot be run (onnxruntime crashed); choose another one"
            raise self._refusal(fault) from None

    def _look(self, said: str | None) -> None:
        """Finds out how pictures are laid out, from some, and from the range of pixels that the file may say."""
        z = seeded_latents(0, _PROBES, self.latent_dim)
        drawn = self._draw(z)
        self._drawn = shape = drawn.shape[1:]
        self._last = len(shape) == 3 and shape[0] not in (1, 3)
        channels, height, width = np.roll(shape, 1) if self._last else shape if len(shape) == 3 else (0, 0, 0)
        if channels not in (1, 3) or height != width:
            raise self._refusal(f"draws arrays of {shape}, not square pictures, grey or RGB")
        if not 16 <= height <= LARGEST:
            raise self._refusal(f"draws pictures of {height} pixels a side, not of 16 to {LARGEST}")
        self.image_size, self.channels = int(height), int(channels)
        low, high = float(drawn.min()), float(drawn.max())
        seen = "[-1, 1]" if low < 0 else "[0, 1]" if high <= 1 else "[0, 255]"
        said = seen if said is None else said
        if said not in _RANGES:
            raise self._refusal(f"has pixels in {said[:50]!r}, not in {', '.join(_RANGES)}")
        self._low, self._high = _RANGES[said]
        slack = _ROUNDING * (self._high - self._low)
        if low < self._low - slack or high > self._high + slack:
            raise self._refusal(f"draws numbers from {low:g} to {high:g}, not in {', '.join(_RANGES)}")

    def _refusal(self, fault: str) -> UserError:
        return UserError(f"{self._path}: {fault}")

    def _draw(self, z: Tensor) -> NDArray[np.float32]:
        """Pictures of latents (N, D) as the file draws them."""
        given = z.detach().cpu().numpy().astype(FLOATS[self._type]).reshape(len(z), *self._latent)
        step = self._batch or len(given)
        every = [self._run(given[at : at + step], step) for at in range(0, len(given), step)]
        try:
            drawn = np.concatenate(every)
        except ValueError as error:  # their shapes differ, or there are none
            raise self._refusal(f"cannot be run ({error}); choose another one") from None
        if drawn.shape != (len(z), *(self._drawn or drawn.shape[1:])):
            raise self._refusal(
                f"draws {drawn.shape} of {len(z)} latents; their pictures must be as many and alike in size"
            )
        if not np.isfinite(drawn).all():
            raise self._refusal("draws what is not finite; choose another one, or export it in float32")
        return drawn

    def _run(self, some: NDArray[Any], step: int) -> NDArray[np.float32]:
        """Pictures of at most as many latents as fit; where N is fixed, the last one fills the places left over."""
        padded = np.concatenate([some, np.repeat(some[-1:], step - len(some), axis=0)])
        seconds = max(SECONDS, _PATIENCE * self._slowest * max(step, _PROBES))
        began = time.monotonic()
        most = _LONGEST + 12 * LARGEST**2 * step
        good, answer = self._ask(padded.tobytes(), most, seconds, f"draw {step} pictures")
        if not good:
            raise self._refusal(f"cannot be run ({answer.decode(errors='replace')}); choose another one")
        self._slowest = max(self._slowest, (time.monotonic() - began) / step)
        return np.load(io.BytesIO(answer), allow_pickle=False)[: len(some)]

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) → (N, C, H, W) in [-1, 1]. Raises `UserError` if a picture is not finite."""
        x = torch.from_numpy((self._draw(z) - self._low) * (2 / (self._high - self._low)) - 1).clamp(-1, 1)
        return x.permute(0, 3, 1, 2) if self._last else x

    def zero_inactive(self, values: Tensor) -> Tensor:
        """The same: what each latent says is not known."""
        return values
