"""The split into training pictures and held-out ones: a function of their content, so that copies stay together."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.system.errors import UserError
from data.system.spelling import counted

DIGEST = 16  # bytes


class ImageDataset(Dataset[Tensor]):
    """Some rows of an (N, H, W, C) uint8 tensor; a list of indices is fetched in one go."""

    def __init__(self, images: Tensor, rows: Tensor) -> None:
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[self.rows[index]]

    def __getitems__(self, indices: list[int]) -> Tensor:
        return self.images.index_select(0, self.rows[indices])  # copies whole rows; indexing goes pixel by pixel


def digests(images: Iterable[Tensor], seed: int) -> list[bytes]:
    """16 bytes for each of N (H, W, C) uint8 pictures; the same for copies of one, others for another seed."""
    key = str(seed).encode()
    return [blake2b(image.numpy().tobytes(), digest_size=DIGEST, key=key).digest() for image in images]


def split_rows(digests: list[bytes], val_fraction: float, runs: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
    """Deals pictures to training and validation; copies, and the pictures of one file, go together.

    Args:
        digests: of the pictures.
        val_fraction: the share to hold out, in (0, 1).
        runs: how many pictures come from each file, in their order; none if each is one of its own.

    Returns:
        the rows for training and for validation, ascending; neither is empty. What files on both sides have is for
        training.

    Raises:
        UserError: fewer than two different pictures, or files.
    """
    groups: dict[bytes, list[int]] = {}
    start = 0
    for run in runs or [1] * len(digests):
        rows = range(start, start + run)
        key = digests[start] if run == 1 else blake2b(b"".join(digests[start : start + run]), digest_size=16).digest()
        groups.setdefault(key, []).extend(rows)
        start += run
    if len(groups) < 2:
        different = f"from {len(groups)} different files" if runs else f"{len(groups)} of them different"
        found = counted(len(digests), "picture") + (f", {different}" if len(digests) > 1 else "")
        raise UserError(f"{found}: too few to train and to validate on; add others")
    val: list[int] = []
    train: list[int] = []
    least = 2 if len(groups) >= 4 else 1  # two held-out pictures make a path
    for position, key in enumerate(sorted(groups)):
        wanted = position < least or len(val) < round(val_fraction * len(digests))
        (val if wanted and position < len(groups) - 1 else train).extend(groups[key])
    learnt = {digests[row] for row in train}
    train += [row for row in val if digests[row] in learnt]
    val = [row for row in val if digests[row] not in learnt]
    if not val:
        raise UserError(f"{len(digests)} pictures: files share them, and none is left to validate on; add others")
    return torch.tensor(sorted(train)), torch.tensor(sorted(val))
