"""Files as ffmpeg writes them and reads them again; PyAV calls what is in here, and prints some of what it raises."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO


class FileToWrite:
    """A file as ffmpeg writes it; what the system refuses is noted, and raised by `check`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._fault: OSError | None = None

    def check(self) -> None:
        """Raises what the system refused."""
        if self._fault is not None:
            raise self._fault

    def write(self, content: bytes) -> int:
        self._try(self._file.write, content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._try(self._file.seek, offset, whence) or 0

    def tell(self) -> int:
        return self._try(self._file.tell) or 0

    def read_at(self, place: int, size: int) -> bytes:
        """What is written there; the place of the writing stays."""
        here = self.tell()
        self.seek(place)
        content = self._try(self._file.read, size) or b""
        self.seek(here)
        return content

    def size(self) -> int:
        """Bytes that are written."""
        here = self.tell()
        end = self.seek(0, os.SEEK_END)
        self.seek(here)
        return end

    def close(self) -> None:
        """Leaves the file open."""

    def _try(self, action: Callable[..., Any], *words: Any) -> Any:
        """What an action on the file returns; None once one has failed."""
        if self._fault is None:
            try:
                return action(*words)
            except OSError as fault:
                self._fault = fault
        return None


class FileToRead:
    """The same file to read from while it is written: ffmpeg moves an MP4's frames to put the index before them."""

    def __init__(self, target: FileToWrite) -> None:
        self._target, self._at = target, 0

    def read(self, size: int) -> bytes:
        content = self._target.read_at(self._at, size)
        self._at += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = {os.SEEK_SET: lambda: 0, os.SEEK_CUR: lambda: self._at, os.SEEK_END: self._target.size}
        self._at = before[whence]() + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        """Leaves the file open."""
