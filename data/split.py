"""Which pictures are trained on and which are held out: a function of their content, so that copies stay together."""

import hashlib

import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.errors import UserError


class Images(Dataset[Tensor]):
    """Some rows of an (N, H, W, C) uint8 tensor; a list of indices is fetched in one go."""

    def __init__(self, images: Tensor, rows: Tensor) -> None:
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[self.rows[index]]

    def __getitems__(self, indices: list[int]) -> Tensor:
        return self.images.index_select(0, self.rows[indices])  # copies whole rows; indexing goes pixel by pixel


def digests(images: Tensor, seed: int) -> list[bytes]:
    """16 bytes for each of (N, H, W, C) uint8 pictures; the same for copies of one, others for another seed."""
    key = str(seed).encode()
    return [hashlib.blake2b(image.numpy().tobytes(), digest_size=16, key=key).digest() for image in images]


def deal(digests: list[bytes], val_fraction: float) -> tuple[Tensor, Tensor]:
    """Deals pictures to training and validation.

    Args:
        digests: of the pictures.
        val_fraction: the share to hold out, in (0, 1).

    Returns:
        the row numbers of the training and of the validation pictures, in ascending order; neither is empty.

    Raises:
        UserError: fewer than two different pictures.
    """
    copies: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        copies.setdefault(digest, []).append(row)
    if len(copies) < 2:
        raise UserError(
            f"{len(digests)} pictures, {len(copies)} of them different: too few to train and to validate on"
        )
    val: list[int] = []
    train: list[int] = []
    least = 2 if len(copies) >= 4 else 1  # two held-out pictures make a path
    for position, digest in enumerate(sorted(copies)):
        wanted = position < least or len(val) < round(val_fraction * len(digests))
        (val if wanted and position < len(copies) - 1 else train).extend(copies[digest])
    return torch.tensor(sorted(train)), torch.tensor(sorted(val))


def split(images: Tensor, val_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Deals (N, H, W, C) uint8 pictures out by the digests that a seed gives them; see `deal`."""
    return deal(digests(images, seed), val_fraction)
