"""What is watched while training: morphs and their smoothness in TensorBoard, and two alarms."""

import logging

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from data.errors import UserError
from data.pixels import to_tensor, to_uint8
from vae.animation import encode
from vae.frames import Frame
from vae.model import VAE
from vae.paths import PATHS
from vae.smoothness import Smoothness, smoothness
from vae.timeline import times

_log = logging.getLogger(__name__)
_SAMPLES, _RECONSTRUCTIONS = 32, 8
_SMALLEST_TILE = 64  # pixels; smaller pictures are enlarged for the eye
_FPS = 12


def _layout() -> dict[str, dict[str, list[object]]]:
    """TensorBoard's custom scalars: what belongs together on one chart."""

    def chart(*tags: str) -> list[object]:
        return ["Multiline", list(tags)]

    both = [(term, f"train/{term}", f"val/{term}") for term in ("elbo", "reconstruction", "kl", "bits_per_dim")]
    return {
        "ELBO": {term: chart(train, val) for term, train, val in both},
        "Smoothness": {name: chart(*(f"smoothness/{name}/{path}" for path in PATHS)) for name in Smoothness._fields},
        "Latents": {"active units": chart("train/active_units", "val/active_units"), "beta": chart("train/beta")},
    }


class MorphLogger(pl.Callback):
    """Shows each epoch how morphs look and how smooth they are.

    The keyframes are the same in every epoch: two pairs of latents from the prior and two pairs of held-out pictures.
    TensorBoard gets the GIFs `morph/linear`, `morph/slerp` and `morph/loop`, the pictures `images/reconstruction` and
    `images/samples`, and the numbers `smoothness/…`; other loggers get the numbers.

    Args:
        every_n_epochs: how often; 0 is never.
        frames: frames from one keyframe to the next, half as many in a loop.
        pairs: pairs of held-out pictures whose morphs are measured.
    """

    def __init__(self, every_n_epochs: int = 1, frames: int = 16, pairs: int = 12) -> None:
        if every_n_epochs < 0 or frames < 3 or pairs < 2:
            raise UserError("watch: every_n_epochs must be at least 0, frames at least 3, pairs at least 2")
        self.every_n_epochs, self.frames, self.pairs = every_n_epochs, frames, pairs
        self._pictures: Tensor | None = None

    @torch.inference_mode()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Renders on the first process alone; nothing here waits for the others."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if not due or trainer.sanity_checking or not trainer.is_global_zero or not trainer.loggers:
            return
        if trainer.state.fn != "fit":
            return
        vae: VAE = pl_module.vae  # type: ignore[assignment]
        if self._pictures is None:
            self._pictures = _first_pictures(trainer.val_dataloaders, 2 * self.pairs)
            for logger in _tensorboards(trainer):
                logger.experiment.add_custom_scalars(_layout())
        pictures = self._pictures.to(pl_module.device)
        mu = vae.encode(pictures)[0]
        prior = torch.randn(_SAMPLES, vae.latent_dim, generator=torch.Generator().manual_seed(0)).to(mu)

        scalars = self._measure(vae, mu, pictures)
        for any_logger in trainer.loggers:
            any_logger.log_metrics(scalars, step=trainer.global_step)
        for logger in _tensorboards(trainer):
            step = trainer.global_step
            for tag, movie in self._movies(vae, prior[:4], mu[:4]).items():
                _add_encoded(logger, tag, encode(movie, ".gif", _FPS), step)
            shown = pictures[:_RECONSTRUCTIONS]
            pair = torch.cat([shown, vae.decode(mu[:_RECONSTRUCTIONS])])
            logger.experiment.add_image("images/reconstruction", _grid(pair, len(shown)), step, dataformats="HWC")
            logger.experiment.add_image("images/samples", _grid(vae.decode(prior), 8), step, dataformats="HWC")

    def _measure(self, vae: VAE, mu: Tensor, pictures: Tensor) -> dict[str, float]:
        t = times(1, self.frames)
        pairs, ends = mu.reshape(-1, 2, mu.shape[1]), pictures.reshape(-1, 2, *pictures.shape[1:])
        different = (ends[:, 0] != ends[:, 1]).flatten(1).any(1)  # of too few pictures, some pairs are twice the same
        pairs, ends = pairs[different], ends[different]
        scalars: dict[str, float] = {}
        for name, path in PATHS.items() if len(pairs) else ():
            walks = torch.stack([path(pair.cpu(), t, False) for pair in pairs]).to(mu)
            for field, value in smoothness(vae, walks, ends)._asdict().items():
                scalars[f"smoothness/{field}/{name}"] = float(value)
        return scalars

    def _movies(self, vae: VAE, prior: Tensor, encoded: Tensor) -> dict[str, list[Frame]]:
        """Four open morphs in a square for each path, and two loops side by side."""
        keyframes = torch.cat([prior, encoded]).cpu()
        movies = {}
        for name, path in PATHS.items():
            walks = [path(pair, times(1, self.frames), False) for pair in keyframes.reshape(4, 2, -1)]
            movies[f"morph/{name}"] = _film(vae, walks)
        loop_times = times(4, max(1, self.frames // 2), closed=True)
        loops = [PATHS["slerp"](keyframes_, loop_times, True) for keyframes_ in keyframes.reshape(2, 4, -1)]
        movies["morph/loop"] = _film(vae, loops)
        return movies


class Alarms(pl.Callback):
    """Stops on a loss that is not finite, and warns when most latent dimensions have fallen silent.

    The loss is looked at on the device; the host asks only now and then, and always before a checkpoint is written.
    """

    def __init__(self) -> None:
        self._first_bad: Tensor | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Notes the step of the first bad loss."""
        assert isinstance(outputs, dict)
        loss = outputs["loss"].detach()
        never = torch.iinfo(torch.int64).max
        step = torch.where(loss.isfinite(), never, trainer.global_step)
        self._first_bad = step if self._first_bad is None else torch.minimum(self._first_bad, step)
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._check(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before `best.ckpt` could be written."""
        self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before `last.ckpt` is written."""
        self._check(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warns of posterior collapse."""
        active = trainer.callback_metrics.get("val/active_units")
        latent_dim = int(pl_module.vae.latent_dim)  # type: ignore[arg-type, union-attr]
        if active is not None and trainer.is_global_zero and not trainer.sanity_checking and 10 * active <= latent_dim:
            _log.warning(
                "Only %d of %d latent dimensions are active: the posterior is collapsing onto the prior. "
                "Lower --model.beta and --model.beta_start, or set --model.free_bits 0.1.",
                int(active),
                latent_dim,
            )

    def _check(self, trainer: pl.Trainer, pl_module: pl.LightningModule | None = None) -> None:
        """Raises `UserError` if a loss was, or, where a module is given, its weights are not finite."""
        if self._first_bad is None:
            return
        first = int(trainer.strategy.reduce(self._first_bad, reduce_op="min"))
        fault = f"the loss is not finite since step {first}" if first < torch.iinfo(torch.int64).max else None
        if pl_module is not None and not torch.stack([p.isfinite().all() for p in pl_module.parameters()]).all():
            fault = fault or f"the weights are not finite at step {trainer.global_step}"
        if fault:
            raise UserError(
                f"{fault}; checkpoints from before it are kept; lower --model.lr, or set --trainer.precision 32-true"
            )


def _tensorboards(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _first_pictures(loaders: object, count: int) -> Tensor:
    """The first `count` held-out pictures (N, C, H, W), from the beginning again where there are fewer."""
    batches: list[Tensor] = []
    for batch in loaders:  # type: ignore[attr-defined]
        batches.append(batch)
        if sum(map(len, batches)) >= count:
            break
    pictures = torch.cat(batches)
    pictures = pictures[torch.arange(count) % len(pictures)]
    return pictures if pictures.is_floating_point() else to_tensor(pictures)


def _grid(x: Tensor, columns: int) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] side by side: (H', W', 3) uint8."""
    scale = max(1, _SMALLEST_TILE // x.shape[-1])
    tiles = F.interpolate(x.float(), scale_factor=scale, mode="nearest")
    return to_uint8(make_grid(tiles, columns, padding=2, pad_value=1)[None])[0].cpu()


def _film(vae: VAE, walks: list[Tensor]) -> list[Frame]:
    """Frames that show several walks (N, D) in step, two in a row."""
    latents = torch.stack(walks, dim=1).to(next(vae.parameters()))
    return [_grid(vae.decode(moment), 2).numpy() for moment in latents]


def _add_encoded(logger: TensorBoardLogger, tag: str, picture: bytes, step: int) -> None:
    """Adds a picture as it is encoded; the Images tab plays GIFs, which `add_image` cannot pass on."""
    summary = Summary(value=[Summary.Value(tag=tag, image=Summary.Image(encoded_image_string=picture))])
    logger.experiment._get_file_writer().add_summary(summary, step)
