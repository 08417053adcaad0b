"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their binary versions; the Python versions are pickles.

A file is records of one length: a label, or a coarse and a fine one, a byte each, then 3,072 bytes, which are the red,
the green and the blue plane of a picture, row by row. They are read from the archive, of which nothing is unpacked to
the disk.
"""

import tarfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.picture_source import PictureSource, PictureSpec
from data.system.errors import UserError
from data.torchvision_sets import open_dataset

_SITE = "https://www.cs.toronto.edu/~kriz/"
_SIDE = 32


class Archive(NamedTuple):
    """An archive as published.

    Attributes:
        file: its name.
        md5: its checksum.
        members: the files in it that hold the training pictures.
        labels: how many there are of each picture.
        pictures: how many there are in each file.
    """

    file: str
    md5: str
    members: tuple[str, ...]
    labels: int
    pictures: int


ARCHIVES = {
    "CIFAR10": Archive(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
        labels=1,
        pictures=10_000,
    ),
    "CIFAR100": Archive(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        ("cifar-100-binary/train.bin",),
        labels=2,
        pictures=50_000,
    ),
}


def open_cifar(name: str, spec: PictureSpec, downloads: Path) -> PictureSource:
    """CIFAR10 or CIFAR100 as a source; see `torchvision_sets.open_dataset`."""
    return open_dataset(lambda: [Cifar(name, downloads)], name, spec, downloads)


class Cifar:
    """The training pictures of a data set: a sequence of tuples of one picture.

    Args:
        name: one of `ARCHIVES`.
        downloads: the folder where the archive is, or goes.

    Raises:
        OSError, RuntimeError: it is not there and cannot be fetched, or is not the one that was published.
    """

    def __init__(self, name: str, downloads: Path) -> None:
        from torchvision.datasets.utils import download_url

        self._archive = ARCHIVES[name]
        self._path = downloads / self._archive.file
        download_url(_SITE + self._archive.file, str(downloads), md5=self._archive.md5)

    def __len__(self) -> int:
        return len(self._archive.members) * self._archive.pictures

    def __getitem__(self, index: int) -> tuple[Image.Image]:
        return (Image.fromarray(self._pixels[index].transpose(1, 2, 0)),)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        """(N, 3, 32, 32). Raises `UserError` if the archive does not hold them."""
        try:
            with tarfile.open(self._path, "r:gz") as archive:
                return np.concatenate([self._records(archive, name) for name in self._archive.members])
        except (tarfile.TarError, OSError, EOFError, LookupError, ValueError, zlib.error):
            raise UserError(f"{self._path}: does not hold the pictures of {self._path.name}; delete it") from None

    def _records(self, archive: tarfile.TarFile, name: str) -> NDArray[np.uint8]:
        member, length = archive.getmember(name), self._archive.labels + 3 * _SIDE**2
        file = archive.extractfile(member)
        if file is None or member.size != self._archive.pictures * length:
            raise ValueError
        records = np.frombuffer(file.read(), np.uint8).reshape(self._archive.pictures, length)
        return records[:, self._archive.labels :].reshape(-1, 3, _SIDE, _SIDE)
