"""Pivotal tuning: a copy of a model whose decoder draws given pictures at given latents (Roich et al. 2021).

The latents stay (the pivots), the decoder is fitted: over its weights, Adam minimises

    mean (x̂ − x)² + ½ · mean |∇(x̂ − x)|²,    x̂ = decode(z)

∇ being differences between neighbouring pixels, so that outlines count. All pictures are fitted together.

Source: *Pivotal Tuning for Latent-based Editing of Real Images*, ACM TOG 42(1), section 3.
"""

import copy
import math
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.metrics.smoothness import gradient_energy
from vae.model.tuned_decoder import TunedDecoder, span
from vae.model.vae import VAE

_PEAK_RATE, _BETAS = 4e-2, (0.9, 0.99)
_USUAL_STEPS = 100
_EDGES = 0.5
_REPORT_EVERY = 5  # steps
MOST_STEPS = 5000
_STEPS_TO_REACH = 1000  # that a fidelity may take
_MOST_PSNR = 60.0


class Budget(NamedTuple):
    """How long a model is tuned.

    Attributes:
        steps: at most; 0 is not at all.
        psnr: dB; tuning ends as soon as each picture is drawn as exactly as this.
    """

    steps: int
    psnr: float = math.inf

    def __str__(self) -> str:
        """The word that `parse_budget` makes it of."""
        return f"{self.steps}" if self.psnr == math.inf else f"{self.psnr:g}dB"


DEFAULT_BUDGET = Budget(200)


def parse_budget(word: str) -> Budget:
    """A number of steps, or a fidelity to reach.

    >>> parse_budget("200"), parse_budget("35dB")
    (Budget(steps=200, psnr=inf), Budget(steps=1000, psnr=35.0))

    Raises:
        UserError: the word is neither, or out of range.
    """
    if re.fullmatch(r"\d{1,9}", word) and int(word) <= MOST_STEPS:
        return Budget(int(word))
    match = re.fullmatch(r"(\d{1,2}(?:\.\d{1,2})?) ?db", word.lower())
    if match and 0 < float(match[1]) <= _MOST_PSNR:
        return Budget(_STEPS_TO_REACH, float(match[1]))
    raise UserError(
        f"tune {word!r}: must be steps from 0 to {MOST_STEPS}, 200 for example, or a fidelity up to "
        f"{_MOST_PSNR:.0f}dB, 35dB for example"
    )


def psnr(drawn: Tensor, pictures: Tensor) -> Tensor:
    """Peak signal-to-noise ratio 10 · log10(2² / mse) of pictures (N, C, H, W) in [-1, 1]: (N,) dB."""
    return 10 * (4 / (drawn - pictures).square().flatten(1).mean(1).clamp_min(1e-12)).log10()


def tune(
    model: VAE,
    pivots: Tensor,
    pictures: Tensor,
    budget: Budget,
    progress: Callable[[range], Iterable[int]] = iter,
    report: Callable[[float], None] = lambda least: None,
) -> VAE:
    """A copy of a model, in eval mode, that draws pictures at the pivots, and what the model draws far from them.

    Of a model that was tuned already it is a copy of the original.

    The same arguments give the same copy: nothing is random.

    Args:
        model: stays as it is.
        pivots: (K, D) latents.
        pictures: (K, C, H, W) in [-1, 1], of the model's size.
        budget: when tuning ends.
        progress: wraps the steps, in a progress bar for example.
        report: is told the PSNR of the picture that is drawn least exactly, now and then.
    """
    tuned = copy.deepcopy(model).eval().requires_grad_(False)
    z, x = pivots.to(model.device).clone(), pictures.to(model.device)  # a clone: what inference made has no gradient
    original = tuned.decoder.original if isinstance(tuned.decoder, TunedDecoder) else tuned.decoder
    decoder = TunedDecoder(original, span(z))
    tuned.add_module("decoder", decoder)
    weights = list(decoder.tuned.requires_grad_(True).parameters())
    steps = max(budget.steps, 1)
    peak = _PEAK_RATE * min(1, steps / _USUAL_STEPS)  # a few large steps would make it worse
    optimizer = torch.optim.Adam(weights, peak, betas=_BETAS)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    for step in progress(range(budget.steps)):
        error = decoder.tuned(z) - x  # at the pivots the copy alone draws
        if step % _REPORT_EVERY == 0:
            least = float(psnr(error.detach(), torch.zeros_like(error)).min())
            report(least)
            if least >= budget.psnr:
                break
        loss = error.square().mean() + _EDGES * gradient_energy(error).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        rate.step()
    tuned.requires_grad_(False)
    return tuned
