"""Which numbers a callback can watch: all that a training logs from its first validation on."""

from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

from data.system.errors import UserError
from data.system.spelling import suggest
from vae.training.health_logger import METRICS

_TRAINED = tuple(f"train/{name}" for name in ("elbo", "reconstruction", "kl", "bits_per_dim", "sigma", "beta", "lr"))
LOGGED = (*METRICS, *_TRAINED, "train/active_units")
_COUNTED = ("epoch", "step")  # which ModelCheckpoint knows by itself


def check_monitors(callbacks: list[Any]) -> None:
    """Raises `UserError` if one of Lightning's callbacks watches what nobody logs.

    Where there are others than Lightning's own, they may log what we do not know.
    """
    if not all(type(each).__module__.startswith("lightning.") for each in callbacks):
        return
    for each in callbacks:
        name = getattr(each, "monitor", None)
        known = (*LOGGED, *(_COUNTED if isinstance(each, ModelCheckpoint) else ()))
        if isinstance(name, str) and name not in known and not name.startswith("lr-"):  # LearningRateMonitor's
            raise UserError(
                f"--trainer.callbacks {type(each).__name__}: {name} is not among what is logged at each validation; "
                f"{suggest(name, known, 'take val/elbo, or what TensorBoard shows')}"
            )
