"""A discriminator of real and decoded pictures (Goodfellow et al., *Generative Adversarial Nets*, NIPS 2014).

A likelihood compares pictures with their own reconstructions. It does not see pictures decoded between two latents or
from the prior: these the discriminator sees (Larsen, Sønderby, Larochelle and Winther, *Autoencoding beyond
Pixels using a Learned Similarity Metric*, ICML 2016; for morphs Berthelot, Raffel, Roy and Goodfellow, *Understanding
and Improving Interpolation in Autoencoders via an Adversarial Regularizer*, ICLR 2019).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae.model.autocast import without_autocast
from vae.model.networks import apply_frozen
from vae.model.residual import stage_widths

_SLOPE = 0.2
_CODE = 128
_PENALTY, _PENALTY_EVERY = 0.02, 16


class Discriminator(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] → (N,) log odds that they are real.

    Args:
        image_size: side of the pictures.
        channels: 1 or 3.
        width: channels of the widest map.
    """

    def __init__(self, image_size: int, channels: int, width: int) -> None:
        super().__init__()
        widths = stage_widths(image_size, width)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, width, 3, padding=1)]
        layers += [nn.LeakyReLU(_SLOPE), nn.Conv2d(width, width, 3, padding=1)]
        for narrow, wide in pairwise(widths):
            layers += [nn.LeakyReLU(_SLOPE), nn.Conv2d(narrow, wide, 3, stride=2, padding=1)]
        layers += [nn.LeakyReLU(_SLOPE), nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.LeakyReLU(_SLOPE)]
        side = image_size >> len(widths)
        layers += [nn.Flatten(), nn.Linear(widths[-1] * side**2, _CODE), nn.LeakyReLU(_SLOPE), nn.Linear(_CODE, 1)]
        for layer in layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):  # torch's default is too small for it to learn soon
                nn.init.kaiming_normal_(layer.weight, _SLOPE)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        log_odds: Tensor = self.layers(x).float()[:, 0]
        return log_odds

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """() −E log D(real) − E log(1 − D(fake)) (Goodfellow 2014, eq. 1); gradients reach the discriminator alone."""
        return F.softplus(-self(real)).mean() + F.softplus(self(fake.detach())).mean()

    def gradient_penalty(self, real: Tensor) -> Tensor:
        """() E‖∇D(x)‖² on real pictures, R1 (Mescheder, Geiger and Nowozin, ICML 2018, eq. 9), in float32."""
        with without_autocast(real.device):
            x = real.detach().float().requires_grad_()
            (gradient,) = torch.autograd.grad(self(x).sum(), x, create_graph=True)
            return gradient.square().flatten(1).sum(1).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        """() −E log D(fake) (Goodfellow 2014, section 3); gradients reach the decoder alone."""
        return F.softplus(-apply_frozen(self, fake)).mean()

    def losses(self, real: Tensor, fake: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The losses of the discriminator and of the decoder, () each, in nats.

        Args:
            real: (N, C, H, W) in [-1, 1].
            fake: (M, C, H, W), decoded; differentiable.
            step: of the training: every 16th adds the gradient penalty, times 16 (Karras 2020, section 3.1).
        """
        discriminator, generator = self.discriminator_loss(real, fake), self.generator_loss(fake)
        if step % _PENALTY_EVERY == 0:
            discriminator = discriminator + _PENALTY_EVERY * _PENALTY / 2 * self.gradient_penalty(real)
        return discriminator, generator
