"""`VAEEvaluation`: a LightningModule that measures a VAE on held-out pictures."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from data.rng import normal
from vae.metrics.posterior import AggregatePosterior
from vae.model.elbo import Elbo, bits_per_dim
from vae.model.vae import VAE

_IWAE_SAMPLES = 64


class VAEEvaluation(pl.LightningModule):
    """Logs the true ELBO and the health of the latents, with noise that is the same in every epoch."""

    vae: VAE
    val_posterior: AggregatePosterior

    def validation_step(self, x: Tensor, batch_idx: int) -> None:
        """The ELBO of held-out pictures, with noise that is the same in every epoch."""
        (noise,) = self._noise(self.trainer.val_dataloaders, batch_idx, 1)
        elbo, mu, logvar = self.vae(x, noise)
        self._log_elbo("val", elbo, batch_size=len(x), sync_dist=True)
        self.val_posterior.update(mu, logvar)

    def on_validation_epoch_end(self) -> None:
        """The health of the latents, and a histogram of the KL of each dimension."""
        health = self.val_posterior.compute()
        self.val_posterior.reset()
        numbers = {"val/active_units": health.active_units, "latent/aggregate_mean": health.aggregate_mean}
        self.log_dict({**numbers, "latent/aggregate_variance": health.aggregate_variance}, sync_dist=True)
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_histogram("latent/kl", health.kl, self.global_step - 1)

    def test_step(self, x: Tensor, batch_idx: int) -> None:
        """The ELBO, and the importance-weighted bound with 64 samples (Burda 2016), in nats per image."""
        noise = self._noise(self.trainer.test_dataloaders, batch_idx, _IWAE_SAMPLES)
        elbo, _, _ = self.vae(x, noise[0])
        self._log_elbo("test", elbo, batch_size=len(x), sync_dist=True)
        self.log("test/iwae", self.vae.importance_bound(x, noise).mean(), batch_size=len(x), sync_dist=True)

    def _noise(self, loader: Any, batch_idx: int, samples: int) -> Tensor:
        """(samples, N, D), for each held-out picture its own, however they are dealt to batches and processes."""
        rows = torch.tensor(loader.batch_sampler.batches[batch_idx])
        drawn = normal(0, rows, samples * self.vae.latent_dim).to(self.device)
        return drawn.reshape(len(rows), samples, -1).transpose(0, 1)

    def _log_elbo(self, stage: str, elbo: Elbo, **options: Any) -> None:
        bound = elbo.value.mean()
        values = {"elbo": bound, "reconstruction": elbo.reconstruction.mean(), "kl": elbo.kl.sum(1).mean()}
        if self.vae.likelihood.density:
            values |= {"bits_per_dim": bits_per_dim(bound, self.vae.dims), "sigma": self.vae.likelihood.scale.clone()}
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()}, **options)
