"""A decoder beside a copy of it that is tuned to given latents, the pivots: each draws where it is at home.

A path through the pivots stays in the subspace that they span, so nearness is an angle: with s = ‖z − P z‖ / ‖z‖, the
sine of the angle between z and that subspace,

    logits(z) = w · tuned(z) + (1 − w) · original(z),    w = 1 where s ≤ 0.4, 0 where s ≥ 0.8, smooth between

A random latent is nearly at right angles to few pivots (s ≈ √(1 − K/D)): its picture stays as it was.
"""

import copy

import torch
from torch import Tensor, nn

from vae.model.autocast import without_autocast
from vae.model.networks import Decoder, squash

_NEAR, _FAR = 0.4, 0.8
_LEAST_SINGULAR = 1e-4  # over the largest: latents closer than this to a combination of others add no direction


def smoothstep(u: Tensor) -> Tensor:
    """3u² − 2u³ of u kept within [0, 1], of any shape."""
    u = u.clamp(0, 1)
    return u * u * (3 - 2 * u)


def span(pivots: Tensor) -> Tensor:
    """An orthonormal basis (D, R) of the subspace that latents (K, D) span, R ≤ K."""
    _, lengths, directions = torch.linalg.svd(pivots.cpu().double(), full_matrices=False)
    return directions[lengths > _LEAST_SINGULAR * lengths[0]].T.to(pivots).contiguous()


class TunedDecoder(nn.Module):
    """A decoder that draws with a copy of itself near a subspace.

    Args:
        decoder: the original.
        basis: see `span`.

    Attributes:
        original: the decoder.
        tuned: its copy, to be fitted.
        basis: (D, R), orthonormal, of the subspace.
    """

    basis: Tensor

    def __init__(self, decoder: Decoder, basis: Tensor) -> None:
        super().__init__()
        self.original = decoder
        self.tuned = copy.deepcopy(decoder, {id(decoder.input_map): decoder.input_map})
        self.register_buffer("basis", basis)

    def nearness(self, z: Tensor) -> Tensor:
        """How far the tuned copy draws latents (N, D): (N,) in [0, 1]."""
        with without_autocast(z.device):
            outside = z - z @ self.basis @ self.basis.T
            sine = outside.norm(dim=1) / z.norm(dim=1).clamp_min(torch.finfo(z.dtype).tiny)
        return smoothstep((_FAR - sine) / (_FAR - _NEAR))

    def logits(self, z: Tensor) -> Tensor:
        """(N, D) → (N, C, H, W), as `Decoder.logits`."""
        weight = self.nearness(z)
        if not torch.compiler.is_compiling() and bool((weight == 1).all()):
            return self.tuned.logits(z)
        return torch.lerp(self.original.logits(z), self.tuned.logits(z), weight[:, None, None, None])

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) → pictures (N, C, H, W) in [-1, 1]."""
        return squash(self.logits(z))
