"""Laws of pictures of more than 8 bits: none becomes black, and those of a folder stay comparable in brightness."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import count_of, data_of, scene, told_lines
from PIL import Image

import train
from data.image_files.reader import read_picture
from data.system.errors import UserError

pytestmark = pytest.mark.usefixtures("in_process")
TAGS = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "strips": 273, "samples": 277}
TAGS |= {"rows": 278, "counts": 279, "planes": 284, "extra": 338, "kind": 339}


def tiff(levels: np.ndarray, order: str = "<", packed: bool = False, photometric: int = 1, planes: int = 1) -> bytes:
    """A TIFF of (H, W) or (H, W, C) uint8, uint16 or float levels, one strip for each plane."""
    height, width, *rest = levels.shape
    samples = rest[0] if rest else 1
    parts = [levels] if planes == 1 else list(np.moveaxis(levels, -1, 0))
    strips = [part.astype(part.dtype.newbyteorder(order)).tobytes() for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if packed else strips
    floats = levels.dtype.kind == "f"
    values = {
        "width": [width],
        "height": [height],
        "bits": [8 * levels.dtype.itemsize] * samples,
        "compression": [8 if packed else 1],
        "photometric": [2 if samples > 2 else photometric],
        "strips": [0] * len(strips),
        "samples": [samples],
        "rows": [height],
        "counts": list(map(len, strips)),
        "planes": [planes],
        "extra": [2] * (samples % 2 == 0),
        "kind": [3 if floats else 1] * samples,
    }
    values = {name: value for name, value in values.items() if value}
    place = 8 + 2 + 12 * len(values) + 4
    tail, entries = b"", []
    starts = np.cumsum([0, *map(len, strips)])[:-1]
    for name, value in values.items():
        size = 4 * len(value)
        if name == "strips":
            value = [int(start) + place + 256 for start in starts]
        content = struct.pack(f"{order}{len(value)}I", *value)
        if size > 4:
            entries.append(struct.pack(f"{order}HHII", TAGS[name], 4, len(value), place + len(tail)))
            tail += content
        else:
            entries.append(struct.pack(f"{order}HHI", TAGS[name], 4, 1) + content)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    body = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return head + body + tail.ljust(256, b"\0") + b"".join(strips)


def png(levels: np.ndarray, clear: list[int] | None = None) -> bytes:
    """A PNG of (H, W, C) uint16 levels, one of them transparent."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    middle = [] if clear is None else [chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear))]
    content = [chunk(b"IHDR", header), *middle, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(content)


def smooth(seed: int, channels: int = 3, white: float = 1) -> np.ndarray:
    """A picture (48, 60, C) from 0 to white."""
    pixels = np.asarray(scene(seed), np.float64)[..., :channels]
    return white * (pixels - pixels.min()) / np.ptp(pixels)


def eight(levels: np.ndarray, tmp_path: Path) -> np.ndarray:
    """How levels from 0 to 1 are read from a file of 8 bits."""
    Image.fromarray((255 * levels).round().astype(np.uint8).squeeze()).save(tmp_path / "eight.png")
    return read_picture(tmp_path / "eight.png", 32, 3).astype(int)


def far(path: Path, expected: np.ndarray, **options) -> float:
    return abs(read_picture(path, 32, 3, **options) - expected).mean()


def opaque(levels: np.ndarray) -> np.ndarray:
    return np.concatenate([levels, np.full_like(levels[..., :1], 65535)], -1).astype(np.uint16)


GREY = {
    "PNG": lambda levels: png(levels.astype(np.uint16)),
    "TIFF": lambda levels: tiff(levels[..., 0].astype(np.uint16)),
    "TIFF, other order": lambda levels: tiff(levels[..., 0].astype(np.uint16), ">"),
    "TIFF, 32 bits": lambda levels: tiff(levels[..., 0].astype(np.uint32)),
    "TIFF, floats": lambda levels: tiff(levels[..., 0].astype(np.float32)),
}
COLOURED = {
    "PNG": lambda levels: png(levels.astype(np.uint16)),
    "PNG, RGBA": lambda levels: png(opaque(levels)),
    "PNG, grey and alpha": lambda levels: png(opaque(levels[..., :1])),
    "TIFF": lambda levels: tiff(levels.astype(np.uint16)),
    "TIFF, other order": lambda levels: tiff(levels.astype(np.uint16), ">"),
    "TIFF, packed": lambda levels: tiff(levels.astype(np.uint16), packed=True),
    "TIFF, packed, other order": lambda levels: tiff(levels.astype(np.uint16), ">", packed=True),
    "TIFF, RGBA": lambda levels: tiff(opaque(levels)),
}


def test_white_is_the_smallest_depth_that_holds_the_brightest_pixel(tmp_path):
    levels = smooth(3, 1)
    expected = eight(levels, tmp_path)
    for kind, write in GREY.items():
        for white in (255, 1023, 4095, 16383, 65535):
            (tmp_path / "deep").write_bytes(write(white * levels))
            assert far(tmp_path / "deep", expected) < 1.5, (kind, white)


def test_colours_of_16_bits_are_read_and_those_of_fewer_refused_with_the_remedy(tmp_path):
    for kind, write in COLOURED.items():
        levels = smooth(3, 1 if "grey" in kind else 3)
        (tmp_path / "deep").write_bytes(write(65535 * levels))
        assert far(tmp_path / "deep", eight(levels, tmp_path)) < 1.5, kind
        for white in (1023, 4095, 16383):
            (tmp_path / "deep").write_bytes(write(white * levels))
            with pytest.raises(UserError, match=r"less than 15 of 16 bits.*; save it in 8 bits"):
                read_picture(tmp_path / "deep", 32, 3)


def test_floats_of_any_scale_are_seen(tmp_path):
    levels = smooth(3, 1)[..., 0]
    for white in (1, 0.3, 255, 2550, 65535, 1e6, 3.7):
        (tmp_path / "deep.tif").write_bytes(tiff((white * levels).astype(np.float32)))
        assert far(tmp_path / "deep.tif", eight(levels * min(white, 1), tmp_path)) < 1.5, white


def test_odd_levels_change_nothing(tmp_path):
    levels = 2550 * smooth(3, 1)[..., 0].astype(np.float32)
    levels = levels.repeat(8, 0).repeat(8, 1)
    (tmp_path / "plain.tif").write_bytes(tiff(levels))
    expected = read_picture(tmp_path / "plain.tif", 32, 3).astype(int)
    for odd in (np.nan, np.inf, -np.inf, 3e38, -1e9):
        hot = levels.copy()
        hot[100, 100] = odd
        (tmp_path / "hot.tif").write_bytes(tiff(hot))
        assert far(tmp_path / "hot.tif", expected) < 1
    deep = (4000 * smooth(3, 1)).astype(np.uint16).repeat(8, 0).repeat(8, 1)
    (tmp_path / "plain.png").write_bytes(png(deep))
    expected = read_picture(tmp_path / "plain.png", 32, 3).astype(int)
    deep[100, 100] = 65535
    (tmp_path / "hot.png").write_bytes(png(deep))
    assert far(tmp_path / "hot.png", expected) < 1
    for levels in (np.zeros((9, 9), np.float32), np.full((9, 9), np.nan, np.float32), np.full((9, 9), -3, np.float32)):
        (tmp_path / "black.tif").write_bytes(tiff(levels))
        assert not read_picture(tmp_path / "black.tif", 32, 3).any()


def test_a_mask_of_ones_is_white(tmp_path):
    (tmp_path / "mask.png").write_bytes(png((smooth(3, 1) > 0.5).astype(np.uint16)))
    assert read_picture(tmp_path / "mask.png", 32, 3).max() == 255


def test_where_zero_is_white_dark_and_bright_are_not_swapped(tmp_path):
    levels = smooth(3, 1)[..., 0]
    (tmp_path / "inverted.tif").write_bytes(tiff((4095 * (1 - levels)).astype(np.uint16), photometric=0))
    assert far(tmp_path / "inverted.tif", eight(levels, tmp_path)) < 1.5


def test_a_transparent_level_of_16_bits_shows_the_background(tmp_path):
    for channels in (1, 3):
        levels = np.full((40, 40, channels), 65535, np.uint16)
        levels[:20] = 12340
        levels[20:, :20] = 13000
        (tmp_path / "clear.png").write_bytes(png(levels, [12340] * channels))
        pixels = read_picture(tmp_path / "clear.png", 32, 3, background="#ff0000")
        assert pixels[4, 16].tolist() == [255, 0, 0]
        assert pixels[28, 28].tolist() == [255, 255, 255]
        assert np.ptp(pixels[28, 4]) == 0
        assert abs(int(pixels[28, 4, 0]) - 255 * 13000 / 65535) < 2


def test_what_the_file_itself_says_is_white_counts(tmp_path):
    header = b"P5 60 48 4095\n"
    (tmp_path / "a.pgm").write_bytes(header + smooth(3, 1, 1000).astype(">u2").tobytes())
    assert abs(int(read_picture(tmp_path / "a.pgm", 32, 3).max()) - 62) < 3


def folder_of(tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    return folder


def means(data) -> list[float]:
    """How bright its pictures are, in ascending order."""
    count_of(data)
    images = data.train_set.images
    return sorted(round(float(image.float().mean()), 1) for image in images)


def test_a_folder_has_one_white_and_says_which(tmp_path, capsys):
    dim, bright = (smooth(seed, 1, white).astype(np.uint16) for seed, white in ((1, 900), (2, 3900)))
    floats = (2550 * smooth(3, 1)[..., 0]).astype(np.float32)
    folder = folder_of(tmp_path, {"a.png": png(dim), "b.tif": tiff(bright[..., 0]), "c.tif": tiff(floats)})
    scene(4).convert("L").save(folder / "d.png")
    for _ in range(2):
        found = means(data_of(tmp_path, folder))
        assert told_lines(capsys) == [
            f"White is 4095 in 2 files of more than 8 bits, of which {folder / 'b.tif'} is the brightest (3900); "
            "--data.white states another",
            f"White is 2550 in 1 file of floats, of which {folder / 'c.tif'} is the brightest (2550); "
            "--data.white states another",
        ]
    assert found[0] == pytest.approx(255 / 4095 * dim.mean(), abs=6), "as dark beside the others as it was"
    stated = means(data_of(tmp_path, folder, white=900.0))
    assert told_lines(capsys) == []
    assert stated[0] > 3 * found[0]
    assert means(data_of(tmp_path, folder)) == found, "each white has a cache of its own"


def test_a_white_that_is_none_is_refused(one_line_error):
    line = one_line_error(train.main, "fit", "--data.white=-1")
    assert line == "train.py: white -1: must be more than 0, or null to find it"


def test_deep_colours_that_cannot_be_read_are_refused_with_the_remedy(tmp_path):
    for kind in (np.float32, np.float64):
        (tmp_path / "a.tif").write_bytes(tiff(smooth(3).astype(kind)))
        with pytest.raises(UserError, match=r"rare kind.*save it in 16 bits"):
            read_picture(tmp_path / "a.tif", 32, 3)
    (tmp_path / "a.tif").write_bytes(tiff(smooth(3, 3, 4095).astype(np.uint16), planes=2))
    with pytest.raises(UserError, match="separate planes"):
        read_picture(tmp_path / "a.tif", 32, 3)
