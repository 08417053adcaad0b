"""Gaussian blur as two matrix products, for any σ at the same cost."""

import torch
from torch import Tensor


def blur(x: Tensor, sigma: float) -> Tensor:
    """K x Kᵀ with K_ij ∝ exp(−(i − j)² / 2σ²), each row of K summing to 1, so that a flat picture stays what it is.

    Args:
        x: (N, C, H, W), H = W.
        sigma: in pixels; 0 leaves x as it is.

    >>> blur(torch.ones(1, 1, 4, 4), 2.0).round(decimals=5).unique().tolist()
    [1.0]
    """
    if sigma <= 0:
        return x
    with torch.autocast(x.device.type, enabled=False):
        place = torch.arange(x.shape[-1], device=x.device, dtype=torch.float32)
        kernel = torch.softmax(-((place[:, None] - place) ** 2) / (2 * sigma**2), dim=1)
        return kernel @ x.float() @ kernel.T
