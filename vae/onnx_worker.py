"""A process that runs an ONNX file and knows nothing of torch; `onnx_generator` starts and ends it.

    python -m vae.onnx_worker FILE THREADS MEMORY

reads requests from its standard input: how many seconds one may take, how many bytes follow, and the bytes. The first
has none and is answered with what the file says of itself, in JSON; the others are inputs of the network, and are
answered with its output as an npy file of float32. It ends with its input, even while the network is being run, and
when a request takes longer than it may.
"""

import io
import json
import os
import queue
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format

from data.system.worker import reply, serving, set_alarm

REQUEST = struct.Struct("<dQ")
LARGEST = 1024  # pixels a side
FLOATS = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(double)": np.float64}
_SHORT = 120  # letters
_DIMENSIONS = 6  # of a shape, so many are told of


def _serve(path: Path, threads: int, memory: int) -> None:
    """All that such a process does."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it leaves files of it in the home folder
    session = None
    with serving(memory) as answers:
        for seconds, content in _requests():
            set_alarm(seconds)
            good, answer = True, memoryview(b"")
            try:
                if session is None:
                    session, found = _session(path, threads)
                    head = json.dumps(found).encode()
                else:
                    head, answer = _draw(session, content)
            except Exception as error:  # onnx and onnxruntime raise nearly anything on damaged or hostile bytes
                good, head = False, _reason(error, memory).encode(errors="backslashreplace")
            set_alarm(0)
            reply(answers, good, head, answer)


def _requests() -> Iterator[tuple[float, bytes]]:
    """Requests, as long as someone is there who asks; the process ends when nobody is."""
    waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def listen() -> None:
        while len(head := sys.stdin.buffer.read(REQUEST.size)) == REQUEST.size:
            seconds, length = REQUEST.unpack(head)
            waiting.put((seconds, sys.stdin.buffer.read(length)))
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield waiting.get()


def _session(path: Path, threads: int) -> tuple[Any, dict[str, Any]]:
    """An ONNX file, ready to be run, which reads no other file and says nothing by itself; what it says when asked."""
    import onnx
    import onnxruntime  # type: ignore[import-untyped]

    content = path.read_bytes()
    if _keeps_weights_elsewhere(onnx.load_model_from_string(content)):
        return None, {"elsewhere": True}
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    first, outputs = session.get_inputs()[0], session.get_outputs()
    said = session.get_modelmeta().custom_metadata_map.get("range")
    return session, {
        "elsewhere": False,
        "inputs": len(session.get_inputs()),
        "outputs": len(outputs),
        "type": first.type[:_SHORT],
        "shape": [side[:_SHORT] if isinstance(side, str) else side for side in first.shape[:_DIMENSIONS]],
        "range": said and said[:_SHORT],
    }


def _keeps_weights_elsewhere(message: Any) -> bool:
    """Whether a tensor, anywhere in a model, is to be read from another file, which could be any."""
    if message.DESCRIPTOR.name == "TensorProto":
        return bool(message.data_location)
    inner = (value for field, value in message.ListFields() if field.message_type)
    each = (part for value in inner for part in ([value] if hasattr(value, "DESCRIPTOR") else value))
    return any(_keeps_weights_elsewhere(part) for part in each)


def _draw(session: Any, content: bytes) -> tuple[bytes, memoryview]:
    """The network's output of an input (N, D) or (N, D, 1, 1): the head of an npy file, and the numbers."""
    (given,) = session.get_inputs()
    z = np.frombuffer(content, FLOATS[given.type]).reshape(-1, *given.shape[1:])
    (drawn,) = session.run(None, {given.name: z})
    if not isinstance(drawn, np.ndarray) or drawn.size > len(z) * 3 * LARGEST**2:
        raise ValueError(f"draws {np.shape(drawn)[:_DIMENSIONS]}, no pictures of at most {LARGEST} pixels a side")
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
    _serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
