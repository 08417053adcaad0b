"""The picture formats that are opened, recognised by their first bytes.

PNG, JPEG, WebP, AVIF, GIF    screens and the web; HEIC: telephones (pillow-heif reads it)
TIFF, JPEG 2000               scanners, microscopes, archives
BMP, TGA, ICO                 older programs, textures of games, icons
PPM, PGM, PBM, PFM            data sets of research

No file is ever given to another format's decoder, whatever it is called.
"""

import re
import stat
from functools import cache
from importlib import import_module, metadata
from pathlib import Path

from data.system.errors import UserError

NAMES = "PNG, JPEG, WebP, AVIF, HEIC, GIF, TIFF, JPEG 2000, BMP, TGA, ICO, PPM, PGM, PBM and PFM"
_SUFFIXES = {  # Pillow's name of the format: what its files are called
    "PNG": ".png .apng",
    "JPEG": ".jpg .jpeg .jpe .jfif .jif .mpo",
    "WEBP": ".webp",
    "AVIF": ".avif .avifs",
    "HEIF": ".heic .heif .hif .heics",
    "GIF": ".gif",
    "TIFF": ".tif .tiff .btf",
    "JPEG2000": ".jp2 .j2k .jpf .jpx .j2c .jpc",
    "BMP": ".bmp .dib",
    "TGA": ".tga .icb .vda .vst",
    "ICO": ".ico",
    "PPM": ".ppm .pgm .pbm .pnm .pfm",
}
FORMATS = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
# never opened: raw files of cameras begin as TIFFs do, they and thumbnails hold small previews
_RAW = "nef nrw cr2 cr3 crw arw srf sr2 dng orf rw2 raf pef srw 3fr fff iiq kdc dcr mrw raw rwl x3f gpr thm"
RAW = frozenset(f".{suffix}" for suffix in _RAW.split())
HEIF_REMEDY = "pip install -e '.[heif]'"
_HEAD = 64
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
_PPM = re.compile(rb"(P[1-6]\s+[#\d]|P[Ff]\s+\d)")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_AVIF = {b"avif", b"avis"}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def format_of(path: Path) -> str | None:
    """Pillow's name of the format that a file is in, by its first bytes; None if it is no format that is opened.

    Raises `OSError` if it cannot be read, or is no plain file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("no plain file")
    with path.open("rb") as file:
        return _format(file.read(_HEAD), FORMATS.get(path.suffix.lower()))


def _format(head: bytes, named: str | None) -> str | None:
    """The format of a file by its first bytes; `named` is that of its suffix."""
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":  # ISO 14496-12: which brands a file has
        brands = {head[start : start + 4] for start in range(8, min(int.from_bytes(head[:4]), len(head)), 4)}
        return "AVIF" if brands & _AVIF else "HEIF" if brands & _HEIF else None
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if _PPM.match(head):
        return "PPM"
    if named == "ICO" and head[:4] == b"\0\0\1\0":
        return "ICO"
    return "TGA" if named == "TGA" and head else None  # TGA has no beginning of its own


@cache
def heif_version() -> str | None:
    """The version of pillow-heif; None where it is not installed."""
    try:
        return metadata.version("pillow-heif")
    except metadata.PackageNotFoundError:
        return None


@cache
def prepare(name: str) -> None:
    """Lets Pillow read a format; for HEIC another package does. Raises `UserError` where that is missing."""
    if name != "HEIF":
        return
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise UserError(f"is HEIC; {HEIF_REMEDY}") from None
