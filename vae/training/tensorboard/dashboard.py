"""The arrangement of a run in TensorBoard: its charts under Custom Scalars, its row in the table of HParams."""

from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard.summary import hparams

from vae.metrics.smoothness import Smoothness
from vae.training.options import COMPARED

_SHOWN = ("source", "latent_dim", "width", "beta", "palette")  # TensorBoard shows five until the user ticks more
_COLUMNS = tuple(dict.fromkeys((*_SHOWN, "limit", "batch_size", *COMPARED)))  # hyperparameters that are compared
_PATHS = ("slerp", "linear")
_METRICS = ("val/elbo", *(f"smoothness/{name}/{path}" for path in _PATHS for name in Smoothness._fields))
_CHARTS = {  # group: {chart: the scalars in it}
    "Objective": {
        **{term: [f"train/{term}", f"val/{term}"] for term in ("elbo", "reconstruction", "kl", "bits_per_dim")},
        "beta": ["train/beta"],
    },
    "Latent health": {
        "active units": ["train/active_units", "val/active_units"],
        "aggregate posterior": ["latent/aggregate_mean", "latent/aggregate_variance"],
        "sharpness over the pictures'": ["reconstruction/sharpness", "samples/sharpness"],
        "saturation over the pictures'": ["samples/saturation"],
    },
    "Realism": {"KID × 1000": ["realism/kid_mid", "realism/kid_prior"]},
    "Smoothness": {name: [f"smoothness/{name}/{path}" for path in _PATHS] for name in Smoothness._fields},
}
LAYOUT = {  # as `SummaryWriter.add_custom_scalars` takes it
    group: {chart: ["Multiline", scalars] for chart, scalars in charts.items()} for group, charts in _CHARTS.items()
}


def hparams_summaries(hyperparameters: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The summaries of a run for HParams: the table's columns, the run's values in them, and its successful end."""
    compared = {name: hyperparameters[name] for name in _COLUMNS if hyperparameters.get(name) is not None}
    make: Any = hparams
    return make(compared, dict.fromkeys(_METRICS, 0.0))  # of the metrics it reads the names alone
