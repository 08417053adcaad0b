"""The state of a training, from the files that it writes below logs/: its newest morphs, its numbers and a verdict."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.system.errors import UserError
from vae.checkpoint import load_vae
from vae.metrics.verdict import verdict
from vae.render.growth.film import describe
from vae.render.growth.morph_files import FOLDER, find_morphs, read_morph

_EVENTS = "events.out.tfevents.*"
_NOTHING_YET = "No numbers yet; the first come after a tenth of the training."


class Curve(NamedTuple):
    """A number of a training: its name in the logs, what it is called, what is good, and how it is written."""

    tag: str
    name: str
    good: str
    form: str = ".2f"


CURVES = (
    Curve("reconstruction/sharpness", "Sharpness of reconstructions", "1 is as sharp as your pictures"),
    Curve("smoothness/sharp_mid/slerp", "Sharpness of morphs", "1 is as sharp as their two ends; 0.5 is a cross-fade"),
    Curve(
        "val/elbo",
        "ELBO of held-out pictures",
        "higher is better; train longer while it rises",
        ",.0f",
    ),
)


def find_runs(logs: Path) -> list[Path]:
    """The log folders of trainings, the one that was written to last first."""
    changed = {run: _changed(run) for run in logs.glob("*/*/") if run.is_dir()}
    return sorted((run for run, when in changed.items() if when), key=lambda run: max(changed[run]), reverse=True)


def _changed(run: Path) -> list[int]:
    """When the files of a run were written."""
    times = []
    for file in (*run.glob(_EVENTS), *run.glob(f"{FOLDER}/*/*.gif")):
        with suppress(OSError):  # a training that removes old ones
            times.append(file.stat().st_mtime_ns)
    return times


def fingerprint(run: Path) -> list[int]:
    """A list that changes when the files of a run do."""
    return sorted(_changed(run))


def newest_morphs(run: Path) -> list[tuple[str, str]]:
    """The newest morph of each path, as a file and a caption; damaged ones are left out."""
    found = []
    for folder in sorted((run / FOLDER).glob("*/")):
        for file in find_morphs(run, folder.name)[-1:]:
            with suppress(UserError, OSError):
                found.append((str(file), f"{folder.name}: {describe(read_morph(file).moment)}"))
    return found


@lru_cache(4)
def _events(run: Path) -> Any:
    accumulator: Any = EventAccumulator
    return accumulator(os.fspath(run), size_guidance={"scalars": 0, "images": 1, "histograms": 1, "tensors": 1})


def read_scalars(run: Path) -> dict[str, list[float]]:
    """The numbers that TensorBoard shows, by their names, oldest first."""
    events = _events(run)
    events.Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def verdict_on(run: Path, scalars: Mapping[str, Sequence[float]]) -> str:
    """The line that ends a training, about its newest numbers."""
    last = run.parents[2] / "checkpoints" / run.parent.name / run.name / "last.ckpt"
    numbers = {tag: values[-1] for tag, values in scalars.items()}
    try:
        latents, dims = _sizes(last, last.stat().st_mtime_ns)
    except (UserError, OSError):
        return _NOTHING_YET
    # `varied` is a mere hint, for those who have not given the option
    return verdict(numbers, latents, dims, varied=True) or _NOTHING_YET


@lru_cache(4)
def _sizes(checkpoint: Path, changed: int) -> tuple[int, int]:
    model = load_vae(checkpoint)
    return model.latent_dim, model.dims
