"""A generator from an ONNX file of any network z → image, a GAN's for example.

Its latents are (N, D) or, as in a DCGAN (Radford, Metz and Chintala 2016), (N, D, 1, 1), and come from Normal(0, I).
Its pictures are square, grey or RGB, (N, C, H, W) or (N, H, W, C). N is free or fixed.

The values of black and white are in the file's metadata under `range`, as in our own exports, or else are guessed from
16 pictures: -1 and 1 if a number is below 0, as tanh gives; 0 and 1 if none is above 1; or 0 and 255.

A file is a program that may never end: it is run by a process of its own, whose time and memory are limited.
"""

import io
import json
import threading
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.system.errors import UserError
from data.system.files import check_regular_file
from data.system.worker_process import TIMED_OUT, WorkerProcess, physical_memory
from vae.generator import seeded_latents
from vae.onnx_worker import LARGEST
from vae.optional import check_installed

_RANGES = {"[-1, 1]": (-1.0, 1.0), "[0, 1]": (0.0, 1.0), "[0, 255]": (0.0, 255.0)}
SECONDS = 120.0  # for reading the file, and for decoding one batch
MEMORY = (physical_memory() or 16 << 30) // 2  # bytes for the process
_PROBES = 16
_MESSAGE_BYTES = 1 << 16  # of an answer that is no picture
_ROUNDING = 0.01  # of the range


class OnnxGenerator:
    """A `vae.generator.Generator` that runs on the CPU and has no encoder.

    Args:
        path: the file.

    Raises:
        UserError: it is missing, is no generator, or its outputs are no pictures.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.device = path, torch.device("cpu")
        self._lock = threading.Lock()
        check_regular_file(path)
        if not path.is_file():
            raise UserError(f"{path}: no such generator; export one with torch.onnx.export")
        for package in ("onnx", "onnxruntime"):
            check_installed(package, "onnx")
        words = [str(path), str(torch.get_num_threads()), str(MEMORY)]
        self._worker = WorkerProcess("vae.onnx_worker", words, "run ONNX files")
        found = json.loads(self._request(b"", _MESSAGE_BYTES, "read"))
        self.latent_dim, self._batch = int(found["latent_dim"]), found["batch"]
        self._probe(found["range"])

    def _request(self, content: bytes, limit: int, purpose: str) -> bytes:
        """The answer of the process, of at most `limit` bytes."""
        try:
            with self._lock:  # threads take turns
                good, answer = self._worker.ask(content, SECONDS, limit)
        except (OSError, EOFError):
            if self._worker.close() == TIMED_OUT:
                raise self._refusal(f"took longer than {SECONDS:g} s to {purpose}; choose a quicker one") from None
            good, answer = False, b"onnxruntime crashed"
        if not good:
            raise self._refusal(f"cannot be run ({answer.decode(errors='replace')}); export it again or choose another")
        return answer

    def _probe(self, declared: str | None) -> None:
        """Sets layout, size and range of pictures, from those of 16 latents and the range that the file may declare."""
        outputs = self._run(seeded_latents(0, _PROBES, self.latent_dim))
        shape = outputs.shape[1:]
        self._channels_last = len(shape) == 3 and shape[0] not in (1, 3)
        channels, height, width = np.roll(shape, 1) if self._channels_last else shape if len(shape) == 3 else (0, 0, 0)
        if channels not in (1, 3) or height != width or not 16 <= height <= LARGEST:
            raise self._refusal(f"draws arrays of {shape}, not square pictures, grey or RGB, of 16 to {LARGEST} pixels")
        self.image_size, self.channels = int(height), int(channels)
        low, high = float(outputs.min()), float(outputs.max())
        declared = declared or ("[-1, 1]" if low < 0 else "[0, 1]" if high <= 1 else "[0, 255]")
        self._low, self._high = _RANGES.get(declared, (0.0, 0.0))
        slack = _ROUNDING * (self._high - self._low)
        if declared not in _RANGES or low < self._low - slack or high > self._high + slack:
            raise self._refusal(f"draws numbers from {low:g} to {high:g}, not in {', '.join(_RANGES)}")

    def _refusal(self, fault: str) -> UserError:
        return UserError(f"{self._path}: {fault}")

    def _run(self, z: Tensor) -> NDArray[np.float32]:
        """The file's outputs of latents (N, D)."""
        latents = z.detach().cpu().numpy().astype(np.float32)
        size = self._batch or len(latents)
        batches = [self._run_batch(latents[at : at + size], size) for at in range(0, len(latents), size)]
        if len({outputs.shape[1:] for outputs in batches}) != 1 or sum(map(len, batches)) != len(latents):
            raise self._refusal(f"draws {batches[0].shape} of {size} latents; their pictures must be alike")
        outputs = np.concatenate(batches)
        if not np.isfinite(outputs).all():
            raise self._refusal("draws what is not finite; choose another one, or export it in float32")
        return outputs

    def _run_batch(self, latents: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        """The outputs of at most `size` latents, of which the last is repeated to fill a batch of that size."""
        padded = np.concatenate([latents, np.repeat(latents[-1:], size - len(latents), axis=0)])
        answer = self._request(padded.tobytes(), _MESSAGE_BYTES + 12 * LARGEST**2 * size, f"draw {size} pictures")
        return np.load(io.BytesIO(answer), allow_pickle=False)[: len(latents)]

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) → (N, C, H, W) in [-1, 1]. Raises `UserError` if a picture is not finite, or of another size."""
        x = torch.from_numpy((self._run(z) - self._low) * (2 / (self._high - self._low)) - 1).clamp(-1, 1)
        x = x.permute(0, 3, 1, 2) if self._channels_last else x
        if x.shape[1:] != (self.channels, self.image_size, self.image_size):
            raise self._refusal(f"draws {tuple(x.shape[1:])} now; its pictures must be alike in size")
        return x

    def zero_inactive(self, values: Tensor) -> Tensor:
        """The same: which latents are inactive is not known."""
        return values
