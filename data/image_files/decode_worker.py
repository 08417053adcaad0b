"""A process that probes and decodes picture files without torch, so that it starts fast; `decode_pool` starts it.

    python -m data.image_files.decode_worker MEMORY

Its requests are JSON, `["probe", file, arguments of PictureFile.probe]` or `["read", file, arguments of
PictureFile.pixels]`, its answers a probe as JSON or pixels.
"""

import json
import sys
from functools import lru_cache
from pathlib import Path

from data.image_files.reader import PictureFile
from data.system.worker_process import serve


def answer(request: bytes) -> list[bytes]:
    """The parts of an answer. Raises `UserError` where the file is broken."""
    task, name, *arguments = json.loads(request)
    if task == "probe":
        with PictureFile(Path(name)) as file:
            return [json.dumps(file.probe(*arguments)).encode()]
    return [_opened(name).pixels(*arguments).tobytes()]


@lru_cache(maxsize=1)  # the next picture of the file may be wanted next
def _opened(name: str) -> PictureFile:
    return PictureFile(Path(name))


if __name__ == "__main__":
    serve(answer, int(sys.argv[1]))
