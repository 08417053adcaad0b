"""Latents → pictures and back, without gradients: device, batches, precision and inference mode are decided here alone.

Whatever measures, shows or writes decoded pictures decodes them by `decode_batches`. Only what needs gradients, such as
`vae.latent.route`, calls a model's `decode` itself.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from vae.generator import Generator
from vae.model.autocast import autocast, without_autocast
from vae.model.vae import VAE

BATCH = 32


def decode_batches(model: Generator, z: Tensor, dtype: torch.dtype = torch.float32) -> Iterator[Tensor]:
    """The pictures of latents, batch by batch.

    Every batch that the model gets has the same shape, the last one padded, so that a picture depends on its latent
    alone and not on how many others are decoded with it.

    Args:
        model: in eval mode, on any device.
        z: (N, D) on any device.
        dtype: what the layers compute in, float32 or bfloat16.

    Yields:
        (M, C, H, W) float32 in [-1, 1] on the model's device, M = 32 but for the last batch.
    """
    for batch in torch.split(z, BATCH) if len(z) else ():
        padded = torch.cat([batch, batch[-1:].expand(BATCH - len(batch), -1)]).to(model.device, torch.float32)
        with torch.inference_mode(), autocast(model.device, dtype):
            x = model.decode(padded)[: len(batch)].float()
        yield x


def decode_all(model: Generator, z: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The pictures (N, C, H, W) of `decode_batches`, all at once."""
    return torch.cat(list(decode_batches(model, z, dtype)))


def encode_means(model: VAE, x: Tensor) -> Tensor:
    """The posterior means (N, D) of pictures (N, C, H, W) in [-1, 1], float32 on the model's device."""
    with torch.inference_mode(), without_autocast(model.device):
        return torch.cat([model.encode(batch.to(model.device))[0] for batch in torch.split(x, BATCH)])
