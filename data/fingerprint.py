"""Fingerprints of sets of pictures: 8 bytes of each one's digest, which a checkpoint holds as plain numbers.

By them a training knows its pictures again, wherever they are.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.system.checks import ascending_integers
from data.system.errors import UserError

_FEW = 0.1  # of the smaller set: with less than that in common, two sets of pictures are not the same


def fingerprint(digests: list[bytes]) -> Tensor:
    """The first 8 bytes of each different digest: int64 (K,), ascending."""
    return torch.from_numpy(np.unique(np.frombuffer(b"".join(digest[:8] for digest in digests), dtype=np.int64)))


def check_fingerprint(found: Any, path: object) -> Tensor | None:
    """The fingerprint in a checkpoint's state of the data module; None in one of an earlier version.

    Raises `UserError` if it is none.
    """
    if found is None:
        return None
    try:
        return ascending_integers("fingerprint", found.get("pictures") if isinstance(found, dict) else None)
    except ValueError as error:
        raise UserError(f"{path}: says of its pictures what cannot be ({error}); name another one") from None


def describe_changes(before: Tensor, now: Tensor, source: str) -> str | None:
    """The numbers of a source's pictures that were added and removed, in words; None if none were.

    >>> describe_changes(torch.tensor([1, 2, 3]), torch.tensor([2, 3, 4, 5]), "cats")
    '2 were added and 1 was removed'

    Raises:
        UserError: next to none are the same.
    """
    common = int(torch.isin(now, before, assume_unique=True).sum())
    if common < _FEW * min(len(before), len(now)):
        raise UserError(
            f"--data.source {source}: contradicts --ckpt_path: of the {len(before)} pictures that it was trained on, "
            f"{common} are there; name the folder where they are, or train anew without --ckpt_path"
        )
    counts = {"added": len(now) - common, "removed": len(before) - common}
    return " and ".join(f"{n} {'was' if n == 1 else 'were'} {how}" for how, n in counts.items() if n) or None
