"""`VAETraining`: how the model learns, as a LightningModule."""

from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor

from data.system.errors import UserError
from vae.metrics.posterior import AggregatePosterior
from vae.model.config import VAEConfig
from vae.model.discriminator import Discriminator
from vae.model.distributed import all_gather, all_mean, local_part, world_size
from vae.model.elbo import Elbo, kl_divergence, objective
from vae.model.likelihoods import LikelihoodName
from vae.model.networks import squash
from vae.model.vae import VAE
from vae.training.alarms import CollapseWarning, NonFiniteGuard
from vae.training.averaging import ExponentialMovingAverage
from vae.training.evaluation import VAEEvaluation
from vae.training.health_logger import pictures_at, spread
from vae.training.moments import MomentMatching
from vae.training.optimizer import clip, optimizers
from vae.training.progress import ProgressModule
from vae.training.schedule import Schedule
from vae.training.unseen import midpoints_and_samples

_VARIANTS = 64  # of a compiled network: training, with and without gradients, two batch sizes, validation, health
_ANCHORING, _AT_ONCE = 4096, 64
_INITIAL_KL = 10.0  # nats: no latent is inactive until some hundred steps have shown that it says little
_AMOUNTS = (
    "beta",
    "beta_start",
    "free_bits",
    "moment_weight",
    "inactive_below",
    "adversarial_weight",
    "cycle_weight",
    "palette",
    "lr",
    "warmup_steps",
    "skip_at_most",
    "weight_decay",
)
_SHARES = ("beta_share", "hold_share", "pca_share", "decoder_share", "ema_decay")


class VAETraining(ProgressModule, VAEEvaluation):
    """Trains a VAE by maximising the ELBO.

    Args:
        image_size: side of the images in pixels; the data says it.
        channels: 1 or 3; the data says it.
        latent_dim: D, how many numbers describe a picture.
        width: channels of the networks' widest map, a multiple of 8; cost grows with its square.
        likelihood: p(x|z): `wavelet`, `gaussian`, `laplace` or `bernoulli`.
        sigma: fixed scale of a likelihood, but not bernoulli's, on pixels in [-1, 1]; null calibrates it (σ-VAE).
        beta: weight of the KL term at the end of its schedule (β-VAE, Higgins 2017).
        beta_start: its weight at the start: 0 is KL warm-up (Bowman 2016), a large one unfolds the latent space first.
        beta_share: share of the training over which the weight goes from beta_start to beta.
        free_bits: nats that each dimension may use at no cost (Kingma 2016).
        moment_weight: weight of the distance of the aggregate posterior's first two moments from the prior's
            (DIP-VAE-II, Kumar 2018); 0 is off.
        pca_share: principal components of the blurred pictures with more than this share of their variance become
            the first latents, which then cannot fold; 0 is off.
        palette: colours that a whole picture shares, mixed by soft masks; for graphics and textiles; 0 is off.
        decoder_share: the last share of the training, in which the encoder stays as it is and the decoder alone
            learns; 0 is off.
        inactive_below: latents that carry fewer nats than this when the encoder comes to rest become inactive, so that
            they do not disturb a morph; 0 is off.
        adversarial_weight: weight, in nats per dimension and over σ, of what a discriminator says of morphs and samples
            in that last share (VAE/GAN, Larsen 2016); 0 is off. The likelihood pulls at a pixel by about 1/σ, and so
            the discriminator keeps pace (as the adaptive weight of Esser 2021, section 3.1, does).
        cycle_weight: weight, in that last share, of the distance between the latents of morphs and samples and those
            that the encoder reads from their pictures; 0 is off.
        lr: peak learning rate of AdamW.
        weight_decay: AdamW's.
        warmup_steps: steps over which the learning rate rises.
        hold_share: share of the training before the learning rate falls along a cosine.
        ema_decay: how slowly the average of the weights, which is what is kept, follows them: 0.995 is some 200 steps.
        compile: compile the networks with torch.compile: meant for GPUs; slower on the CPUs that were tried.
        on_nonfinite: what a loss or gradient that is not finite does: `stop` ends the training, `skip` leaves out steps
            with such a gradient, which makes the host wait for the device in every step.
        skip_at_most: so many steps.
    """

    kl_average: Tensor

    def __init__(
        self,
        image_size: int = VAEConfig.image_size,
        channels: int = VAEConfig.channels,
        latent_dim: int = VAEConfig.latent_dim,
        width: int = VAEConfig.width,
        likelihood: LikelihoodName = VAEConfig.likelihood,
        sigma: float | None = VAEConfig.sigma,
        beta: float = 10.0,
        beta_start: float = 100.0,
        beta_share: float = 0.3,
        free_bits: float = 0.0,
        moment_weight: float = 40.0,
        pca_share: float = VAEConfig.pca_share,
        palette: int = VAEConfig.palette,
        decoder_share: float = 0.4,
        inactive_below: float = VAEConfig.inactive_below,
        adversarial_weight: float = 0.03,
        cycle_weight: float = 5.0,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        warmup_steps: int = 100,
        hold_share: float = 0.4,
        ema_decay: float = 0.995,
        compile: bool = False,
        on_nonfinite: Literal["stop", "skip"] = "stop",
        skip_at_most: int = 10,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.recipe: Any = self.hparams
        self.schedule = Schedule.of(dict(self.recipe))
        for names, end, allowed in (
            (_AMOUNTS, 1e30, "0 or more, within float32"),
            (_SHARES, 1, "from 0 to below 1"),
        ):
            for name in names:
                if not 0 <= self.recipe[name] < end:
                    raise UserError(f"{name} {self.recipe[name]}: must be {allowed}")
        if not lr:
            raise UserError("lr 0: nothing would be learnt; give more than 0")
        self.vae = VAE(image_size, channels, latent_dim, width, likelihood, sigma, palette, pca_share, inactive_below)
        self.register_buffer("kl_average", torch.full((latent_dim,), _INITIAL_KL))
        self.moment_matching = MomentMatching(latent_dim)
        self.discriminator = (
            Discriminator(image_size, channels, width) if adversarial_weight and decoder_share else None
        )
        self.to(memory_format=torch.channels_last)
        if compile:
            torch._dynamo.config.recompile_limit = _VARIANTS
            for part in (self.vae.encoder.features, self.vae.decoder.layers):
                part.compile()
        self.alarm = NonFiniteGuard(skip_at_most if on_nonfinite == "skip" else None)
        self.train_posterior, self.val_posterior = AggregatePosterior(latent_dim), AggregatePosterior(latent_dim)

    def setup(self, stage: str) -> None:
        """Fits the anchors to training pictures, up to 4,096 of them from all over the set."""
        if stage == "fit" and self.vae.pca_latents is not None:
            pictures = self.trainer.datamodule.train_set  # type: ignore[attr-defined]
            rows = torch.split(spread(len(pictures), _ANCHORING), _AT_ONCE)
            batches = (pictures_at(pictures, some) for some in rows)
            self.vae.pca_latents.fit(batches, self.recipe.pca_share)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """What rests gets no gradient, rather than one of 0, which AdamW would count as a step."""
        for part in (self.vae.encoder if self._sharpening else self.discriminator,):
            for weight in part.parameters() if part is not None else ():
                weight.grad = None

    @property
    def _sharpening(self) -> bool:
        return self.schedule.sharpening(self.progress)

    @property
    def _told(self) -> bool:
        """Whether a step's numbers will be written; between such steps callbacks see those of the last one."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and (self.trainer.global_step + 1) % every == 0

    def configure_callbacks(self) -> list[pl.Callback]:
        """The alarms, and while fitting an average of the weights, which validation and checkpoints then use."""
        fitting = self.trainer.state.fn == "fit"
        device = self.trainer.strategy.root_device  # by itself it would stay where the weights are now, on the CPU
        average = [ExponentialMovingAverage(device, self.recipe.ema_decay)] if fitting else []
        return [self.alarm, CollapseWarning(), *average]

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """What is made small, in nats per dimension, so that its scale does not depend on the size of the images."""
        sharpening, weights, beta = self._sharpening, self.recipe, self.schedule.current_beta(self.furthest)
        if self.vae.inactive is not None:
            self.vae.inactive.copy_((self.kl_average < weights.inactive_below) * sharpening)
        with torch.set_grad_enabled(not sharpening):
            mu, logvar = self.vae.encode(x)
        draws = torch.Generator(self.device).manual_seed(self.noise_seed(self.trainer.global_step, batch_idx))
        noise = torch.randn(world_size() * len(x), mu.shape[1], generator=draws, device=self.device)
        z = self.vae.reparameterize(mu, logvar, local_part(noise))
        critic, cycle = (self.discriminator, weights.cycle_weight) if sharpening else (None, 0)
        unseen = local_part(midpoints_and_samples(all_gather(mu), draws)) if critic is not None or cycle else mu[:0]
        logits = self.vae.logits(torch.cat([z, unseen]))
        elbo = Elbo(self.vae.likelihood.log_prob(logits[: len(x)], x), kl_divergence(mu, logvar))
        loss = -objective(elbo, beta, weights.free_bits)
        if not sharpening:
            loss = loss + weights.moment_weight * self.moment_matching(mu, logvar)
            self.kl_average.lerp_(all_mean(elbo.kl.detach().mean(0)), 0.02)
        loss = loss / self.vae.dims
        drawn = squash(logits[len(x) :])
        if cycle:
            loss = loss + cycle * self.vae.cycle_error(unseen, drawn)
        if critic is not None:
            verdict, doubts = critic.losses(x, drawn, self.trainer.global_step)
            if self._told:
                self.log_dict({"train/discriminator_loss": verdict, "train/adversarial_loss": doubts}, sync_dist=True)
            sigma = self.vae.likelihood.scale.nan_to_num(1)  # bernoulli has none
            loss = loss + verdict + weights.adversarial_weight * doubts / sigma
        resting = self.vae.encoder if sharpening else self.discriminator
        if self.trainer.world_size > 1 and resting is not None:  # of which DDP still wants to hear
            loss = loss + 0 * torch.stack([weight.sum() for weight in resting.parameters()]).sum()
        if self._told:
            self._log_elbo("train", elbo, on_step=True, on_epoch=False, sync_dist=True)
            self.log_dict({"train/beta": beta, "train/lr": self.trainer.optimizers[0].param_groups[1]["lr"]})
        self.train_posterior.update(mu.detach(), logvar.detach())
        return loss

    def on_validation_epoch_end(self) -> None:
        """Also how many dimensions were used in training."""
        super().on_validation_epoch_end()
        if self.train_posterior.update_called:
            self.log("train/active_units", self.train_posterior.compute().active_units, sync_dist=True)
            self.train_posterior.reset()

    @property
    def fused(self) -> bool:
        """Whether AdamW is one kernel for all weights. It would unscale gradients by itself, too late for clipping."""
        return self._trainer is None or self.trainer.scaler is None

    def configure_optimizers(self) -> Any:
        """AdamW, fused where it can be."""
        return optimizers(self.vae, self.discriminator, self.schedule, self.recipe, self.fused, lambda: self.progress)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips by norm, the discriminator apart. Lightning's own refuses a fused optimizer under bf16."""
        if self.trainer.scaler is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            self.alarm.judge(self, clip([self.vae, self.discriminator], gradient_clip_val))
