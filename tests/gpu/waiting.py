"""What makes the host wait for a GPU, found without one.

Tensors on "meta" stand for those of a GPU: whatever asks for their values raises an error by itself. What is left are
copies from the host, for which a GPU makes the host wait as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_COPIES = ("aten._to_copy.default", "aten.copy_.default", "aten._copy_from.default")
_MAKERS = (torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.new_tensor)
_INDEXING = (Tensor.__getitem__, Tensor.__setitem__)


def _places(args: Any) -> tuple[Any, ...]:
    """The indices of an access to a tensor."""
    return args[1] if isinstance(args[1], tuple) else (args[1],)


class WaitError(AssertionError):
    """The host would have waited."""


class _NoCopies(TorchDispatchMode):
    """Raises `WaitError` where numbers of the host meet the device's; a single one is an argument of a kernel."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {leaf.device.type for leaf in (*given, *tree_leaves(result)) if isinstance(leaf, Tensor)}
        many = any(leaf.device.type == "cpu" and leaf.ndim for leaf in given)
        if devices == {"cpu", "meta"} and (many or str(func) in _COPIES):
            raise WaitError(f"{func}: numbers are copied from the host")
        return result


class _NoNewTensors(TorchFunctionMode):
    """Raises `WaitError` where a tensor is made of Python's numbers: they are copied, too."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _MAKERS and result.device.type == "meta":
            raise WaitError(f"{func.__name__}: numbers are copied from the host; torch.full fills on the device")
        if (
            func in _INDEXING
            and args[0].device.type == "meta"
            and any(isinstance(place, list) for place in _places(args))
        ):
            raise WaitError(f"{func.__name__}: a list of places is copied from the host")
        return result


@contextmanager
def no_waiting() -> Iterator[None]:
    """A context in which nothing on "meta" may make the host wait."""
    with _NoNewTensors(), _NoCopies():
        yield
