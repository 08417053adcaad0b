"""The options in a run's config.yaml that decide how long it trains and on what: its plan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data.system.errors import UserError
from vae.checkpoint import RENAMED_OPTIONS
from vae.safe_yaml import parse_yaml, read_config
from vae.training.runs.request import TrainedCheckpoint

FREE = {  # may change on resuming; the other options of model and data decide what is learnt and what is held out
    *("data.batch_size", "data.workers", "data.cache_dir"),
    *("model.compile", "model.on_nonfinite", "model.skip_at_most"),
}
LINKED = {"image_size", "channels"}  # given to the data, for the model too, and so fixed by the weights
_TEXTS = {"precision", "gradient_clip_algorithm"}  # may be texts; the others are numbers
_PLAN = _TEXTS | {
    *("max_epochs", "max_steps", "accumulate_grad_batches", "log_every_n_steps", "gradient_clip_val"),
    *("limit_train_batches", "limit_val_batches", "val_check_interval", "check_val_every_n_epoch", "overfit_batches"),
}


def read_plan(config: Path, checkpoint: TrainedCheckpoint, optional: bool) -> dict[str, Any]:
    """`minutes` and the trainer's options in a config, by their dotted names.

    Raises:
        UserError: it is missing, damaged, or of another run than the checkpoint, unless no options will do.
    """
    fault = "missing"
    if config.is_file():
        try:
            plan, trained = _parse(config)
        except (yaml.YAMLError, KeyError, TypeError, ValueError):
            fault = "not the config of a run"
        else:
            fault = "the config of another run"
            expected = checkpoint.options
            compared = expected.keys() & trained.keys() - FREE - {"data.source"}
            if all(expected[name] == trained[name] for name in compared):
                return plan
    if optional:
        return {}
    raise UserError(f"{config}: {fault}; put the run's own there, or name its plan with --config FILE")


def _parse(config: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plan, and the options of model and data under the names that they have now, all by dotted names."""
    found = dict(parse_yaml(read_config(config)))
    plan = {f"trainer.{name}": value for name, value in dict(found["trainer"]).items() if name in _PLAN}
    plan["minutes"] = found.get("minutes")
    for name, value in plan.items():
        if not isinstance(value, int | float | None) and not (name[8:] in _TEXTS and isinstance(value, str)):
            raise ValueError(name)
    trained = {f"model.{RENAMED_OPTIONS.get(name, name)}": value for name, value in dict(found["model"]).items()}
    return plan, trained | {f"data.{name}": value for name, value in dict(found["data"]).items()}


def has_planned_end(options: Mapping[str, Any]) -> bool:
    """True if epochs or steps are planned, by the trainer's options."""
    return options["trainer.max_epochs"] not in (None, -1) or options["trainer.max_steps"] != -1
