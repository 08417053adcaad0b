"""`MorphLogger`: morphs, reconstructions, samples and codes of a training, in loggers and as files."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from data.system.errors import check_at_least
from data.transforms import to_uint8
from vae.inference import decode_all, encode_means
from vae.latent.paths import BETWEEN_TWO, slerp
from vae.latent.timing import times
from vae.metrics.smoothness import gradient_energy
from vae.model.vae import VAE
from vae.render.formats.writers import encode_animation
from vae.render.growth.morph_files import FPS, Moment, remove_later_morphs, save_morph
from vae.training.health_logger import validation_pictures
from vae.training.loggers.media import Media, log_media, media_loggers
from vae.training.progress import ProgressModule
from vae.training.progress_bar import shown_steps
from vae.training.tensorboard.projector import MOST_CODES, write_codes

_log = logging.getLogger(__name__)
_SAMPLES, _RECONSTRUCTIONS = 32, 8
_COMPARED = 128  # pictures whose sharpness is that of real ones
_SMALLEST_TILE = 64  # pixels; smaller pictures are enlarged for the eye
_LARGEST_TILE = 128  # of a morph, so that its file stays small


class _Morph(NamedTuple):
    gif: bytes
    sharpness: float | None  # as of `Moment`


class MorphLogger(pl.Callback):
    """Shows morphs, reconstructions and samples after each epoch, and at the end the codes of held-out pictures.

    The keyframes are the same in every epoch: two pairs of latents from the prior and two pairs of held-out pictures.
    Loggers of TensorBoard, Weights & Biases and MLflow get the GIFs `images/morph/linear`, `…/slerp` and `…/loop` and
    the pictures `images/reconstruction` and `images/samples`; TensorBoard gets the codes for its Projector. The GIFs
    become files, too.

    Args:
        every_n_epochs: how often; 0 is never.
        frames: frames from one keyframe to the next, half as many in a loop.

    Attributes:
        folder: of the run's logs, for the files; None writes none.
    """

    def __init__(self, every_n_epochs: int = 1, frames: int = 16) -> None:
        check_at_least(0, "watch.every_n_epochs", every_n_epochs)
        check_at_least(3, "watch.frames", frames)
        self.every_n_epochs, self.frames = every_n_epochs, frames
        self.folder: Path | None = None
        self._pictures: Tensor | None = None
        self._energy = 0.0
        self._failed = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Removes the files of what an earlier training in the folder did after the place from which this goes on."""
        if self.folder is not None and trainer.is_global_zero:
            remove_later_morphs(self.folder, _place(pl_module).pictures_seen)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Renders in the first process, without waiting for the others; an error here does not stop the training."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if due and fitting and trainer.is_global_zero and (self.folder or media_loggers(trainer)):
            with self._faults("morphs"):
                self._log_pictures(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the codes of a complete training, with the average of its weights, which the module has by now."""
        loggers = [logger for logger in media_loggers(trainer) if isinstance(logger, TensorBoardLogger)]
        if self.every_n_epochs and trainer.is_global_zero and loggers and trainer.val_dataloaders is not None:
            with self._faults("codes"):
                pictures = validation_pictures(trainer, MOST_CODES)
                for logger in loggers:
                    logs = Path(logger.experiment.get_logdir())
                    vae: VAE = pl_module.vae  # type: ignore[assignment]
                    write_codes(logs, vae, pictures, lambda batches: shown_steps(trainer, batches, "writing codes"))

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        """Warns of the first error."""
        try:
            yield
        except Exception as error:
            if not self._failed:
                _log.warning("No %s can be shown (%s); the training goes on.", what, error)
            self._failed = True

    @torch.inference_mode()
    def _log_pictures(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        vae: VAE = pl_module.vae  # type: ignore[assignment]
        if self._pictures is None:
            self._energy = float(gradient_energy(validation_pictures(trainer, _COMPARED)).mean())
            self._pictures = validation_pictures(trainer, _RECONSTRUCTIONS)
            self._pictures = self._pictures[torch.arange(_RECONSTRUCTIONS) % len(self._pictures)]
        pictures = self._pictures.to(pl_module.device)
        mu = encode_means(vae, pictures)
        draws = torch.randn(_SAMPLES, vae.latent_dim, generator=torch.Generator().manual_seed(0))
        prior = vae.random_latents(draws.to(mu))
        morphs = self._morphs(vae, prior[:4], mu[:4])
        if self.folder is not None:
            seen, epoch = _place(pl_module).pictures_seen, _place(pl_module).order.count
            for path, morph in morphs.items():
                save_morph(morph.gif, self.folder, path, seen, Moment(seen / epoch, morph.sharpness))
        if loggers := media_loggers(trainer):
            pair = torch.cat([pictures, decode_all(vae, mu)])
            stills = {"reconstruction": _grid(pair, len(pictures)), "samples": _grid(decode_all(vae, prior), 8)}
            media = Media(
                {f"images/morph/{path}": morph.gif for path, morph in morphs.items()},
                {f"images/{name}": picture.numpy() for name, picture in stills.items()},
            )
            for logger in loggers:
                log_media(logger, media, trainer.global_step - 1)  # where Lightning writes the validation's numbers

    def _morphs(self, vae: VAE, prior: Tensor, encoded: Tensor) -> dict[str, _Morph]:
        """Four open morphs in a square for each path, and two loops side by side."""
        keyframes = torch.cat([prior, encoded]).cpu()
        walks = {
            name: [path(pair, times(1, self.frames), False) for pair in keyframes.reshape(4, 2, -1)]
            for name, path in BETWEEN_TWO.items()
        }
        loop_times = times(4, max(1, self.frames // 2), closed=True)
        walks["loop"] = [slerp(keyframes_, loop_times, True) for keyframes_ in keyframes.reshape(2, 4, -1)]
        return {name: self._morph(vae, each) for name, each in walks.items()}

    def _morph(self, vae: VAE, walks: list[Tensor]) -> _Morph:
        """Several walks (N, D) side by side, two in a row."""
        x = decode_all(vae, torch.stack(walks, dim=1).flatten(0, 1))
        sharpness = float(gradient_energy(x).mean()) / self._energy if self._energy else None
        if x.shape[-1] > _LARGEST_TILE:
            x = F.interpolate(x, (_LARGEST_TILE, _LARGEST_TILE), mode="bilinear", antialias=True)
        frames = [_grid(tiles, 2).numpy() for tiles in torch.split(x, len(walks))]
        return _Morph(encode_animation(frames, ".gif", FPS), sharpness)


def _place(module: Any) -> ProgressModule:
    return module


def _grid(x: Tensor, columns: int) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] side by side, enlarged where they are small: uint8 (H', W', 3)."""
    scale = max(1, _SMALLEST_TILE // x.shape[-1])
    tiles = F.interpolate(x.float(), scale_factor=scale, mode="nearest")
    return to_uint8(make_grid(tiles, columns, padding=2, pad_value=1)[None])[0].cpu()
