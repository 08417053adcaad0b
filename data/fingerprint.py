"""Which pictures a training has had: 8 bytes of each one's digest, so that they are known again wherever they are.

A checkpoint holds them: plain numbers, looked at before they are used.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.system.errors import UserError

_FEW = 0.1  # of the smaller set: with less than that in common, two sets of pictures are not the same


def fingerprint(digests: list[bytes]) -> Tensor:
    """The first 8 bytes of each different digest: int64 (K,), ascending."""
    return torch.from_numpy(np.unique(np.frombuffer(b"".join(digest[:8] for digest in digests), dtype=np.int64)))


def check_fingerprint(found: Any, path: object) -> Tensor | None:
    """What a checkpoint holds of them, None where it is of an earlier version.

    Raises:
        UserError: it is no such thing.
    """
    if found is None:
        return None
    pictures = found.get("pictures") if isinstance(found, dict) else None
    if (
        not isinstance(pictures, Tensor)
        or pictures.layout != torch.strided
        or pictures.dtype != torch.int64
        or pictures.ndim != 1
        or not pictures.numel()
        or not pictures.is_contiguous()
        or pictures.untyped_storage().nbytes() < 8 * pictures.numel()
        or not bool((pictures[1:] > pictures[:-1]).all())
    ):
        raise UserError(f"{path}: says of its pictures what cannot be; name another one")
    return pictures


def describe_changes(before: Tensor, now: Tensor) -> str | None:
    """How many pictures were added and removed, in words; None if none were.

    >>> describe_changes(torch.tensor([1, 2, 3]), torch.tensor([2, 3, 4, 5]))
    '2 were added and 1 was removed'

    Raises:
        ValueError: next to none are the same.
    """
    common = int(torch.isin(now, before, assume_unique=True).sum())
    if common < _FEW * min(len(before), len(now)):
        raise ValueError(f"of the {len(before)} pictures that it was trained on, {common} are there")
    added, removed = len(now) - common, len(before) - common
    counts = {"added": added, "removed": removed}
    return " and ".join(f"{n} {'was' if n == 1 else 'were'} {how}" for how, n in counts.items() if n) or None
