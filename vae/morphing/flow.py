"""Pictures moved by smooth flows.

A velocity field v stands still while everything goes along it for one unit of time: what is at p arrives at exp(v)(p),
and exp(−v) takes it back, so nothing folds or tears. The displacement u_v(p) = exp(v)(p) − p of the whole time is that
of half the time, twice in a row:

    u_v(p) = u_{v/2}(p) + u_{v/2}(p + u_{v/2}(p)),    u_v ≈ v for small v

Places and velocities are (across, down); a picture reaches from −1 to 1.

Source: Arsigny, Commowick, Pennec and Ayache, *A Log-Euclidean Framework for Statistics on Diffeomorphisms*, MICCAI
2006.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_HALVINGS = 5  # of the time, until a displacement is the velocity
_SIDE = 64  # of displacements: they are smooth, so larger pictures take them enlarged


def places(side: int) -> Tensor:
    """The middles of a picture's pixels, (1, 2, side, side)."""
    middle = (torch.arange(side) + 0.5) * 2 / side - 1
    down, across = torch.meshgrid(middle, middle, indexing="ij")
    return torch.stack([across, down])[None]


def displacement(velocity: Tensor, side: int = _SIDE) -> Tensor:
    """u_v of velocities (N, 2, G, G): (N, 2, side, side)."""
    u = F.interpolate(velocity, (side, side), mode="bicubic") / 2**_HALVINGS
    for _ in range(_HALVINGS):
        u = u + displaced(u, u)
    return u


def displaced(x: Tensor, u: Tensor, mode: str = "bilinear", outside: str = "border") -> Tensor:
    """Pictures x(p + u(p)): (N, C, H, H) and (N, 2, M, M) → (N, C, H, H).

    The mode is `bilinear`, `bicubic` or `nearest`; outside is the `border`, repeated, `zeros`, or the `reflection`.
    """
    side = x.shape[-1]
    u = u if u.shape[-1] == side else F.interpolate(u, (side, side), mode="bilinear")
    there = (places(side).to(u) + u).permute(0, 2, 3, 1)
    return F.grid_sample(x, there.expand(len(x), -1, -1, -1), mode, padding_mode=outside, align_corners=False)
