"""Resuming a training, or measuring it: its checkpoint and its config set the options that the user does not give."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from data.fingerprint import check_fingerprint
from data.sources import PROCEDURAL, source_folder
from data.system.checks import count
from data.system.errors import UserError, echo
from data.system.files import resolved
from vae.checkpoint import build_vae
from vae.training.progress import TrainingPlan
from vae.training.runs.request import Request, TrainedCheckpoint
from vae.training.runs.run_config import FREE_DATA, FREE_MODEL, LINKED, read_plan

_PIXEL_OPTIONS = ("source", "image_size", "channels", "limit", "seed", "background", "white", "all_frames")
_LARGEST = {"limit": 2**24, "batch_size": 2**16}  # that a file may ask for


@dataclass(frozen=True)
class Resumption:
    """The state of a training that is resumed or measured.

    Attributes:
        options: by their dotted names, the values that take the place of defaults.
        step: the number of steps that are done; None unless it is resumed.
        pictures: their `data.fingerprint`; None where they are not compared.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    step: int | None = None
    pictures: Tensor | None = None


def resume(request: Request, checkpoint: TrainedCheckpoint) -> Resumption:
    """The state of the training that a checkpoint holds.

    Raises:
        UserError: the checkpoint cannot be used, an option contradicts it, or its training is complete.
    """
    path, content = checkpoint.path, checkpoint.content
    build_vae(content, path)  # raises unless its weights fit
    if request.fitting and not content.get("optimizer_states"):
        raise UserError(f"{path}: holds weights only; resume from the last.ckpt of a run")
    for name, trained in conflicting_options(request, checkpoint):
        raise _conflict(name, request.value(name), checkpoint, trained)
    options = {f"model.{name}": value for name, value in checkpoint.model_options.items()}
    options |= {f"data.{name}": value for name, value in _safe_data_options(request, checkpoint).items()}
    set_here = request.given | {"model.compile"}  # whether compiling works depends on the machine
    options = {name: options[name] for name in options.keys() & request.options.keys() - set_here}
    pictures = check_fingerprint(content.get("ImageData"), path)
    _check_picture_folder(request, checkpoint)
    if not request.fitting:
        same = not any(f"data.{name}" in request.given for name in _PIXEL_OPTIONS)
        return Resumption(options, None, pictures if same else None)
    plan, step = _remaining_plan(request, checkpoint)
    return Resumption(options | plan, step, pictures)


def _conflict(name: str, value: object, checkpoint: TrainedCheckpoint, trained: object) -> UserError:
    return UserError(
        f"--{name} {value}: contradicts {checkpoint.path}, which was trained with {trained}; "
        "leave it out, or train anew without --ckpt_path"
    )


def conflicting_options(request: Request, checkpoint: TrainedCheckpoint) -> Iterator[tuple[str, Any]]:
    """The given options of model and data with another value than in the training, and the training's value."""
    groups = {"model": checkpoint.model_options, "data": checkpoint.data_options}
    for group, trained in groups.items():
        for name in sorted(trained):
            option = f"{group}.{name}"
            if group == "model":
                free = name in FREE_MODEL
            else:
                free = name in FREE_DATA if request.fitting else name not in LINKED
            if free or option not in request.given or request.value(option) == trained[name]:
                continue
            if option != "data.source" or not _may_have_moved(request.source, checkpoint):
                yield option, trained[name]


def _may_have_moved(source: str, checkpoint: TrainedCheckpoint) -> bool:
    """True if a source and the training's are folders whose pictures are compared later, or the latter is gone."""
    before = source_folder(checkpoint.data_options.get("source"))
    if before is None or source_folder(source) is None:
        return False
    return checkpoint.content.get("ImageData") is not None or not before.is_dir()


def _check_picture_folder(request: Request, checkpoint: TrainedCheckpoint) -> None:
    """Raises `UserError` if the folder of the training's pictures is gone and no other is given."""
    folder, path = source_folder(checkpoint.data_options.get("source")), checkpoint.path
    if folder is None or folder.is_dir():
        return
    if "data.source" not in request.given:
        raise UserError(f"{path}: its pictures were in {folder}, which is gone; name where they are with --data.source")
    if checkpoint.content.get("ImageData") is None:
        given = request.options["data.source"]
        echo(f"{path}: did not note its pictures, as earlier versions do not; {given} is taken for them")


def _safe_data_options(request: Request, checkpoint: TrainedCheckpoint) -> dict[str, Any]:
    """The checkpoint's data options, in which a file may name neither places nor large amounts.

    `cache_dir`, in which folders are made, is the user's alone to name. A folder of pictures is believed of a run below
    `<root>/checkpoints`, where train.py writes its own.

    Raises:
        UserError: the user has to name the pictures, or so much.
    """
    options, path = checkpoint.data_options, checkpoint.path
    source = options.get("source")
    own = resolved(request.root / "checkpoints") in resolved(path).parents
    if source is not None and source not in PROCEDURAL and not own and "data.source" not in request.given:
        raise UserError(f"{path}: was trained on {source}; name the pictures to use with --data.source")
    for name, largest in _LARGEST.items():
        amount = options.get(name)
        if isinstance(amount, int) and amount > largest and f"data.{name}" not in request.given:
            raise UserError(
                f"{path}: asks for a --data.{name} of more than {largest}; name it yourself if that is meant"
            )
    cache_dir = options.pop("cache_dir", None)
    moved = isinstance(cache_dir, str) and cache_dir != request.options["data.cache_dir"]
    if moved and "data.cache_dir" not in request.given:
        echo(f"{path}: kept its pictures in {cache_dir}; they are prepared anew unless --data.cache_dir names it")
    workers = options.get("workers")
    if isinstance(workers, int) and workers > (os.cpu_count() or 1):  # of a larger machine
        del options["workers"]
    return options


def _remaining_plan(request: Request, checkpoint: TrainedCheckpoint) -> tuple[dict[str, Any], int]:
    """The trainer's options and the seed with which a run continues, and the number of steps that it has done."""
    path, content = checkpoint.path, checkpoint.content
    found = read_plan(path.parent / "config.yaml", checkpoint, optional="config" in request.given)
    plan = {f"trainer.{name}": value for name, value in found.items() if f"trainer.{name}" not in request.given}
    try:
        epochs = count("epochs", content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
        steps, seed = count("steps", content["global_step"]), TrainingPlan.checked(content["plan"]).seed
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: does not say how far it has trained; name another one") from None
    if "seed_everything" not in request.given:
        plan["seed_everything"] = seed if seed < 2**32 else False  # a random one is no option
    elif (given := request.options["seed_everything"]) != seed:
        raise _conflict("seed_everything", given, checkpoint, seed)
    options = request.override(plan).options
    for name, done in (("max_epochs", epochs), ("max_steps", steps)):
        planned = options[f"trainer.{name}"]
        if planned is not None and 0 <= planned <= done:
            raise UserError(
                f"{path}: has trained {done} {name[4:]}, and {planned} are planned; "
                f"go on with --trainer.{name} {2 * done}, say"
            )
    return plan, steps
