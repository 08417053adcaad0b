"""A process that runs an ONNX file, without torch; `onnx_generator` starts it.

    python -m vae.onnx_worker FILE THREADS MEMORY

The first request is empty and is answered with the file's `latent_dim`, `batch` and `range` in JSON; the others are
latents (N, D) in float32, and are answered with the network's output as an npy file of float32.
"""

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format

from data.system.errors import UserError
from data.system.worker_process import serve

LARGEST = 1024  # pixels a side
_FLOATS = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(double)": np.float64}
_MOST_NUMBERS = 2**20  # of a batch of latents
_SHORT = 120  # letters


class _Network:
    """Answers requests about an ONNX file.

    Args:
        path: of the file.
        threads: of onnxruntime.
        memory: bytes that this process may take, named in messages.
    """

    def __init__(self, path: Path, threads: int, memory: int) -> None:
        self._path, self._threads, self._memory = path, threads, memory
        self._session: Any = None

    def answer(self, request: bytes) -> Sequence[bytes | memoryview]:
        """Raises `UserError` where the file cannot be run."""
        try:
            if self._session is not None:
                return _run(self._session, request)
            self._session = _session(self._path, self._threads)
            return [json.dumps(_description(self._session)).encode()]
        except Exception as error:  # onnx and onnxruntime raise nearly anything on damaged or hostile bytes
            raise UserError(_reason(error, self._memory)) from None


def _session(path: Path, threads: int) -> Any:
    """An ONNX file, ready to be run. Raises `ValueError` where it would read other files."""
    import onnx
    import onnxruntime  # type: ignore[import-untyped]

    content = path.read_bytes()
    if _has_external_weights(onnx.load_model_from_string(content)):
        raise ValueError("keeps its weights in another file: use external_data=False")
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _has_external_weights(message: Any) -> bool:
    """True if a tensor, anywhere in a model, is read from another file, which could be any."""
    if message.DESCRIPTOR.name == "TensorProto":
        return bool(message.data_location)
    inner = (value for field, value in message.ListFields() if field.message_type)
    each = (part for value in inner for part in ([value] if hasattr(value, "DESCRIPTOR") else value))
    return any(_has_external_weights(part) for part in each)


def _description(session: Any) -> dict[str, Any]:
    """The sizes of the latents, and the range that the file declares. Raises `ValueError` if it is no generator."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"has {len(inputs)} inputs and {len(outputs)} outputs, a generator one of each")
    kind, shape = inputs[0].type, inputs[0].shape
    if kind not in _FLOATS or len(shape) not in (2, 4) or shape[2:] not in ([], [1, 1]):
        raise ValueError(f"takes {kind} of {shape}, not latents (N, D) or (N, D, 1, 1)")
    batch, latent_dim = (side if isinstance(side, int) else None for side in shape[:2])
    if latent_dim is None:
        raise ValueError("does not say how many numbers a latent has: leave only the batch free")
    if not 1 <= latent_dim * (batch or 1) <= _MOST_NUMBERS:
        raise ValueError(f"takes latents {shape}, of which there are too many numbers or none")
    pixel_range = session.get_modelmeta().custom_metadata_map.get("range")
    return {"latent_dim": latent_dim, "batch": batch, "range": pixel_range and pixel_range[:_SHORT]}


def _run(session: Any, content: bytes) -> tuple[bytes, memoryview]:
    """The network's output of latents: the head of an npy file, and the numbers."""
    (given,) = session.get_inputs()
    latents = np.frombuffer(content, np.float32).astype(_FLOATS[given.type]).reshape(-1, *given.shape[1:])
    (drawn,) = session.run(None, {given.name: latents})
    if not isinstance(drawn, np.ndarray) or drawn.size > len(latents) * 3 * LARGEST**2:
        raise ValueError(f"draws {np.shape(drawn)[:6]}, no pictures of at most {LARGEST} pixels a side")
    with np.errstate(over="ignore"):  # which makes infinities
        x = np.ascontiguousarray(drawn, np.float32)
    head = io.BytesIO()
    format.write_array_header_1_0(head, format.header_data_from_array_1_0(x))
    return head.getvalue(), x.reshape(-1).view(np.uint8).data


def _reason(error: Exception, memory: int) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "alloc" in text:
        return f"wants more than {memory / 2**30:.3g} GiB of memory"
    return text[:_SHORT] or type(error).__name__


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it leaves files of it in the home folder
    path, threads, memory = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    serve(_Network(path, threads, memory).answer, memory)
