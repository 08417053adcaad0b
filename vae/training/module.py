"""`VAETraining`: how the model learns, as a LightningModule."""

from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from data.system.errors import UserError
from vae.metrics.posterior import AggregatePosterior
from vae.model.discriminator import Discriminator
from vae.model.distributed import all_gather, all_mean, local_part, world_size
from vae.model.elbo import Elbo, kl_divergence
from vae.model.likelihoods import LikelihoodName
from vae.model.networks import squash
from vae.model.vae import VAE
from vae.training.alarms import CollapseWarning, NonFiniteGuard
from vae.training.averaging import ExponentialMovingAverage
from vae.training.evaluation import VAEEvaluation
from vae.training.health_logger import pictures_at, spread
from vae.training.losses import (
    Adversarial,
    CycleConsistency,
    KLDivergence,
    LossInputs,
    LossTerm,
    MomentMatching,
    Reconstruction,
    sample_latents,
)
from vae.training.optimizer import clip, optimizers
from vae.training.progress import ProgressModule
from vae.training.schedule import Schedule

_VARIANTS = 64  # of a compiled network: training, with and without gradients, two batch sizes, validation, health
_ANCHORING, _AT_ONCE = 4096, 64
_INITIAL_KL = 10.0  # nats: no latent is inactive until some hundred steps have shown that it says little
_KL_MOMENTUM = 0.98
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
        image_size: int = 64,
        channels: int = 3,
        latent_dim: int = 16,
        width: int = 24,
        likelihood: LikelihoodName = "wavelet",
        sigma: float | None = None,
        beta: float = 10.0,
        beta_start: float = 100.0,
        beta_share: float = 0.3,
        free_bits: float = 0.0,
        moment_weight: float = 40.0,
        pca_share: float = 0.05,
        palette: int = 0,
        decoder_share: float = 0.4,
        inactive_below: float = 1.0,
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
        terms: list[LossTerm] = [Reconstruction(), KLDivergence(free_bits), MomentMatching(latent_dim, moment_weight)]
        if decoder_share and cycle_weight:
            terms.append(CycleConsistency(cycle_weight))
        if decoder_share and adversarial_weight:
            terms.append(Adversarial(Discriminator(image_size, channels, width), adversarial_weight))
        self.losses = nn.ModuleDict({term.name: term for term in terms})
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

    @property
    def discriminator(self) -> Discriminator | None:
        """The one of the adversarial term; None without that term."""
        return self.losses["adversarial"].discriminator if "adversarial" in self.losses else None  # type: ignore[return-value]

    @property
    def decoder_phase(self) -> bool:
        """Whether the decoder learns alone, with the discriminator."""
        return self.schedule.decoder_phase(self.progress)

    @property
    def frozen(self) -> nn.Module | None:
        """The part that does not learn in this phase: the encoder, or the discriminator if there is one."""
        return self.vae.encoder if self.decoder_phase else self.discriminator

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Removes the gradients of the frozen part: AdamW would count one of 0 as a step."""
        for weight in self.frozen.parameters() if self.frozen is not None else ():
            weight.grad = None

    def configure_callbacks(self) -> list[pl.Callback]:
        """The alarms, and while fitting an average of the weights, which validation and checkpoints then use."""
        fitting = self.trainer.state.fn == "fit"
        device = self.trainer.strategy.root_device  # by itself it would stay where the weights are now, on the CPU
        average = [ExponentialMovingAverage(device, self.recipe.ema_decay)] if fitting else []
        return [self.alarm, CollapseWarning(), *average]

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """The loss of a batch, in nats per dimension, so that its scale does not depend on the size of the images."""
        decoder_phase, beta = self.decoder_phase, self.schedule.current_beta(self.furthest)
        terms = [term for term in self._terms() if term.decoder_phase in (None, decoder_phase)]
        if self.vae.inactive is not None:
            self.vae.inactive.copy_((self.kl_average < self.recipe.inactive_below) * decoder_phase)
        with torch.set_grad_enabled(not decoder_phase):
            mu, logvar = self.vae.encode(x)
        generator = torch.Generator(self.device).manual_seed(self.noise_seed(self.trainer.global_step, batch_idx))
        noise = torch.randn(world_size() * len(x), mu.shape[1], generator=generator, device=self.device)
        z = self.vae.reparameterize(mu, logvar, local_part(noise))
        generates = any(term.decoder_phase for term in terms)
        generated_z = local_part(sample_latents(all_gather(mu), generator)) if generates else mu[:0]
        logits = self.vae.logits(torch.cat([z, generated_z]))
        elbo = Elbo(self.vae.likelihood.log_prob(logits[: len(x)], x), kl_divergence(mu, logvar))
        generated_x, step = squash(logits[len(x) :]), self.trainer.global_step
        batch = LossInputs(self.vae, x, mu, logvar, elbo, generated_z, generated_x, beta, step)
        values, logs = zip(*(term(batch) for term in terms), strict=True)
        self._follow(batch, decoder_phase)
        if self._is_logged:
            self._log_step(batch, {name: number for log in logs for name, number in log.items()})
        return sum(values, start=self._unused(x))

    def _terms(self) -> list[LossTerm]:
        return list(self.losses.values())  # type: ignore[arg-type]

    def _follow(self, batch: LossInputs, decoder_phase: bool) -> None:
        """Adds a batch to the running KL of each dimension, until the decoder learns alone, and to the posterior."""
        if not decoder_phase:
            self.kl_average.lerp_(all_mean(batch.elbo.kl.detach().mean(0)), 1 - _KL_MOMENTUM)
        self.train_posterior.update(batch.mu.detach(), batch.logvar.detach())

    def _unused(self, x: Tensor) -> Tensor:
        """() 0, which for DDP depends on the weights of the frozen part: it waits for a gradient of each weight."""
        if self.trainer.world_size == 1 or self.frozen is None:
            return x.new_zeros(())
        return 0 * torch.stack([weight.sum() for weight in self.frozen.parameters()]).sum()

    @property
    def _is_logged(self) -> bool:
        """Whether this step's numbers are written; between such steps callbacks see those of the last one."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and (self.trainer.global_step + 1) % every == 0

    def _log_step(self, batch: LossInputs, numbers: dict[str, Tensor]) -> None:
        self._log_elbo("train", batch.elbo, on_step=True, on_epoch=False, sync_dist=True)
        self.log_dict({"train/beta": batch.beta, "train/lr": self.trainer.optimizers[0].param_groups[1]["lr"]})
        self.log_dict({f"train/{name}": number for name, number in numbers.items()}, sync_dist=True)

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
