"""The number of pictures in a file and their brightness, found before they are decoded."""

from pathlib import Path
from typing import Any, NamedTuple

from data.image_files.reader import PictureFile
from data.system.errors import UserError

MOST = 10_000  # pictures of a file
_SAMPLES = 64  # of them whose brightness is measured


class Probe(NamedTuple):
    """The pictures of a file.

    Attributes:
        pictures: how many of them are used.
        more: whether it has others than these.
        integer: the largest level of those of more than 8 bits, if they are of integers; None if there are none.
        real: the same of floats.
    """

    pictures: int = 1
    more: bool = False
    integer: float | None = None
    real: float | None = None


def probe(path: Path, all_frames: bool, brightness: bool) -> Probe:
    """Looks into a file.

    Args:
        path: of a picture.
        all_frames: whether all of its pictures are to be taken, not the first alone.
        brightness: whether it matters how bright it is. Of many pictures 64 are measured.

    Raises:
        UserError: it is missing, not a picture, or holds too many of them.
    """
    with PictureFile(path) as file:
        count = _count(file.image) if all_frames else 1
        if count > MOST:
            raise UserError(f"{path}: holds more than {MOST:,} pictures; split it")
        more = not all_frames and _is_animated(file.image)
        found: dict[bool, float] = {}
        for frame in range(0, count, -(-count // _SAMPLES)) if brightness else ():
            try:
                measured = file.brightest(frame)
            except UserError:  # decoding it reports that
                continue
            if measured is None and file.image.format not in ("TIFF", "PNG"):
                break  # all have 8 bits
            if measured is not None:
                integer, level = measured
                found[integer] = max(level, found.get(integer, 0))
    return Probe(count, more, found.get(True), found.get(False))


def _is_animated(image: Any) -> bool:
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # hostile bytes
        return False


def _count(image: Any) -> int:
    """The number of pictures; one too many where the next cannot be reached, so that its decoding says why.

    The others in a JPEG of a telephone or a camera (MPO) are previews and maps of its light.
    """
    if image.format == "MPO":
        return 1
    if image.format != "TIFF":
        try:
            return int(getattr(image, "n_frames", 1))
        except Exception:  # hostile bytes
            return image.tell() + 2
    for count in range(1, MOST + 1):  # Pillow's own count takes time that grows with the square
        try:
            image.seek(count)
        except EOFError:
            break
        except Exception:
            return count + 1
    else:
        count += 1
    image.seek(0)
    return count
