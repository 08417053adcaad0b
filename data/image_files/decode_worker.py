"""A process that probes and decodes picture files without torch, so that it starts fast; `decode_pool` starts it.

    python -m data.image_files.decode_worker MEMORY

Its requests are JSON, `["probe", file, arguments of PictureFile.probe]` or `["read", file, arguments of
PictureFile.pixels]`, its answers a probe as JSON or pixels.
"""

import json
import sys
from pathlib import Path
from typing import Any

from data.image_files.reader import PictureFile
from data.system.worker_process import serve


class FileDecoder:
    """Answers requests; the last file stays open, for its next picture may be wanted next."""

    def __init__(self) -> None:
        self._file: PictureFile | None = None
        self._frame = -1

    def answer(self, request: bytes) -> list[bytes]:
        """Raises `UserError` where the file is broken."""
        task, name, *arguments = json.loads(request)
        if task == "probe":
            with PictureFile(Path(name)) as file:
                return [json.dumps(file.probe(*arguments)).encode()]
        return [self._pixels(Path(name), *arguments)]

    def _pixels(self, path: Path, frame: int, *arguments: Any) -> bytes:
        if self._file is None or self._file.path != path or frame <= self._frame:
            self.close()
            self._file = PictureFile(path)
        self._frame = frame
        return self._file.pixels(frame, *arguments).tobytes()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


if __name__ == "__main__":
    serve(FileDecoder().answer, int(sys.argv[1]))
