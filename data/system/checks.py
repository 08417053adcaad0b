"""Checks of values from a file before they are used: numbers within bounds, tensors of a known shape."""

import math
from typing import Any

import torch
from torch import Tensor

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_BEYOND = 2**64
MOST = 2**53  # of anything that is counted


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from low to high, of Python or in a tensor without dimensions; else raises `ValueError`."""
    if isinstance(value, Tensor) and not value.ndim and value.layout == torch.strided:
        value = value.item() if value.dtype in (*_FLOATS, torch.int32, torch.int64, torch.bool) else None
    finite = abs(value) < _BEYOND if isinstance(value, int) else isinstance(value, float) and math.isfinite(value)
    if not finite or not low <= value <= high:
        raise ValueError(f"{name} is {_abbreviated(value)}")
    return value


def count(name: str, value: Any, low: int = 0, high: int = MOST) -> int:
    """A whole number from low to high, otherwise as `number`."""
    found = number(name, value, low, high)
    if found != int(found):
        raise ValueError(f"{name} is {_abbreviated(value)}")
    return int(found)


def array(name: str, value: Any, like: Tensor, low: float = -math.inf) -> Tensor:
    """A copy of a tensor of floats, with the dtype and strides of the tensor that it will replace.

    Raises `ValueError` for another shape, more than its file holds, or numbers not finite in that dtype or below low.
    """
    if not isinstance(value, Tensor) or value.shape != like.shape:
        raise ValueError(f"{name} is {getattr(value, 'shape', type(value).__name__)} instead of {like.shape}")
    _check_storage(name, value, *_FLOATS)
    # of a tensor on "meta", empty_like would import torch's compiler
    copy = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).copy_(value)
    if not bool(copy.isfinite().all()) or bool((copy < low).any()):
        raise ValueError(f"{name} holds numbers that are not finite, or too small")
    return copy


def ascending_integers(name: str, value: Any) -> Tensor:
    """An int64 tensor (K,), K > 0, of different numbers in ascending order. Raises `ValueError` if it is none."""
    if not isinstance(value, Tensor) or value.ndim != 1 or not value.numel() or not value.is_contiguous():
        raise ValueError(f"{name} is {getattr(value, 'shape', type(value).__name__)} instead of a list of numbers")
    _check_storage(name, value, torch.int64)
    if not bool((value[1:] > value[:-1]).all()):
        raise ValueError(f"{name} does not ascend")
    return value


def keys(name: str, value: Any, wanted: Any) -> dict[Any, Any]:
    """A dict with just these keys. Raises `ValueError` if it is none."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_abbreviated(value)}")
    if value.keys() != set(wanted):
        odd = sorted(map(str, value.keys() ^ set(wanted)))
        raise ValueError(f"{name}: missing or unknown: {_abbreviated(', '.join(odd))}")
    return value


def _check_storage(name: str, value: Tensor, *dtypes: torch.dtype) -> None:
    """Raises `ValueError` unless a tensor is strided, of one of these types, and no larger than what its file holds."""
    if value.dtype not in dtypes or value.layout != torch.strided:
        raise ValueError(f"{name} is no plain array of numbers")
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        raise ValueError(f"{name} is larger than what the file holds of it")


def _abbreviated(value: Any) -> str:
    """At most 80 letters; raises `ValueError` itself for a number of millions of digits."""
    return " ".join(str(value).split())[:80] if isinstance(value, str | int | float | None) else type(value).__name__
