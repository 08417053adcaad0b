"""Statistics of the whole batch, of which each process holds a part, so that several learn what one alone would.

Of W processes, number r holds the r-th part of a batch (`data.samplers`). DDP takes the mean of their gradients, which
is that of the whole batch as long as all that is worked out from the whole batch (a calibrated σ, running means, draws
of noise, pairs of codes) is the same everywhere. Alone, everything here returns what it is given.
"""

from typing import Any

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """The number of processes."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Mean(torch.autograd.Function):
    """The mean over the processes; linear and symmetric, and so its own gradient.

    torch.distributed.nn.functional.all_reduce has this gradient, but warns that it is deprecated (torch 2.14).
    """

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / world_size()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Mean.apply(gradient)


def all_mean(statistic: Tensor) -> Tensor:
    """The mean of a process's own statistic over all of them, differentiable; any shape."""
    return statistic if world_size() == 1 else _Mean.apply(statistic)


@torch.no_grad()
def all_gather(part: Tensor) -> Tensor:
    """The whole batch (W·N, …) of which each process holds a part (N, …)."""
    if world_size() == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(world_size())]
    distributed.all_gather(parts, part.contiguous())
    return torch.cat(parts)


def local_part(whole: Tensor) -> Tensor:
    """The part (N, …) that this process holds of a whole batch (W·N, …)."""
    return whole if world_size() == 1 else whole.chunk(world_size())[distributed.get_rank()]
