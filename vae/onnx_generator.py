"""A generator from an ONNX file of any network z → image, a GAN's for example.

Its latents are (N, D) or, as in a DCGAN (Radford, Metz and Chintala 2016), (N, D, 1, 1), and come from Normal(0, I).
Its pictures are square, grey or RGB, (N, C, H, W) or (N, H, W, C). N is free or fixed.

Black and white are what `range` in the file's metadata says, as that of our own exports does, or else what the pictures
of 16 random latents show: -1 and 1 if a number is below 0, as tanh gives; 0 and 1 if none is above 1; or 0 and 255.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.errors import UserError
from data.files import check_plain
from vae.extras import needed
from vae.keyframes import seeded_keyframes

_RANGES = {"[-1, 1]": (-1.0, 1.0), "[0, 1]": (0.0, 1.0), "[0, 255]": (0.0, 255.0)}
_FLOATS = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(double)": np.float64}
_PROBES = 16
_LARGEST = 1024
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
        self._session = _session(path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise self._refusal(f"has {len(inputs)} inputs and {len(outputs)} outputs, a generator one of each")
        (self._input,) = inputs
        shape = self._input.shape
        if self._input.type not in _FLOATS or len(shape) not in (2, 4) or shape[2:] not in ([], [1, 1]):
            raise self._refusal(f"takes {self._input.type} of {shape}, not latents (N, D) or (N, D, 1, 1)")
        batch, *self._latent = shape
        if not isinstance(self._latent[0], int):
            raise self._refusal("does not say how many numbers a latent has; export it with only the batch left free")
        self.latent_dim, self._batch = self._latent[0], batch if isinstance(batch, int) else None
        if not 1 <= self.latent_dim * (self._batch or 1) <= _MOST_NUMBERS:
            raise self._refusal(f"takes latents {shape}, of which there are too many numbers or none")
        self._look()

    def _look(self) -> None:
        """Finds out how pictures are laid out, from some."""
        z = seeded_keyframes(0, _PROBES, self.latent_dim)
        drawn = self._draw(z)
        self._drawn = shape = drawn.shape[1:]
        self._last = len(shape) == 3 and shape[0] not in (1, 3)
        channels, height, width = np.roll(shape, 1) if self._last else shape if len(shape) == 3 else (0, 0, 0)
        if channels not in (1, 3) or height != width:
            raise self._refusal(f"draws arrays of {shape}, not square pictures, grey or RGB")
        if not 16 <= height <= _LARGEST:
            raise self._refusal(f"draws pictures of {height} pixels a side, not of 16 to {_LARGEST}")
        self.image_size, self.channels = int(height), int(channels)
        low, high = float(drawn.min()), float(drawn.max())
        seen = "[-1, 1]" if low < 0 else "[0, 1]" if high <= 1 else "[0, 255]"
        said = self._session.get_modelmeta().custom_metadata_map.get("range", seen)
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
        given = z.detach().cpu().numpy().astype(_FLOATS[self._input.type]).reshape(len(z), *self._latent)
        step = self._batch or len(given)
        try:
            drawn = np.concatenate([self._run(given[at : at + step], step) for at in range(0, len(given), step)])
        except Exception as error:  # whatever a network's operations say to sizes that do not fit
            raise self._refusal(f"cannot be run ({_short(error)})") from None
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
        (drawn,) = self._session.run(None, {self._input.name: padded})
        with np.errstate(over="ignore"):  # which makes infinities
            return np.asarray(drawn, np.float32)[: len(some)]

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) → (N, C, H, W) in [-1, 1]. Raises `UserError` if a picture is not finite."""
        x = torch.from_numpy((self._draw(z) - self._low) * (2 / (self._high - self._low)) - 1).clamp(-1, 1)
        return x.permute(0, 3, 1, 2) if self._last else x

    def awake(self, values: Tensor) -> Tensor:
        """The same: what each latent says is not known."""
        return values


def _session(path: Path) -> Any:
    """An ONNX file, ready to be run, which reads no other file and says nothing by itself."""
    check_plain(path)
    if not path.is_file():
        raise UserError(f"{path}: no such generator; export one with torch.onnx.export")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it leaves files of it in the home folder
    onnx, onnxruntime = needed("onnx", "onnx"), needed("onnxruntime", "onnx")
    content = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, torch.get_num_threads()
    try:
        elsewhere = _keeps_weights_elsewhere(onnx.load_model_from_string(content))
        session = elsewhere or onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # both raise nearly anything on damaged or hostile bytes
        raise UserError(f"{path}: not an ONNX file that can be run ({_short(error)}); export it again") from None
    if elsewhere:
        raise UserError(f"{path}: keeps its weights in another file; export it with external_data=False")
    return session


def _keeps_weights_elsewhere(message: Any) -> bool:
    """Whether a tensor, anywhere in a model, is to be read from another file, which could be any."""
    if message.DESCRIPTOR.name == "TensorProto":
        return bool(message.data_location)
    inner = (value for field, value in message.ListFields() if field.message_type)
    each = (part for value in inner for part in ([value] if hasattr(value, "DESCRIPTOR") else value))
    return any(_keeps_weights_elsewhere(part) for part in each)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
