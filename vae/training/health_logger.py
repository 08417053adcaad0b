"""`HealthLogger`: the health of the latent space and the smoothness of morphs, measured after each validation."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from data.system.errors import UserError, check_at_least
from data.system.spelling import suggest
from data.transforms import to_tensor
from vae.inference import encode_means
from vae.latent.paths import BETWEEN_TWO
from vae.latent.timing import times
from vae.metrics.posterior import picture_health
from vae.metrics.smoothness import LARGER_IS_BETTER, Smoothness, smoothness
from vae.model.vae import VAE

# the numbers of a validation by which `best.ckpt` can be chosen, those logged elsewhere too, and which way is better
_MODES = dict.fromkeys(("val/elbo", "val/reconstruction", "val/active_units"), "max")
_MODES |= dict.fromkeys(("val/kl", "val/bits_per_dim", "val/sigma", "latent/aggregate_mean"), "min")
_MODES |= {
    f"smoothness/{number}/{path}": "max" if number in LARGER_IS_BETTER else "min"
    for number in Smoothness._fields
    for path in BETWEEN_TWO
}


def best_mode(metric: str) -> str:
    """Which values of a metric are the best ones, `min` or `max`. Raises `UserError` unless it is logged.

    >>> best_mode("val/elbo")
    'max'
    """
    if metric not in _MODES:
        raise UserError(f"--checkpoint_metric {metric}: no such metric; {suggest(metric, _MODES)}")
    return _MODES[metric]


class HealthLogger(pl.Callback):
    """Logs after each validation the health of the latent space and the smoothness of morphs.

    `smoothness/…` is of morphs between held-out pictures, `reconstruction/…` of the pictures and `samples/…` of
    draws from the prior, always with the same pictures and draws, and the same on every process.

    Args:
        pictures: held-out pictures to reconstruct, and samples from the prior.
        pairs: pairs of them whose morphs are measured.
        frames: frames of such a morph.
    """

    def __init__(self, pictures: int = 128, pairs: int = 12, frames: int = 16) -> None:
        for least, name, value in ((2, "pictures", pictures), (1, "pairs", pairs), (3, "frames", frames)):
            check_at_least(least, f"health.{name}", value)
        self.pictures, self.pairs, self.frames = max(pictures, 2 * pairs), pairs, frames
        self._pictures: Tensor | None = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the numbers, in float32 whatever the training's precision."""
        if trainer.sanity_checking:
            return
        if self._pictures is None:
            self._pictures = validation_pictures(trainer, self.pictures)
        vae: VAE = pl_module.vae  # type: ignore[assignment]
        pl_module.log_dict(self.measure(vae, self._pictures.to(pl_module.device)), sync_dist=True)

    @torch.no_grad()
    def measure(self, vae: VAE, pictures: Tensor) -> dict[str, Tensor]:
        """The numbers of a model and pictures (N, C, H, W), by their names in the log."""
        noise = torch.randn(self.pictures, vae.latent_dim, generator=torch.Generator().manual_seed(0))
        found = picture_health(vae, pictures, vae.random_latents(noise.to(pictures)))
        numbers = {"reconstruction/sharpness": found.reconstruction_sharpness}
        numbers |= {"samples/sharpness": found.sample_sharpness, "samples/saturation": found.sample_saturation}
        ends = pictures[: min(2 * self.pairs, len(pictures) // 2 * 2)].reshape(-1, 2, *pictures.shape[1:])
        ends = ends[(ends[:, 0] != ends[:, 1]).flatten(1).any(1)]
        if len(ends):
            keyframes = encode_means(vae, ends.flatten(0, 1)).reshape(-1, 2, vae.latent_dim).cpu()
            for name, path in BETWEEN_TWO.items():
                walks = torch.stack([path(pair, times(1, self.frames), False) for pair in keyframes]).to(pictures)
                for field, value in smoothness(vae, walks, ends)._asdict().items():
                    numbers[f"smoothness/{field}/{name}"] = value
        return {name: value for name, value in numbers.items() if value.isfinite()}


def validation_pictures(trainer: pl.Trainer, count: int) -> Tensor:
    """At most `count` held-out pictures (N, C, H, W) in [-1, 1], the same on every process."""
    assert trainer.val_dataloaders is not None
    pictures = trainer.val_dataloaders.dataset
    return pictures_in_rows(pictures, evenly_spaced(len(pictures), count))


def evenly_spaced(length: int, count: int) -> Tensor:
    """At most `count` row numbers, evenly from all over: neighbours in a folder are alike.

    >>> evenly_spaced(10, 4), evenly_spaced(3, 4)
    (tensor([0, 2, 5, 7]), tensor([0, 1, 2]))
    """
    return torch.arange(min(count, length)) * length // min(count, length)


def pictures_in_rows(dataset: Any, rows: Tensor) -> Tensor:
    """The pictures of a data set in some rows, (N, C, H, W) in [-1, 1]."""
    pictures = torch.stack([dataset[row] for row in rows.tolist()])
    return pictures if pictures.is_floating_point() else to_tensor(pictures)
