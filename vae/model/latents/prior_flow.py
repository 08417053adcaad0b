"""A flow from the prior to the codes of pictures.

The aggregate posterior q(z) = E_x q(z|x) is not the prior, even where its mean and covariance are: between clusters of
like pictures there is nothing, and random latents decode to blots. So noise ε ~ Normal(0, I) is carried along

    dz/dt = v(z, t),    z(0) = ε,    z(1) ~ q(z)

by the velocity v that minimises E ‖v((1 − t) ε + t z, t) − (z − ε)‖² over codes z, noise ε and times t in [0, 1].

Where codes are whitened, all this is in the coordinates before: ε there is noise with the codes' mean and covariance,
and v is more exact along directions that say more, because they are longer.

Where pictures have classes, v(z, t, c) is given the class c of the code, and no class for a tenth of the codes, as for
classifier-free guidance: one flow draws from q(z) by v(z, t), and of a class by v(z, t, c) + w (v(z, t, c) − v(z, t)),
w = 1. This prior alone is conditional. The decoder is given z and no class: a class is as pure as its codes lie apart
from those of others: where codes of two classes are the same, so are pictures. A decoder that is given the class (a
conditional VAE) keeps classes apart even there, but z then says nothing of the class, and a path between two latents
does not lead from one class to another.

Sources: Lipman, Chen, Ben-Hamu, Nickel and Le, *Flow Matching for Generative Modeling*, ICLR 2023; for a density that
is fitted to the codes of a trained autoencoder, Dai and Wipf, *Diagnosing and Enhancing VAE Models*, ICLR 2019, and
Ghosh, Sajjadi, Vergari, Black and Schölkopf, *From Variational to Deterministic Autoencoders*, ICLR 2020; for classes
that are left out at random, Ho and Salimans, *Classifier-Free Diffusion Guidance*, 2022.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae.model.autocast import without_autocast

_LEAST_WIDTH, _MOST_WIDTH, _BLOCKS = 64, 256, 3
_FREQUENCIES = 8  # of the time
_INTEGRATION_STEPS = 12
_BATCH, _RATE, _WEIGHT_DECAY = 256, 4e-3, 0.01
_WITHOUT_CLASS = 0.1  # share of the codes whose class is left out
_GUIDANCE = 1.0  # more is purer and less various
NO_CLASS = -1
OF_WHITENED_CODES, OF_CODES = 1, 2  # what it is fitted to; the first in checkpoints of before


class PriorFlow(nn.Module):
    """The map ε ↦ z, (N, D) each; the identity until `fit` was called, which alone changes its weights.

    Args:
        latent_dim: D.
        classes: how many there are.

    Attributes:
        fitted: () what the codes are that it was fitted to, `OF_CODES` or `OF_WHITENED_CODES`; 0 before.
        class_vectors: what is added to the activations for each class, (classes, width); None without classes.
    """

    fitted: Tensor

    def __init__(self, latent_dim: int, classes: int = 0) -> None:
        super().__init__()
        width = min(_MOST_WIDTH, max(_LEAST_WIDTH, 2 * latent_dim))
        self.register_buffer("fitted", torch.zeros(()))
        self.enter = nn.Linear(latent_dim + 2 * _FREQUENCIES, width)
        self.class_vectors = nn.Parameter(torch.zeros(classes, width)) if classes else None
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(_BLOCKS)
        )
        self.leave = nn.Linear(width, latent_dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.requires_grad_(False)

    def velocity(self, z: Tensor, t: Tensor, classes: Tensor | None = None) -> Tensor:
        """v(z, t, c) of (N, D) at times (N, 1), for the numbers (N,) of classes; −1 and None are no class."""
        phase = math.pi / 2 * t * torch.arange(1, 1 + _FREQUENCIES, device=z.device)
        h = self.enter(torch.cat([z, phase.sin(), phase.cos()], 1))
        if self.class_vectors is not None and classes is not None:
            of_all = F.one_hot(classes + 1, 1 + len(self.class_vectors))  # indexing has no exact gradient on GPUs
            h = h + of_all[:, 1:].to(h) @ self.class_vectors
        for block in self.blocks:
            h = h + block(h)
        moved: Tensor = self.leave(h)
        return moved

    def forward(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        """z(1) by the midpoint rule, of classes as for `velocity`."""
        with without_autocast(noise.device):
            z, dt = noise.float(), 1 / _INTEGRATION_STEPS
            for step in range(_INTEGRATION_STEPS):
                t = torch.full((len(z), 1), step * dt, device=z.device)
                z = z + dt * self._guided(z + dt / 2 * self._guided(z, t, classes), t + dt / 2, classes)
        return z

    def _guided(self, z: Tensor, t: Tensor, classes: Tensor | None) -> Tensor:
        v = self.velocity(z, t, classes)
        return v if classes is None else v + _GUIDANCE * (v - self.velocity(z, t))

    @torch.enable_grad()
    def fit(
        self,
        posteriors: Iterable[tuple[Tensor, Tensor]],
        steps: int,
        generator: torch.Generator,
        progress: Callable[[range], Iterable[int]] = iter,
        classes: Tensor | None = None,
        start: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Learns to draw codes, in no more steps than there are codes: in many more it would learn them by heart.

        Args:
            posteriors: `mu` and `logvar`, (N, D) each in every batch, in the coordinates before whitening.
            steps: of AdamW, at most.
            generator: of the codes, the noise and the times, on the device of the weights.
            progress: wraps the steps, in a progress bar for example.
            classes: the number of each code's class, (N,), −1 where it has none; None if there are no classes.
            start: Normal(0, I) → ε, (N, D) each; None leaves it as it is.
        """
        mu, logvar = (torch.cat(parts).float() for parts in zip(*posteriors, strict=True))
        steps = min(steps, len(mu))
        self.requires_grad_(True)
        optimizer = torch.optim.AdamW(self.parameters(), _RATE, betas=(0.9, 0.99), weight_decay=_WEIGHT_DECAY)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1)
        with without_autocast(mu.device):
            for _ in progress(range(steps)):
                rows = torch.randint(len(mu), (_BATCH,), generator=generator, device=mu.device)
                optimizer.zero_grad()
                chosen = None if classes is None else classes[rows]
                torch.autograd.backward(self._loss(mu[rows], logvar[rows], generator, chosen, start))
                optimizer.step()
                rate.step()
        optimizer.zero_grad()  # what is left would count where gradients are clipped
        self.requires_grad_(False)
        self.fitted.fill_(OF_CODES)

    def _loss(
        self,
        mu: Tensor,
        logvar: Tensor,
        generator: torch.Generator,
        classes: Tensor | None,
        start: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """() E ‖v − (z − ε)‖² / D."""

        def noise() -> Tensor:
            return torch.randn(mu.shape, generator=generator, device=mu.device)

        t = torch.rand(len(mu), 1, generator=generator, device=mu.device)
        z, begun = mu + (0.5 * logvar).exp() * noise(), noise() if start is None else start(noise())
        if classes is not None:
            left_out = torch.rand(len(mu), generator=generator, device=mu.device) < _WITHOUT_CLASS
            classes = classes.masked_fill(left_out, NO_CLASS)
        return (self.velocity(torch.lerp(begun, z, t), t, classes) - (z - begun)).square().mean()
