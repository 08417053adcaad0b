"""Muon: momentum whose matrices are made orthogonal, so that a step changes all directions alike.

    M ← μ M + (1 − μ) ∇;    W ← W − lr · √max(1, rows / columns) · U Vᵀ,  where  U Σ Vᵀ = (1 − μ) ∇ + μ M

(Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024). U Vᵀ comes from a Newton-Schulz
iteration. `torch.optim.Muon` takes matrices alone; here convolutions are matrices with a row for each channel, and the
other weights are AdamW's.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
_COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of a quintic that takes singular values into about [0.7, 1.2] in five steps
_STEPS = 5


def orthogonalize(matrix: Tensor) -> Tensor:
    """About U Vᵀ of a matrix U Σ Vᵀ, (R, C) → (R, C); in bfloat16 on a GPU, where that is fast.

    The iteration multiplies X by Q = a I + b G + c G², G = X Xᵀ. All Q commute with G, so on a CPU their product is
    computed from G alone, which is far smaller than X where X has many more columns than rows.

    >>> u = orthogonalize(torch.randn(4, 9, generator=torch.Generator().manual_seed(0)))
    >>> bool(((torch.linalg.svdvals(u) > 0.6) & (torch.linalg.svdvals(u) < 1.3)).all())
    True
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(torch.float32 if matrix.device.type == "cpu" else torch.bfloat16)
    x = x / (x.norm() + 1e-7)
    if x.device.type == "cpu":
        gram = x @ x.T
        product = factor = _polynomial(gram)
        for _ in range(_STEPS - 1):
            gram = factor @ gram @ factor
            factor = _polynomial(gram)
            product = factor @ product
        x = product @ x
    else:  # bfloat16 is too coarse for products of products
        for _ in range(_STEPS):
            x = _polynomial(x @ x.T) @ x
    return (x.T if tall else x).to(matrix.dtype)


def _polynomial(gram: Tensor) -> Tensor:
    a, b, c = _COEFFICIENTS
    result = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal().add_(a)
    return result


class MuonAdamW(torch.optim.AdamW):
    """Muon for the groups with `muon=True`, AdamW for the others."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes over a state; AdamW would look for its own numbers in the groups of Muon."""
        groups = state["param_groups"]
        super().__setstate__({**state, "param_groups": [group for group in groups if not group["muon"]]})
        self.param_groups = groups

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Makes a step; `closure` computes the loss and the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            if group["muon"]:
                self._step_matrices(group)
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss

    @torch.no_grad()
    def _step_matrices(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(weight)
            momentum = state["momentum"]
            momentum.lerp_(weight.grad, 1 - MOMENTUM)
            update = orthogonalize(weight.grad.lerp(momentum, MOMENTUM).flatten(1))
            scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
            weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(
                update.view_as(weight), alpha=-group["lr"] * scale
            )
