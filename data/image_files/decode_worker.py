"""A process that probes and decodes picture files without torch, so that it starts fast; `decode_pool` starts it.

    python -m data.image_files.decode_worker MEMORY

Its requests are JSON, `["probe", file, arguments of PictureFile.probe]` or `["read", file, arguments of
PictureFile.pixels]`, its answers a probe as JSON or pixels.
"""

import json
import sys
from contextlib import closing
from pathlib import Path

from data.image_files.reader import PictureFile
from data.system.worker_process import serve


class FileDecoder:
    """Answers requests; the last file stays open, for its next picture may be wanted next."""

    def __init__(self) -> None:
        self._file: PictureFile | None = None

    def answer(self, request: bytes) -> list[bytes]:
        """Raises `UserError` where the file is broken."""
        task, name, *arguments = json.loads(request)
        if task == "probe":
            with closing(PictureFile(Path(name))) as file:
                return [json.dumps(file.probe(*arguments)).encode()]
        if self._file is None or str(self._file.path) != name:
            self.close()
            self._file = PictureFile(Path(name))
        return [self._file.pixels(*arguments).tobytes()]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


if __name__ == "__main__":
    serve(FileDecoder().answer, int(sys.argv[1]))
