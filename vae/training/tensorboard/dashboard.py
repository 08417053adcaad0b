"""How TensorBoard arranges a run: its custom scalars in three groups, and its line in the table of HParams."""

import time
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from torch.utils.tensorboard.summary import custom_scalars

from vae.metrics.smoothness import Smoothness
from vae.training.options import COMPARED

_api: Any = api_pb2  # protobuf makes their names as they are loaded
_parts: Any = plugin_data_pb2
_NUMBER, _WORD = _api.DATA_TYPE_FLOAT64, _api.DATA_TYPE_STRING
_COMPARED = dict.fromkeys(("source", "likelihood"), _WORD)  # the columns of the table
_COMPARED |= {name: _NUMBER for name in ("limit", "batch_size", *COMPARED) if name not in _COMPARED}
_SHOWN_FIRST = ("source", "latent_dim", "width", "beta", "palette")
_PATHS = ("slerp", "linear")  # five metrics are shown at first
_METRICS = ["val/elbo", *(f"smoothness/{name}/{path}" for path in _PATHS for name in Smoothness._fields)]


def layout() -> Any:
    """The summary that says which scalars share a chart, and which charts a group."""
    terms = ("elbo", "reconstruction", "kl", "bits_per_dim")
    groups = {
        "Objective": {**{term: [f"train/{term}", f"val/{term}"] for term in terms}, "beta": ["train/beta"]},
        "Latent health": {
            "active units": ["train/active_units", "val/active_units"],
            "aggregate posterior": ["latent/aggregate_mean", "latent/aggregate_variance"],
            "sharpness over the pictures'": ["reconstruction/sharpness", "samples/sharpness"],
            "saturation over the pictures'": ["samples/saturation"],
        },
        "Smoothness": {name: [f"smoothness/{name}/{path}" for path in _PATHS] for name in Smoothness._fields},
    }
    return custom_scalars(  # type: ignore[no-untyped-call]
        {group: {chart: ["Multiline", tags] for chart, tags in charts.items()} for group, charts in groups.items()}
    )


def session_start(hyperparameters: dict[str, Any]) -> list[Any]:
    """The summaries that open a run in HParams: which columns there are, and what the run has in them.

    Args:
        hyperparameters: by name; those that are not worth a column are left out.
    """
    experiment = _api.Experiment(
        hparam_infos=[
            _api.HParamInfo(name=name, type=kind, differs=name in _SHOWN_FIRST) for name, kind in _COMPARED.items()
        ],
        metric_infos=[_api.MetricInfo(name=_api.MetricName(tag=tag)) for tag in _METRICS],
    )
    start = _parts.SessionStartInfo(start_time_secs=time.time())
    for name, kind in _COMPARED.items():
        value = hyperparameters.get(name)
        if value is not None:
            setattr(start.hparams[name], "string_value" if kind == _WORD else "number_value", value)
    return [
        _summary(metadata.EXPERIMENT_TAG, experiment=experiment),
        _summary(metadata.SESSION_START_INFO_TAG, session_start_info=start),
    ]


def session_end() -> Any:
    """The summary that says a run is done."""
    end = _parts.SessionEndInfo(status=_api.STATUS_SUCCESS, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def _summary(tag: str, **content: Any) -> Any:
    create: Any = metadata.create_summary_metadata
    about = create(_parts.HParamsPluginData(**content))
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])
