"""A discriminator of the patches of real and decoded pictures.

A likelihood compares pictures with their own reconstructions, and prefers a mean of all sharp ones that could be. It
does not see pictures decoded between two latents or from the prior. A discriminator (Goodfellow et al., *Generative
Adversarial Nets*, NIPS 2014) of patches (Isola, Zhu, Zhou and Efros, CVPR 2017) asks all of these to look real (Larsen,
Sønderby, Larochelle and Winther, ICML 2016; for morphs Berthelot, Raffel, Roy and Goodfellow, ICLR 2019).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae.model.autocast import without_autocast
from vae.model.networks import apply_frozen

_SLOPE = 0.2
_WIDTH = 24
_PENALTY, _PENALTY_EVERY = 0.1, 16


class Discriminator(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] → (N, H/8, W/8) log odds that the patch around a place is of a real picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            *(nn.Conv2d(4 * channels, _WIDTH, 3, padding=1), nn.LeakyReLU(_SLOPE)),
            *(nn.Conv2d(_WIDTH, 2 * _WIDTH, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)),
            *(nn.Conv2d(2 * _WIDTH, 4 * _WIDTH, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)),
            nn.Conv2d(4 * _WIDTH, 1, 3, padding=1),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):  # torch's default is too small for it to learn soon
                nn.init.kaiming_normal_(layer.weight, _SLOPE)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        log_odds: Tensor = self.layers(x).float()[:, 0]
        return log_odds

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """() −E log D(real) − E log(1 − D(fake)) (Goodfellow 2014, eq. 1); gradients reach the discriminator alone."""
        return F.softplus(-self(real)).mean() + F.softplus(self(fake.detach())).mean()

    def gradient_penalty(self, real: Tensor, step: int) -> Tensor:
        """() γ/2 · E‖∇D(x)‖² on real pictures, R1 (Mescheder, Geiger and Nowozin, ICML 2018, eq. 9), in float32.

        It is added every 16th step, times 16 (Karras 2020, section 3.1), and is 0 in the others.
        """
        if step % _PENALTY_EVERY:
            return real.new_zeros(())
        with without_autocast(real.device):
            x = real.detach().float().requires_grad_()
            (gradient,) = torch.autograd.grad(self(x).flatten(1).mean(1).sum(), x, create_graph=True)
            return _PENALTY_EVERY * _PENALTY / 2 * gradient.square().flatten(1).sum(1).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        """() −E log D(fake) (Goodfellow 2014, section 3); no gradient reaches the discriminator."""
        return F.softplus(-apply_frozen(self, fake)).mean()
