"""`RealismLogger`: how real morphs and samples look to a network that no training here has seen."""

import math

import lightning.pytorch as pl
import torch
from torch import Tensor

from data.system.errors import UserError, check_at_least
from vae.inference import decode_all, encode_means
from vae.latent.paths import slerp
from vae.metrics.judge import check_judge, features, kernel_distance
from vae.model.vae import VAE
from vae.training.health_logger import validation_pictures
from vae.training.progress_bar import shown_steps

_LEAST, _MOST = 64, 256  # pictures


class RealismLogger(pl.Callback):
    """Logs the KID × 1000 of morphs and samples to held-out pictures: 0 is as real as those.

    `realism/kid_mid` is of frames half-way along slerp between held-out pictures, `realism/kid_prior` of samples: as
    many as there are held-out pictures, up to 256. Pictures and noise are always the same. The first process measures.

    Args:
        every_n_epochs: how often a training measures it, which takes a minute of a CPU; 0 is never; `validate` measures
            it unless this is 0. It needs the extra `judge` and 64 held-out pictures.
    """

    def __init__(self, every_n_epochs: int = 0) -> None:
        check_at_least(0, "realism.every_n_epochs", every_n_epochs)
        if every_n_epochs:
            check_judge()
        self.every_n_epochs = every_n_epochs
        self._real: Tensor | None = None  # features of the held-out pictures

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Raises `UserError` if too few pictures are held out."""
        if self.every_n_epochs and stage != "test":
            count = len(trainer.datamodule.val_set)  # type: ignore[attr-defined]
            if count < _LEAST:
                raise UserError(
                    f"--realism.every_n_epochs {self.every_n_epochs}: {count} held-out pictures are too few to compare "
                    f"with; hold out {_LEAST} or more with a larger --data.val_fraction, or leave it out"
                )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the numbers, which the others get from the first process."""
        if trainer.sanity_checking or not self.every_n_epochs:
            return
        if trainer.state.fn == "fit" and (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        found = self._measure(trainer, pl_module) if trainer.is_global_zero else {}
        pl_module.log_dict(trainer.strategy.broadcast(found), sync_dist=True)

    @torch.inference_mode()
    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        vae: VAE = pl_module.vae  # type: ignore[assignment]
        pictures = validation_pictures(trainer, _MOST)
        if self._real is None:
            self._real = _features(trainer, pictures)
        mu = encode_means(vae, pictures.to(pl_module.device))
        pairs = torch.stack([mu, mu.roll(len(mu) // 3, 0)], 1).cpu()  # no two the same, nor neighbours in a folder
        half = torch.tensor([0.5])
        noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
        latents = {
            "mid": torch.cat([slerp(pair, half, False) for pair in pairs]).to(mu),
            "prior": vae.random_latents(noise.to(mu)),
        }
        numbers = {
            name: kernel_distance(self._real, _features(trainer, decode_all(vae, z))) for name, z in latents.items()
        }
        return {f"realism/kid_{name}": kid for name, kid in numbers.items() if math.isfinite(kid)}


def _features(trainer: pl.Trainer, x: Tensor) -> Tensor:
    return features(x, lambda batches: shown_steps(trainer, batches, "judging"))
