"""The numbers that a callback can monitor: all that a training logs from its first validation on."""

from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

from data.system.errors import UserError
from data.system.spelling import suggest
from vae.training.health_logger import METRICS

_TRAINED = tuple(f"train/{name}" for name in ("elbo", "reconstruction", "kl", "bits_per_dim", "sigma", "beta", "lr"))
LOGGED = (*METRICS, *_TRAINED, "train/active_units")
_COUNTERS = ("epoch", "step")  # known to ModelCheckpoint


def check_monitors(callbacks: list[Any]) -> None:
    """Raises `UserError` if one of Lightning's callbacks monitors a number that is not logged.

    Other callbacks than Lightning's may log numbers of their own; nothing is checked where there are any.
    """
    if not all(type(each).__module__.startswith("lightning.") for each in callbacks):
        return
    for each in callbacks:
        name = getattr(each, "monitor", None)
        known = (*LOGGED, *(_COUNTERS if isinstance(each, ModelCheckpoint) else ()))
        if isinstance(name, str) and name not in known and not name.startswith("lr-"):  # LearningRateMonitor's
            raise UserError(
                f"--trainer.callbacks {type(each).__name__}: {name} is not among what is logged at each validation; "
                f"{suggest(name, known, 'take val/elbo, or what TensorBoard shows')}"
            )
