"""`MorphLogger`: morphs, reconstructions and samples in TensorBoard's Images tab while training."""

import logging

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from data.system.errors import check_at_least
from data.transforms import to_uint8
from vae.inference import decode_all, encode_means
from vae.latent.paths import BETWEEN_TWO, slerp
from vae.latent.timing import times
from vae.model.vae import VAE
from vae.render.formats.frame import Frame
from vae.render.formats.writers import encode_animation
from vae.training.health_logger import validation_pictures
from vae.training.tensorboard.logger import RunLogger

_log = logging.getLogger(__name__)
_SAMPLES, _RECONSTRUCTIONS = 32, 8
_SMALLEST_TILE = 64  # pixels; smaller pictures are enlarged for the eye
_FPS = 12


class MorphLogger(pl.Callback):
    """Shows morphs, reconstructions and samples after each epoch.

    The keyframes are the same in every epoch: two pairs of latents from the prior and two pairs of held-out pictures.
    TensorBoard gets the GIFs `morph/linear`, `morph/slerp` and `morph/loop`, the pictures `images/reconstruction` and
    `images/samples`.

    Args:
        every_n_epochs: how often; 0 is never.
        frames: frames from one keyframe to the next, half as many in a loop.
    """

    def __init__(self, every_n_epochs: int = 1, frames: int = 16) -> None:
        check_at_least(0, "watch.every_n_epochs", every_n_epochs)
        check_at_least(3, "watch.frames", frames)
        self.every_n_epochs, self.frames = every_n_epochs, frames
        self._pictures: Tensor | None = None
        self._failed = False

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Renders in the first process, without waiting for the others; an error here does not stop the training."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if not (due and fitting and trainer.is_global_zero and _working_loggers(trainer)):
            return
        try:
            self._log_pictures(trainer, pl_module)
        except Exception as error:
            if not self._failed:
                _log.warning("No morphs can be shown (%s); the training goes on.", error)
            self._failed = True

    @torch.inference_mode()
    def _log_pictures(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        vae: VAE = pl_module.vae  # type: ignore[assignment]
        if self._pictures is None:
            self._pictures = validation_pictures(trainer, _RECONSTRUCTIONS)
            self._pictures = self._pictures[torch.arange(_RECONSTRUCTIONS) % len(self._pictures)]
        pictures = self._pictures.to(pl_module.device)
        mu = encode_means(vae, pictures)
        draws = torch.randn(_SAMPLES, vae.latent_dim, generator=torch.Generator().manual_seed(0))
        prior = vae.random_latents(draws.to(mu))
        for logger in _working_loggers(trainer):
            step = trainer.global_step - 1  # where Lightning writes the validation's numbers
            for tag, morph in self._morphs(vae, prior[:4], mu[:4]).items():
                gif = Summary.Image(
                    encoded_image_string=encode_animation(morph, ".gif", _FPS)
                )  # `add_image` decodes it
                summary = Summary(value=[Summary.Value(tag=tag, image=gif)])
                logger.experiment._get_file_writer().add_summary(summary, step)
            pair = torch.cat([pictures, decode_all(vae, mu)])
            logger.experiment.add_image("images/reconstruction", _grid(pair, len(pictures)), step, dataformats="HWC")
            logger.experiment.add_image("images/samples", _grid(decode_all(vae, prior), 8), step, dataformats="HWC")
            if isinstance(logger, RunLogger) and (fault := logger.events.fault):
                logger.events.fault = None  # the training goes on
                raise fault

    def _morphs(self, vae: VAE, prior: Tensor, encoded: Tensor) -> dict[str, list[Frame]]:
        """Four open morphs in a square for each path, and two loops side by side."""
        keyframes = torch.cat([prior, encoded]).cpu()
        morphs = {}
        for name, path in BETWEEN_TWO.items():
            walks = [path(pair, times(1, self.frames), False) for pair in keyframes.reshape(4, 2, -1)]
            morphs[f"morph/{name}"] = _frames(vae, walks)
        loop_times = times(4, max(1, self.frames // 2), closed=True)
        loops = [slerp(keyframes_, loop_times, True) for keyframes_ in keyframes.reshape(2, 4, -1)]
        morphs["morph/loop"] = _frames(vae, loops)
        return morphs


def _working_loggers(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    """The TensorBoard loggers of a trainer without a fault."""
    found = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return [logger for logger in found if not (isinstance(logger, RunLogger) and logger.events.fault)]


def _grid(x: Tensor, columns: int) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] side by side, enlarged where they are small: uint8 (H', W', 3)."""
    scale = max(1, _SMALLEST_TILE // x.shape[-1])
    tiles = F.interpolate(x.float(), scale_factor=scale, mode="nearest")
    return to_uint8(make_grid(tiles, columns, padding=2, pad_value=1)[None])[0].cpu()


def _frames(vae: VAE, walks: list[Tensor]) -> list[Frame]:
    """The frames of several walks (N, D) side by side, two in a row."""
    x = decode_all(vae, torch.stack(walks, dim=1).flatten(0, 1))
    return [_grid(tiles, 2).numpy() for tiles in torch.split(x, len(walks))]
