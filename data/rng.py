"""Counter-based random numbers: image i of seed s is a pure function of (s, i), in any order and batch.

SplitMix64 (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014): a bijective mixer
turns a counter into 64 well-mixed bits, so that no generator has to be advanced to reach image i.
"""

import hashlib

import torch
from torch import Tensor

from data.system.errors import UserError

_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX = ((30, 0xBF58476D1CE4E5B9 - (1 << 64)), (27, 0x94D049BB133111EB - (1 << 64)))


def _shift_right(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    for bits, factor in _MIX:
        x = (x ^ _shift_right(x, bits)) * factor
    return x ^ _shift_right(x, 31)


def check_seed(seed: int) -> int:
    """The seed. Raises `UserError` unless it fits into 64 bits."""
    if abs(seed) >= 2**63:
        raise UserError(f"seed {seed}: must fit into 64 bits")
    return seed


def derive_seed(*numbers: int) -> int:
    """A seed, from 0 to 2^63 − 1, that depends on every one of the numbers and on their order.

    >>> len({derive_seed(0, 0), derive_seed(0, 1), derive_seed(1, 0), derive_seed(0)})
    4
    """
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()) >> 1


def uniform(seed: int, indices: Tensor, dims: int) -> Tensor:
    """Uniform numbers that depend on the seed and the index alone: (N,) int64 → (N, dims) float32 in [0, 1).

    >>> everything = uniform(0, torch.arange(4), 2)
    >>> bool((everything[2:3] == uniform(0, torch.tensor([2]), 2)).all())
    True
    """
    stream = _mix(torch.tensor(check_seed(seed), dtype=torch.int64) * _GAMMA + 1)
    counter = _mix(stream + indices.to(torch.int64)[:, None] * _GAMMA)
    bits = _mix(counter + torch.arange(1, dims + 1) * _GAMMA)
    return _shift_right(bits, 40).to(torch.float32) / (1 << 24)


def normal(seed: int, indices: Tensor, dims: int) -> Tensor:
    """Normal(0, 1) numbers that depend on the seed and the index alone, (N, dims) float32, within ±5.5."""
    middle = uniform(seed, indices, dims).double() + 2.0**-25
    return torch.special.ndtri(middle).float()
