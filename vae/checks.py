"""Checks of values in files that may be damaged or hostile: numbers in a range, arrays of a known shape."""

import math
from typing import Any

import torch
from torch import Tensor

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_HUGE = 2**64
MOST = 2**53  # of anything that is counted


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """The value as a Python number.

    Args:
        name: of the value, for messages.
        value: anything; a number or a tensor without dimensions passes.
        low: the least allowed number.
        high: the largest allowed number.

    Raises:
        ValueError: it is no finite number from low to high.
    """
    if isinstance(value, Tensor) and not value.ndim and value.layout == torch.strided:
        value = value.item() if value.dtype in (*_FLOATS, torch.int32, torch.int64, torch.bool) else None
    finite = abs(value) < _HUGE if isinstance(value, int) else isinstance(value, float) and math.isfinite(value)
    if not finite or not low <= value <= high:
        raise ValueError(f"{name} is {_abbreviated(value)}")
    return value


def count(name: str, value: Any, low: int = 0, high: int = MOST) -> int:
    """The value as a whole number from low to high. Raises `ValueError` as `number` does."""
    found = number(name, value, low, high)
    if found != int(found):
        raise ValueError(f"{name} is {_abbreviated(value)}")
    return int(found)


def array(name: str, value: Any, like: Tensor, low: float = -math.inf) -> Tensor:
    """A copy of a tensor of floats, with the type and the memory layout of another one.

    Args:
        name: of the value, for messages.
        value: anything; a dense tensor of floats of the same shape passes.
        like: the tensor that it is to replace, on any device, "meta" too.
        low: the least allowed number.

    Raises:
        ValueError: another shape or kind; more elements than its file holds; a number that is not finite in the type
            of `like`, or below low.
    """
    if not isinstance(value, Tensor) or value.shape != like.shape:
        raise ValueError(f"{name} is {getattr(value, 'shape', type(value).__name__)} instead of {like.shape}")
    if value.dtype not in _FLOATS or value.layout != torch.strided:
        raise ValueError(f"{name} is no plain array of numbers")
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        raise ValueError(f"{name} is larger than what the file holds of it")
    # of a tensor on "meta", empty_like would import torch's compiler
    copy = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).copy_(value)
    if not bool(copy.isfinite().all()) or bool((copy < low).any()):
        raise ValueError(f"{name} holds numbers that are not finite, or too small")
    return copy


def keys(name: str, value: Any, wanted: Any) -> dict[Any, Any]:
    """The value, a dict with exactly the wanted keys. Raises `ValueError` if it is anything else."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_abbreviated(value)}")
    if value.keys() != set(wanted):
        wrong = sorted(map(str, value.keys() ^ set(wanted)))
        raise ValueError(f"{name}: missing or unknown: {_abbreviated(', '.join(wrong))}")
    return value


def _abbreviated(value: Any) -> str:
    """The value in at most 80 letters; of large integers, which Python refuses to print, a description."""
    if isinstance(value, int) and abs(value) >= _HUGE:
        return "a number beyond all bounds"
    return " ".join(str(value).split())[:80] if isinstance(value, str | int | float | None) else type(value).__name__
