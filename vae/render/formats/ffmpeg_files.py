"""Files in the form in which PyAV hands them to ffmpeg: one to write, and the same one to read back."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO


class FileToWrite:
    """A file that ffmpeg writes. PyAV swallows exceptions of these methods: they are kept, and raised by `check`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None

    def check(self) -> None:
        """Raises the first `OSError` of any method."""
        if self._error is not None:
            raise self._error

    def write(self, content: bytes) -> int:
        self._call(self._file.write, content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._call(self._file.seek, offset, whence) or 0

    def tell(self) -> int:
        return self._call(self._file.tell) or 0

    def read_at(self, position: int, size: int) -> bytes:
        """The bytes at a position; the position of the next write stays the same."""
        here = self.tell()
        self.seek(position)
        content = self._call(self._file.read, size) or b""
        self.seek(here)
        return content

    def size(self) -> int:
        """The number of bytes in the file."""
        here = self.tell()
        end = self.seek(0, os.SEEK_END)
        self.seek(here)
        return end

    def close(self) -> None:
        """Does nothing: the file belongs to the caller."""

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a method of the file; None once one has failed."""
        if self._error is None:
            try:
                return method(*arguments)
            except OSError as error:
                self._error = error
        return None


class FileToRead:
    """The same file, read while it is written: ffmpeg moves the frames of an MP4 to put the index before them."""

    def __init__(self, target: FileToWrite) -> None:
        self._target, self._position = target, 0

    def read(self, size: int) -> bytes:
        content = self._target.read_at(self._position, size)
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: lambda: 0, os.SEEK_CUR: lambda: self._position, os.SEEK_END: self._target.size}
        self._position = origin[whence]() + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """Does nothing: the file belongs to the caller."""
