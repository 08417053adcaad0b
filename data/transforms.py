"""Pixels as networks take them: uint8 → float32 in [-1, 1], and back."""

import torch
from torch import Tensor


def to_tensor(pixels: Tensor) -> Tensor:
    """uint8 (N, H, W, C) → float32 (N, C, H, W) in [-1, 1], laid out channels-last in memory.

    >>> to_tensor(torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1)).flatten().tolist()
    [-1.0, 1.0]
    """
    return pixels.permute(0, 3, 1, 2).to(torch.float32, copy=True).div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Float (N, C, H, W) in [-1, 1] → uint8 (N, H, W, C): rounds, clips what lies outside; undoes `to_tensor`."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
