"""`VAETraining`: how the model learns, as a LightningModule."""

import math
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor
from torchmetrics import Metric

from data.errors import UserError
from vae.callbacks import Alarms
from vae.elbo import Elbo, anneal, bits_per_dim, objective
from vae.likelihoods import LikelihoodName
from vae.model import VAE

_IWAE_SAMPLES = 64


class ActiveUnits(Metric):
    """How many latent dimensions say anything: Var_x(mu_k) > 0.01 (Burda 2016, section 5.2)."""

    full_state_update = False
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(latent_dim), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, mu: Tensor) -> None:
        """Takes in posterior means, (N, D)."""
        self.total += mu.sum(0)
        self.squares += mu.square().sum(0)
        self.count += len(mu)

    def compute(self) -> Tensor:
        """() the number of active units over everything taken in."""
        mean = self.total / self.count
        return (self.squares / self.count - mean.square() > 0.01).sum().float()


class VAETraining(pl.LightningModule):
    """Trains a VAE by maximising the ELBO.

    Args:
        image_size: side of the images in pixels; the data says it.
        channels: 1 or 3; the data says it.
        latent_dim: D, how many numbers describe a picture.
        width: channels of the networks' widest map, a multiple of 8; cost grows with its square.
        likelihood: p(x|z): `gaussian`, `laplace` or `bernoulli`.
        sigma: fixed scale of a gaussian or laplace likelihood, on pixels in [-1, 1]; null calibrates it (σ-VAE).
        sigma_floor: what a calibrated scale cannot fall below; larger leaves more room to the KL term.
        beta: weight of the KL term at the end of its schedule (β-VAE, Higgins 2017).
        beta_start: its weight at the start: 0 is KL warm-up (Bowman 2016), a large one unfolds the latent space first.
        beta_share: share of the training over which the weight goes from beta_start to beta.
        free_bits: nats that each dimension may use at no cost (Kingma 2016).
        lr: peak learning rate of AdamW.
        weight_decay: AdamW's.
        warmup_steps: steps over which the learning rate rises.
        hold_share: share of the training before the learning rate falls along a cosine.
        ema_decay: how slowly the average of the weights, which is what is kept, follows them: 0.995 is some 200 steps.
        compile: compile the networks with torch.compile: slow to start, then faster.
    """

    def __init__(
        self,
        image_size: int = 64,
        channels: int = 3,
        latent_dim: int = 16,
        width: int = 24,
        likelihood: LikelihoodName = "gaussian",
        sigma: float | None = None,
        sigma_floor: float = 0.1,
        beta: float = 10.0,
        beta_start: float = 100.0,
        beta_share: float = 0.3,
        free_bits: float = 0.0,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        warmup_steps: int = 100,
        hold_share: float = 0.4,
        ema_decay: float = 0.995,
        compile: bool = False,
    ) -> None:
        super().__init__()
        least = {"beta": beta, "beta_start": beta_start, "free_bits": free_bits, "sigma_floor": sigma_floor, "lr": lr}
        for name, value in least.items():
            if not 0 <= value < math.inf:
                raise UserError(f"{name} {value}: must be 0 or more")
        if not 0 <= ema_decay < 1:
            raise UserError(f"ema_decay {ema_decay}: must be from 0 to below 1")
        self.save_hyperparameters()
        self.vae = VAE(image_size, channels, latent_dim, width, likelihood, sigma, sigma_floor)
        self.vae.to(memory_format=torch.channels_last)
        if compile:
            self.vae.compile()
        self.beta, self.beta_start, self.beta_share, self.free_bits = beta, beta_start, beta_share, free_bits
        self.lr, self.weight_decay, self.warmup_steps, self.hold_share = lr, weight_decay, warmup_steps, hold_share
        self.ema_decay, self._reached = ema_decay, 0.0
        self.train_active_units, self.val_active_units = ActiveUnits(latent_dim), ActiveUnits(latent_dim)

    @property
    def progress(self) -> float:
        """How much of the planned training is done, in [0, 1]; 0 where no end is planned."""
        trainer = self.trainer
        ends = [float(trainer.max_steps)] if trainer.max_steps > 0 else []
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            ends.append(trainer.max_epochs * trainer.num_training_batches / trainer.accumulate_grad_batches)
        return min(1.0, trainer.global_step / max(min(ends, default=math.inf), 1))

    def current_beta(self) -> float:
        """The KL's weight at this point of the training."""
        progress = max(self.progress, self._reached)
        return anneal(self.beta_start, self.beta, progress / self.beta_share if self.beta_share > 0 else 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes how far the schedule has come, so that β does not rise again where a longer training goes on."""
        checkpoint["progress"] = max(self.progress, self._reached)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Reads what `on_save_checkpoint` noted."""
        self._reached = checkpoint.get("progress", 0.0)

    def learning_rate_factor(self, step: int) -> float:
        """The learning rate over its peak: a linear warm-up, a plateau, then half a cosine down to 0.02."""
        warmup = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        fall = max(0.0, (self.progress - self.hold_share) / max(1 - self.hold_share, 1e-9))
        return warmup * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))

    def configure_callbacks(self) -> list[pl.Callback]:
        """The alarms, and while fitting an average of the weights, which validation and checkpoints then use."""
        fitting = self.trainer.state.fn == "fit"
        return [Alarms(), EMAWeightAveraging(decay=self.ema_decay)] if fitting else [Alarms()]

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """−objective in nats per dimension, so that its scale does not depend on the size of the images."""
        elbo, mu, _ = self.vae(x)
        beta = self.current_beta()
        self._log_elbo("train", elbo, on_step=True, on_epoch=False)
        self.log_dict({"train/beta": beta, "train/lr": self.trainer.optimizers[0].param_groups[0]["lr"]})
        self.train_active_units.update(mu.detach())
        self.log("train/active_units", self.train_active_units, on_step=False, on_epoch=True)
        return -objective(elbo, beta, self.free_bits) / self.vae.dims

    def validation_step(self, x: Tensor, batch_idx: int) -> None:
        """The ELBO of held-out pictures, with noise that is the same in every epoch."""
        elbo, mu, _ = self.vae(x, self._noise(batch_idx))
        self._log_elbo("val", elbo, batch_size=len(x), sync_dist=True)
        self.val_active_units.update(mu)
        self.log("val/active_units", self.val_active_units)

    def test_step(self, x: Tensor, batch_idx: int) -> None:
        """The ELBO, and the importance-weighted bound with 64 samples (Burda 2016), in nats per image."""
        elbo, _, _ = self.vae(x, self._noise(batch_idx))
        self._log_elbo("test", elbo, batch_size=len(x), sync_dist=True)
        bound = self.vae.importance_bound(x, _IWAE_SAMPLES, self._noise(batch_idx))
        self.log("test/iwae", bound.mean(), batch_size=len(x), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW, fused where it can be, following `learning_rate_factor`."""
        fused = self.trainer.scaler is None  # a fused optimizer unscales by itself, too late for clipping
        optimizer = torch.optim.AdamW(
            self.parameters(), self.lr, betas=(0.9, 0.99), weight_decay=self.weight_decay, fused=fused
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips by norm. Lightning's own refuses a fused optimizer under bf16, where no gradient is scaled."""
        if self.trainer.scaler is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def _noise(self, batch_idx: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(batch_idx)

    def _log_elbo(self, stage: str, elbo: Elbo, **options: Any) -> None:
        bound = elbo.value.mean()
        values = {"elbo": bound, "reconstruction": elbo.reconstruction.mean(), "kl": elbo.kl.sum(1).mean()}
        if self.vae.likelihood.density:
            values |= {"bits_per_dim": bits_per_dim(bound, self.vae.dims), "sigma": self.vae.likelihood.scale.clone()}
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()}, **options)
