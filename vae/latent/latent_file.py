"""Files of latents: numpy's `.npz` with an array `latents`, (N, D) float32. Nothing in one is trusted."""

import io
import math
import warnings
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format
from numpy.typing import NDArray

from data.system.errors import UserError
from data.system.files import check_regular_file, save_bytes
from data.system.spelling import suggest_file

_MOST_NUMBERS = 2**26  # 256 MiB
_LARGEST = 1000
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes
_LONGEST_DIRECTORY = 2**16  # bytes


def write_latents(path: Path, latents: NDArray[np.float32]) -> None:
    """Writes latents (N, D), whole or not at all. Raises `UserError` for too many, or a place it cannot write to."""
    _check_size(path, latents.size)
    file = io.BytesIO()
    np.savez(file, latents=latents)
    save_bytes(file.getvalue(), path)


def _check_size(path: Path, numbers: int) -> None:
    if numbers > _MOST_NUMBERS:
        raise UserError(f"{path}: holds more than {_MOST_NUMBERS:,} numbers; save fewer latents")


def read_latents(path: Path) -> NDArray[np.float32]:
    """The latents (N, D) of a file, N and D at least 1, each number from -1000 to 1000.

    Raises:
        UserError: it is missing, or holds anything else.
    """
    check_regular_file(path)
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="error"):  # of headers that numpy no longer writes
            latents = _read(file, path)
        low, high = float(latents.min()), float(latents.max())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {suggest_file(path, f'--save-latents {path} writes one')}") from None
    except UserError:
        raise
    except Exception:  # zipfile and numpy raise nearly anything on hostile bytes
        raise UserError(f"{path}: not a file of latents; name one that --save-latents wrote") from None
    if not -_LARGEST <= low <= high <= _LARGEST:
        raise UserError(f"{path}: holds latents that are not finite or far beyond the prior; save others")
    return latents


def _read(file: IO[bytes], path: Path) -> NDArray[np.float32]:
    """The array of an open file, for which memory is taken when its size is known to be right."""
    # zipfile reads the whole list of members: it must be short and stand where numpy puts it
    file.seek(-42, io.SEEK_END)
    far, end = file.read(20), file.read(22)
    if far[:4] == b"PK\6\7" or end[:4] != b"PK\5\6" or int.from_bytes(end[12:16], "little") > _LONGEST_DIRECTORY:
        raise ValueError
    with zipfile.ZipFile(file) as parts, parts.open("latents.npy") as member:
        part = parts.getinfo("latents.npy")
        if part.compress_type not in _COMPRESSIONS or format.read_magic(member) != (1, 0):
            raise ValueError
        shape, columns_first, dtype = format.read_array_header_1_0(member)
        _check_size(path, math.prod(shape))
        if len(shape) != 2 or dtype != np.float32 or part.file_size != member.tell() + 4 * math.prod(shape):
            raise ValueError
        numbers = np.frombuffer(member.read(part.file_size), np.float32)
    return numbers.reshape(shape, order="F" if columns_first else "C")
