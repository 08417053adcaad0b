"""The variational autoencoder (Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014)."""

import math

import torch
from torch import Tensor, nn

from vae.model.elbo import Elbo, kl_divergence
from vae.model.likelihoods import LikelihoodName
from vae.model.likelihoods import likelihood as build_likelihood
from vae.model.networks import Decoder, Encoder, apply_frozen, check_size
from vae.model.pca_latents import STD, PCALatents

_SET = 0.5  # of a flag; in checkpoints of earlier versions it was averaged


class VAE(nn.Module):
    """A Gaussian posterior over `latent_dim` numbers and a convolutional decoder.

    Args:
        image_size: side of the square images, a multiple of 16 from 32 to 256.
        channels: 1 (grey) or 3 (RGB).
        latent_dim: D, how many numbers describe a picture.
        width: channels of the networks' widest map, a multiple of 8; cost grows with its square.
        likelihood: p(x|z): `wavelet`, `gaussian`, `laplace` or `bernoulli`.
        sigma: fixed scale of such a likelihood, but not bernoulli's, on pixels in [-1, 1]; null calibrates it.
        palette: colours that a whole picture shares, see `vae.model.networks.PaletteMixer`; 0 is none.
        pca_share: above 0, some latents are given and not learned, see `vae.model.pca_latents.PCALatents.fit`.
        inactive_below: above 0, latents that say next to nothing can be made inactive.

    Attributes:
        inactive: (D,) 1 where a latent is: its posterior is the prior and the decoder sees 0; None without
            `inactive_below`.

    Raises:
        UserError: a size, width or likelihood that cannot be built.
    """

    inactive: Tensor | None

    def __init__(
        self,
        image_size: int = 64,
        channels: int = 3,
        latent_dim: int = 16,
        width: int = 24,
        likelihood: LikelihoodName = "gaussian",
        sigma: float | None = None,
        palette: int = 0,
        pca_share: float = 0.0,
        inactive_below: float = 0.0,
    ) -> None:
        super().__init__()
        check_size(image_size, channels, latent_dim, width)
        self.image_size, self.channels, self.latent_dim = image_size, channels, latent_dim
        self.encoder = Encoder(image_size, channels, latent_dim, width)
        self.decoder = Decoder(image_size, channels, latent_dim, width, palette, self._decoder_input)
        self.pca_latents = PCALatents(channels, latent_dim) if pca_share else None
        self.register_buffer("inactive", torch.zeros(latent_dim) if inactive_below else None)
        self.likelihood = build_likelihood(likelihood, sigma)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    @property
    def dims(self) -> int:
        """C · H · W."""
        return self.channels * self.image_size**2

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior q(z|x) = Normal(mu, exp(logvar)); of anchored dimensions, the anchors' own with σ = 0.003.

        Args:
            x: (N, C, H, W) in [-1, 1].

        Returns:
            `mu` and `logvar`, each (N, D).
        """
        return self._posterior(x, *self.encoder(x))

    def _posterior(self, x: Tensor, mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
        if self.pca_latents is not None:
            anchored = self.pca_latents.mask > 0
            mu = torch.where(anchored, self.pca_latents(x), mu)
            logvar = torch.where(anchored, 2 * math.log(STD), logvar)
        return self.zero_inactive(mu), self.zero_inactive(logvar)

    def reparameterize(self, mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        """Z = mu + exp(logvar/2) · ε, ε ~ Normal(0, I) (Kingma and Welling 2014, section 2.4).

        Args:
            mu: (N, D).
            logvar: (N, D).
            noise: ε, (N, D).

        Returns:
            (N, D), differentiable in mu and logvar.
        """
        return mu + (0.5 * logvar).exp() * noise

    def decode(self, z: Tensor) -> Tensor:
        """The mean picture of p(x|z): (N, D) → (N, C, H, W) in [-1, 1]."""
        images: Tensor = self.decoder(z)
        return images

    def logits(self, z: Tensor) -> Tensor:
        """The same before squashing, see `vae.model.networks.Decoder.logits`."""
        return self.decoder.logits(z)

    def _decoder_input(self, z: Tensor) -> Tensor:
        return self.zero_inactive(z if self.pca_latents is None else self.pca_latents.onto_sphere(z))

    def zero_inactive(self, values: Tensor) -> Tensor:
        """(…, D) with 0 for the inactive latents, so that they do not bend a path."""
        return values if self.inactive is None else values.masked_fill(self.inactive > _SET, 0)

    def cycle_error(self, z: Tensor, x: Tensor) -> Tensor:
        """How far the encoder is from finding latents again in their pictures, for the decoder to make it small.

        E‖mu(x) − z‖² / D: a latent regressor (Zhu, Zhang et al., *Toward Multimodal Image-to-Image Translation*, NIPS
        2017, section 3.3).

        Args:
            z: (N, D).
            x: (N, C, H, W), decoded from z.

        Returns:
            () squared deviations of the prior, differentiable in x; the encoder's weights are constants.
        """
        mu, _ = self._posterior(x, *apply_frozen(self.encoder, x))
        return (mu - self._decoder_input(z)).square().mean()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`n` pictures from the prior, (n, C, H, W) in [-1, 1]."""
        return self.decode(torch.randn(n, self.latent_dim, generator=generator, device=self.device))

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Elbo, Tensor, Tensor]:
        """The ELBO of each image with one posterior sample, and the posterior it came from.

        Args:
            x: (N, C, H, W) in [-1, 1].
            noise: the sample's ε ~ Normal(0, I), (N, D).

        Returns:
            the `Elbo` with terms of shape (N,) and (N, D); `mu` and `logvar`, each (N, D).
        """
        mu, logvar = self.encode(x)
        logits = self.logits(self.reparameterize(mu, logvar, noise))
        return Elbo(self.likelihood.log_prob(logits, x), kl_divergence(mu, logvar)), mu, logvar

    def importance_bound(self, x: Tensor, noise: Tensor) -> Tensor:
        """The importance-weighted bound on log p(x) (Burda 2016, eq. 8), which tightens with the number of samples, k.

        L_k = E[log 1/k Σ_i p(x|z_i) p(z_i) / q(z_i|x)], z_i ~ q(z|x).

        Args:
            x: (N, C, H, W) in [-1, 1].
            noise: the samples' ε ~ Normal(0, I), (k, N, D).

        Returns:
            (N,) nats per image.
        """
        mu, logvar = self.encode(x)
        weights = []
        for one in noise:
            z = self.reparameterize(mu, logvar, one)
            log_ratio = 0.5 * (logvar + (z - mu).square() / logvar.exp() - z.square()).sum(1)
            weights.append(self.likelihood.log_prob(self.logits(z), x) + log_ratio)
        return torch.stack(weights).logsumexp(0) - math.log(len(noise))
