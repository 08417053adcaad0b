"""`VAETraining`: how the model learns, as a LightningModule."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from vae.metrics.posterior import AggregatePosterior
from vae.model.discriminator import Discriminator
from vae.model.distributed import all_mean
from vae.model.elbo import kl_divergence
from vae.model.vae import VAE
from vae.training.averaging import ExponentialMovingAverage
from vae.training.callbacks import CollapseWarning, NonFiniteGuard, is_collapsed
from vae.training.evaluation import VAEEvaluation
from vae.training.health_logger import evenly_spaced, pictures_in_rows
from vae.training.losses.objective import batch_loss, loss_terms
from vae.training.losses.terms import LossInputs, LossTerm
from vae.training.optimizer import build_optimizer, clip_gradients, set_learning_rates
from vae.training.options import TrainingOptions, arguments
from vae.training.progress import ProgressModule
from vae.training.progress_bar import shown_steps
from vae.training.schedule import Schedule

_VARIANTS = 64  # of a compiled network: training, with and without gradients, two batch sizes, validation, health
_FITTED_PICTURES, _FITTED_BATCH = 4096, 64
_INITIAL_KL = 10.0  # nats: no latent is inactive until some hundred steps have shown that it says little
_KL_MOMENTUM = 0.98
_LEAST_FLOW_STEPS, _USUAL_COST = 200, 64 * 64  # image size times width
_LEAST_ACTIVE = 2  # latents, so that there is a path
_ACTIVE_KL = 0.1  # nats
_BETA_FALL, _LEAST_BETA = 0.98, 1 / 64  # of β in a step while the posterior is collapsing; over its planned value


class VAETraining(ProgressModule, VAEEvaluation):
    """Trains a VAE by maximising the ELBO.

    Args:
        **options: those of `TrainingOptions`.
    """

    kl_average: Tensor
    beta_factor: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = TrainingOptions(**options)
        self.save_hyperparameters(asdict(self.options))
        self.schedule = Schedule(self.options)
        self.vae = VAE(**arguments(self.options))
        self._phase_begun = False
        self.losses = nn.ModuleDict(loss_terms(self.options, self.options, self.options.decoder_share > 0))
        latent_dim = self.options.latent_dim
        self.register_buffer("kl_average", torch.full((latent_dim,), _INITIAL_KL))
        self.register_buffer("beta_factor", torch.ones(()))
        self.to(memory_format=torch.channels_last)
        if self.options.compile:
            torch._dynamo.config.recompile_limit = _VARIANTS
            for part in (self.vae.encoder.features, self.vae.decoder.layers):
                part.compile()
        self.nonfinite_guard = NonFiniteGuard(
            self.options.skip_at_most if self.options.on_nonfinite == "skip" else None
        )
        self.train_posterior, self.val_posterior = AggregatePosterior(latent_dim), AggregatePosterior(latent_dim)

    def setup(self, stage: str) -> None:
        """Fits the given latents to training pictures, up to 4,096 of them from all over the set."""
        if stage == "fit" and self.vae.pca_latents is not None:
            self.vae.pca_latents.fit(self._fitted_batches(), self.options.pca_share)

    def _fitted_batches(self) -> Iterator[Tensor]:
        """The training pictures that PCA and whitening are fitted to, evenly from all over the set."""
        pictures = self.trainer.datamodule.train_set  # type: ignore[attr-defined]
        for rows in torch.split(evenly_spaced(len(pictures), _FITTED_PICTURES), _FITTED_BATCH):
            yield pictures_in_rows(pictures, rows)

    def _fitted_classes(self) -> Tensor | None:
        """The numbers of the classes of these pictures, (N,); None if there are no classes."""
        if not self.options.classes:
            return None
        numbers: Tensor = self.trainer.datamodule.train_classes  # type: ignore[attr-defined]
        return numbers[evenly_spaced(len(numbers), _FITTED_PICTURES)].to(self.device)

    def configure_callbacks(self) -> list[pl.Callback]:
        """The guards, and while fitting an average of the weights, which validation and checkpoints then use."""
        fitting = self.trainer.state.fn == "fit"
        device = self.trainer.strategy.root_device  # by itself it would stay where the weights are now, on the CPU
        average = [ExponentialMovingAverage(device, self.options.ema_decay)] if fitting else []
        return [self.nonfinite_guard, CollapseWarning(), *average]

    @property
    def discriminator(self) -> Discriminator | None:
        """The one of the adversarial term; None without that term."""
        return self.losses["adversarial"].discriminator if "adversarial" in self.losses else None  # type: ignore[return-value]

    @property
    def decoder_phase(self) -> bool:
        """True if the decoder learns alone, with the discriminator."""
        return self.schedule.decoder_phase(self.progress)

    @property
    def frozen(self) -> nn.Module | None:
        """The part that does not learn in this phase: the encoder, or the discriminator if there is one."""
        return self.vae.encoder if self.decoder_phase else self.discriminator

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """The loss of a batch, see `vae.training.losses.objective.batch_loss`."""
        terms = cast(Iterable[LossTerm], self.losses.values())
        beta = self.schedule.beta(self.max_progress) * self.beta_factor
        generator = torch.Generator(self.device).manual_seed(self.noise_seed)
        phase, decoder_phase = self.schedule.phase_progress(self.progress), self.decoder_phase
        loss, batch, values = batch_loss(self.vae, terms, x, beta, self.global_step, phase, decoder_phase, generator)
        self._update_statistics(batch, decoder_phase)
        self._log_step(batch, values)
        return loss + self._unused_weights(x)

    def _fit_latents(self, decoder_phase: bool) -> None:
        """At the beginning of the decoder's phase, when the codes stay: their coordinates, and what is random there."""
        begins, self._phase_begun = decoder_phase and not self._phase_begun, decoder_phase
        fits = [fit for fit in (self.vae.whitening, self.vae.flow) if fit is not None]
        if not decoder_phase:
            for fit in fits:
                fit.fitted.zero_()  # a training that was made longer has another such phase
        begins = begins and not all(fit.fitted for fit in fits)
        found = self._posteriors() if begins else []
        if begins and self.vae.whitening is not None:
            self.vae.whitening.fit(found)
            whitened = [self.vae.whitening(*posterior) for posterior in found]
            self.kl_average.copy_(torch.cat([kl_divergence(*posterior) for posterior in whitened]).mean(0))
        if self.vae.inactive is not None:
            least = self.kl_average.topk(min(_LEAST_ACTIVE, len(self.kl_average))).values[-1]
            says_little = (self.kl_average < self.options.inactive_below) & (self.kl_average < least)
            self.vae.inactive.copy_(says_little * decoder_phase)
        if begins and self.vae.flow is not None:
            cost = (self.vae.image_size * self.options.width / _USUAL_COST) ** 2  # of the training's steps
            steps = max(_LEAST_FLOW_STEPS, round(min(2, 2 * cost) * self.global_step))
            generator = torch.Generator(self.device).manual_seed(self.noise_seed)
            text = "learning where random latents lie"
            self.vae.flow.fit(
                found,
                steps,
                generator,
                lambda steps: shown_steps(self.trainer, steps, text),
                self._fitted_classes(),
                None if self.vae.whitening is None else self.vae.whitening.undo,
            )

    @torch.no_grad()
    def _posteriors(self) -> list[tuple[Tensor, Tensor]]:
        """Of training pictures, `mu` and `logvar` of each batch, in the coordinates before whitening."""
        encode = self.vae.encode if self.vae.whitening is None else self.vae.encoder
        return [encode(x.to(self.device)) for x in self._fitted_batches()]

    def _update_statistics(self, batch: LossInputs, decoder_phase: bool) -> None:
        if not decoder_phase:
            self.kl_average.lerp_(all_mean(batch.elbo.kl.detach().mean(0)), 1 - _KL_MOMENTUM)
            collapsing = is_collapsed((self.kl_average > _ACTIVE_KL).sum(), len(self.kl_average))
            collapsing = collapsing & (
                self.schedule.beta(self.max_progress) <= self.options.beta
            )  # else it falls anyway
            fallen = (_BETA_FALL * self.beta_factor).clamp_min(_LEAST_BETA)
            self.beta_factor.copy_(torch.where(collapsing, fallen, self.beta_factor))
        self.train_posterior.update(batch.mu.detach(), batch.logvar.detach())

    def _unused_weights(self, x: Tensor) -> Tensor:
        """() 0, which for DDP depends on the weights of the frozen part: it waits for a gradient of each weight."""
        if self.trainer.world_size == 1 or self.frozen is None:
            return x.new_zeros(())
        return 0 * torch.stack([weight.sum() for weight in self.frozen.parameters()]).sum()

    def _log_step(self, batch: LossInputs, values: dict[str, Tensor]) -> None:
        """Logs the steps that are written; between them callbacks see the values of the last one."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every > 0 and (self.global_step + 1) % every == 0:
            self._log_elbo("train", batch.elbo, on_step=True, on_epoch=False, sync_dist=True)
            self.log_dict({"train/beta": batch.beta, "train/lr": self._learning_rate})
            self.log_dict({f"train/{name}": value for name, value in values.items()}, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Also the number of dimensions that were used in training."""
        super().on_validation_epoch_end()
        if self.train_posterior.update_called:
            self.log("train/active_units", self.train_posterior.compute().active_units, sync_dist=True)
            self.train_posterior.reset()

    @property
    def _learning_rate(self) -> float:
        return self.options.lr * self.schedule.learning_rate(self.progress, self.global_step)

    def build_optimizer(self) -> torch.optim.AdamW:
        """AdamW, as one kernel for all weights unless Lightning scales the loss: it would unscale after clipping."""
        fused = self._trainer is None or self.trainer.scaler is None
        return build_optimizer(self.vae, self.discriminator, self.options, fused)

    def configure_optimizers(self) -> torch.optim.AdamW:
        return self.build_optimizer()

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        """Sets the learning rates of the step, and what is fitted to codes where the decoder's phase begins."""
        super().on_train_batch_start(batch, batch_idx)
        self._fit_latents(self.decoder_phase)
        self.nonfinite_guard.remember(self)
        set_learning_rates(self.trainer.optimizers[0], self._learning_rate, self.decoder_phase)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Removes the gradients of the frozen part: AdamW would count one of 0 as a step."""
        for weight in self.frozen.parameters() if self.frozen is not None else ():
            weight.grad = None

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips by norm, the discriminator apart. Lightning's own refuses a fused optimizer under bf16."""
        if self.trainer.scaler is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            self.nonfinite_guard.check_gradient(self, clip_gradients([self.vae, self.discriminator], gradient_clip_val))
