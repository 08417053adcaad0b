"""The variational autoencoder (Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014)."""

import math

import torch
from torch import Tensor, nn

from data.image_files.classes import check_class_names
from data.system.errors import UserError
from vae.model.config import PriorName, VAEConfig
from vae.model.elbo import Elbo, kl_divergence
from vae.model.latents.pca_latents import PCA_STD, PCALatents
from vae.model.latents.prior_flow import OF_CODES, PriorFlow
from vae.model.latents.whitening import Whitening
from vae.model.likelihoods import LikelihoodName, build_likelihood
from vae.model.networks import Decoder, Encoder, NetworkName, apply_frozen, check_size

_FLAG_SET = 0.5  # the least number that counts as 1: older checkpoints hold averages of flags


class VAE(nn.Module):
    """A variational autoencoder: a Gaussian posterior over D latents, and a convolutional decoder.

    The defaults are those of `vae.model.config.VAEConfig`, as in training.

    Args:
        image_size: side of the square images, a multiple of 16 from 32 to 256.
        channels: 1 (grey) or 3 (RGB).
        latent_dim: D, the number of latents.
        width: channels of the largest map of the networks, a multiple of 8; the cost grows with its square.
        network: the layers, see `vae.model.stages.strided` and `vae.model.stages.residual`.
        likelihood: p(x|z), see `vae.model.likelihoods`.
        sigma: a fixed scale of the likelihood, except bernoulli, on pixels in [-1, 1]; None calibrates it.
        palette: number of colours that a whole picture shares, see `vae.model.networks.PaletteMixer`; 0 is off.
        whiten: whether latents have coordinates in which codes have the prior's moments, see
            `vae.model.latents.whitening`.
        pca_share: above 0, the first latents may be principal components, see `vae.model.latents.pca_latents`; training
            chooses those with more than this share of the variance.
        inactive_below: above 0, latents may be inactive; training chooses those with fewer nats than this.
        prior: what random latents are: `normal`, samples of Normal(0, I), or `flow`, carried from there to where codes
            are, see `vae.model.latents.prior_flow`. The ELBO's prior is Normal(0, I).
        classes: names of the classes that random latents can be of, for the prior `flow`; the networks know none.

    Attributes:
        config: these arguments.
        encoder: (N, C, H, W) → `mu` and `logvar` before PCA latents and inactive ones are taken into account.
        decoder: (N, D) → (N, C, H, W) in [-1, 1].
        pca_latents: `None` if `pca_share` is 0.
        whitening: `None` unless `whiten`.
        flow: of the prior; `None` if that is `normal`.
        likelihood: p(x|z).
        inactive: (D,) 1 where a latent is inactive: its posterior is the prior, and the decoder is given 0 in its
            place; None if `inactive_below` is 0.

    Raises:
        UserError (a ValueError): a size, width, scale or likelihood that is not allowed.
    """

    inactive: Tensor | None

    def __init__(
        self,
        image_size: int = VAEConfig.image_size,
        channels: int = VAEConfig.channels,
        latent_dim: int = VAEConfig.latent_dim,
        width: int = VAEConfig.width,
        network: NetworkName = VAEConfig.network,
        likelihood: LikelihoodName = VAEConfig.likelihood,
        sigma: float | None = VAEConfig.sigma,
        palette: int = VAEConfig.palette,
        whiten: bool = VAEConfig.whiten,
        pca_share: float = VAEConfig.pca_share,
        inactive_below: float = VAEConfig.inactive_below,
        prior: PriorName = VAEConfig.prior,
        classes: tuple[str, ...] = VAEConfig.classes,
    ) -> None:
        super().__init__()
        self.config = VAEConfig(
            *(image_size, channels, latent_dim, width, network, likelihood, sigma, palette),
            *(whiten, pca_share, inactive_below, prior, check_class_names(classes)),
        )
        if whiten and pca_share:
            raise UserError(f"whiten: contradicts pca_share {pca_share}, which fixes coordinates; turn one of them off")
        if classes and prior != "flow":
            raise UserError(f"classes: contradict prior {prior}, whose latents are of none; take flow")
        check_size(image_size, channels, latent_dim, width, network)
        self.image_size, self.channels, self.latent_dim = image_size, channels, latent_dim
        self.encoder = Encoder(image_size, channels, latent_dim, width, network)
        self.decoder = Decoder(image_size, channels, latent_dim, width, network, palette, self._decoder_input)
        self.pca_latents = PCALatents(channels, latent_dim) if pca_share else None
        self.whitening = Whitening(latent_dim) if whiten else None
        self.flow = PriorFlow(latent_dim, len(classes)) if prior == "flow" else None
        self.register_buffer("inactive", torch.zeros(latent_dim) if inactive_below else None)
        self.likelihood = build_likelihood(likelihood, sigma)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dims(self) -> int:
        """The number of pixel values of a picture, C · H · W."""
        return self.channels * self.image_size**2

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior q(z|x) = Normal(mu, exp(logvar)); for PCA latents σ = 0.003, for inactive ones it is the prior.

        Args:
            x: (N, C, H, W) in [-1, 1].

        Returns:
            `mu` and `logvar`, each (N, D).
        """
        return self._posterior(x, *self.encoder(x))

    def _posterior(self, x: Tensor, mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
        if self.pca_latents is not None:
            is_pca = self.pca_latents.mask > 0
            mu = torch.where(is_pca, self.pca_latents(x), mu)
            logvar = torch.where(is_pca, 2 * math.log(PCA_STD), logvar)
        if self.whitening is not None:
            mu, logvar = self.whitening(mu, logvar)
        return self.zero_inactive(mu), self.zero_inactive(logvar)

    def reparameterize(self, mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        """A posterior sample z = mu + exp(logvar/2) · ε, ε ~ Normal(0, I) (Kingma and Welling 2014, section 2.4).

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
        """The logits of that picture, of the same shape, see `vae.model.networks.Decoder.logits`."""
        return self.decoder.logits(z)

    def _meaningful(self, z: Tensor) -> Tensor:
        """The part of latents (N, D) that the decoder is given."""
        return self.zero_inactive(z if self.pca_latents is None else self.pca_latents.onto_sphere(z))

    def _decoder_input(self, z: Tensor) -> Tensor:
        z = self._meaningful(z)
        return z if self.whitening is None else self.whitening.undo(z)

    def zero_inactive(self, values: Tensor) -> Tensor:
        """Latents (…, D) with 0 in place of the inactive ones, which then do not bend a path."""
        return values if self.inactive is None else values.masked_fill(self.inactive > _FLAG_SET, 0)

    def cycle_error(self, z: Tensor, x: Tensor) -> Tensor:
        """The error of the encoder's mean as an estimate of the latents of decoded pictures, E‖mu(x) − z‖² / D.

        A latent regressor (Zhu, Zhang et al., *Toward Multimodal Image-to-Image Translation*, NIPS
        2017, section 3.3).

        Args:
            z: (N, D).
            x: (N, C, H, W), decoded from z.

        Returns:
            () in units of the prior's variance, differentiable in z and x; the weights of the encoder are constants.
        """
        mu, _ = self._posterior(x, *apply_frozen(self.encoder, x))
        return (mu - self._meaningful(z)).square().mean()

    def random_latents(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        """Latents that look like codes, of noise ε ~ Normal(0, I), (N, D) each: ε itself unless there is a flow.

        Of a model with classes, `classes` (N,) are the numbers of those that latents shall be of; −1 and None are any.
        """
        if self.flow is None:
            return self.zero_inactive(noise)
        whitening = self.whitening
        if whitening is None:
            return self.zero_inactive(self.flow(noise, classes))
        before = self.flow.fitted == OF_CODES
        z = self.flow(torch.where(before, whitening.undo(noise), noise), classes)
        return self.zero_inactive(torch.where(before, whitening.whitened(z), z))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`n` pictures decoded from random latents.

        Args:
            n: how many.
            generator: draws the latents, on its own device: one on the CPU gives the same latents for a model on any
                device. None is PyTorch's global one on the CPU.

        Returns:
            (n, C, H, W) in [-1, 1], on the device of the weights.
        """
        device = torch.device("cpu") if generator is None else generator.device
        noise = torch.randn(n, self.latent_dim, generator=generator, device=device).to(self.device)
        return self.decode(self.random_latents(noise))

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Elbo, Tensor, Tensor]:
        """The ELBO of each picture, estimated with one sample of the posterior, and the posterior.

        Args:
            x: (N, C, H, W) in [-1, 1].
            noise: ε ~ Normal(0, I) of the sample, (N, D).

        Returns:
            the `Elbo` with terms of shape (N,) and (N, D); `mu` and `logvar`, each (N, D).
        """
        mu, logvar = self.encode(x)
        logits = self.logits(self.reparameterize(mu, logvar, noise))
        return Elbo(self.likelihood.log_prob(logits, x), kl_divergence(mu, logvar)), mu, logvar

    def importance_bound(self, x: Tensor, noise: Tensor) -> Tensor:
        """The importance-weighted lower bound on log p(x) (Burda 2016, eq. 8), which is tighter the larger k is.

        L_k = E[log 1/k Σ_i p(x|z_i) p(z_i) / q(z_i|x)], z_i ~ q(z|x).

        Args:
            x: (N, C, H, W) in [-1, 1].
            noise: ε ~ Normal(0, I) of k samples for each picture, (k, N, D).

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
