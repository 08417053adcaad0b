"""Regions of code that compute in a precision of their own, whatever that of the code around them."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Autocast to a type, float32 is none; also on a device that has no autocast, such as "meta"."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """A context in which everything is computed in its inputs' own precision."""
    return autocast(device, torch.float32)
