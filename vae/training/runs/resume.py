"""Resuming a training, or measuring it: its checkpoint and its config set the options that the user does not give."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from data.fingerprint import check_fingerprint
from data.sources import PROCEDURAL, source_folder
from data.system.checks import count
from data.system.errors import UserError
from data.system.files import resolved
from vae.checkpoint import FORMAT, build_vae, is_fitted
from vae.training.progress import TrainingPlan
from vae.training.runs.request import Request, TrainedCheckpoint
from vae.training.runs.run_config import FREE, LINKED, has_planned_end, read_plan

_ENDS = {"trainer.max_epochs", "trainer.max_steps"}
_PIXEL_OPTIONS = ("source", "image_size", "channels", "limit", "seed", "background", "white", "all_frames", "fit")
_LARGEST = {"data.limit": 2**24, "data.batch_size": 2**16}  # that a file may ask for
_SHOWN = 10  # names of classes in a message
_NOT_KEPT = {"model.compile", "data.cache_dir"}  # options that depend on the machine; a file names no place to write to


@dataclass(frozen=True)
class Resumption:
    """The state of a training that is resumed or measured.

    Attributes:
        options: by their dotted names, the values that take the place of defaults.
        step: the number of steps that are done; None unless it is resumed.
        pictures: their `data.fingerprint`; None where they are not compared.
        planned_anew: whether it goes on for other minutes than its own.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    step: int | None = None
    pictures: Tensor | None = None
    planned_anew: bool = False


def resume(request: Request, checkpoint: TrainedCheckpoint) -> Resumption:
    """The state of the training that a checkpoint holds.

    Raises:
        UserError: the checkpoint cannot be used, an option contradicts it, or its training is complete.
    """
    path, content = checkpoint.path, checkpoint.content
    build_vae(content, path)  # raises unless its weights fit
    if is_fitted(content):
        raise UserError(f"{path}: its decoder is fitted to pictures, for render.py; name a checkpoint of a training")
    if request.fitting and content.get("format", 1) < FORMAT:
        raise UserError(f"{path}: was trained by an earlier version, which learned otherwise; train anew")
    if request.fitting and not content.get("optimizer_states"):
        raise UserError(f"{path}: holds weights only; resume from the last.ckpt of a run")
    contradicted = differences(checkpoint, request)
    if not request.fitting or _may_have_moved(request.source, checkpoint):
        contradicted.pop("data.source", None)
    for name, trained in contradicted.items():
        raise UserError(
            f"--{name} {request.value(name)}: contradicts {path}, which was trained with {trained}; "
            "leave it out, or train anew without --ckpt_path"
        )
    pictures = check_fingerprint(content.get("ImageData"), path)
    options = _safe_options(request, checkpoint)
    if not request.fitting:
        same = not any(f"data.{name}" in request.given for name in _PIXEL_OPTIONS)
        return Resumption(options, None, pictures if same else None)
    plan, step, planned_anew = _remaining_plan(request, checkpoint)
    return Resumption(options | plan, step, pictures, planned_anew)


def check_same_classes(checkpoint: TrainedCheckpoint, classes: Sequence[str], source: str) -> None:
    """Raises `UserError` unless the classes of a source's pictures are those of a checkpoint's model."""
    trained = checkpoint.options.get("model.classes", ())
    if list(classes) != list(trained):
        odd = sorted(set(classes) ^ set(trained))[:_SHOWN]
        raise UserError(
            f"{checkpoint.path}: has other classes than {source} has subfolders ({', '.join(odd) or 'their order'}); "
            "name a folder with the same ones, or train anew"
        )


def differences(checkpoint: TrainedCheckpoint, request: Request) -> dict[str, Any]:
    """The training's values of those given options that have another value: of model and data, and the seed."""
    trained = checkpoint.options
    if request.fitting:
        with suppress(LookupError, TypeError, ValueError):  # where there is none, the training does not go on
            trained["seed_everything"] = TrainingPlan.checked(checkpoint.content["plan"]).seed
        fixed = trained.keys() - FREE
    else:
        fixed = {name for name in trained if name.startswith("model.")} - FREE
        fixed |= {"data.source", *(f"data.{name}" for name in LINKED)}
    compared = sorted(fixed & trained.keys() & request.given)
    return {name: trained[name] for name in compared if request.value(name) != trained[name]}


def _may_have_moved(source: str, checkpoint: TrainedCheckpoint) -> bool:
    """True if a source and the training's are folders, whose pictures are compared later."""
    folders = source_folder(source), source_folder(checkpoint.options.get("data.source"))
    return None not in folders and checkpoint.content.get("ImageData") is not None


def _safe_options(request: Request, checkpoint: TrainedCheckpoint) -> dict[str, Any]:
    """The checkpoint's options that are not given, in which a file may name neither places nor large amounts.

    A folder of pictures is believed of a run below `<root>/checkpoints`, where train.py writes its own.
    """
    path, trained = checkpoint.path, checkpoint.options
    options = {name: trained[name] for name in trained.keys() & request.options.keys() - request.given - _NOT_KEPT}
    if (source := options.get("data.source")) is not None:
        folder, own = source_folder(source), resolved(request.root / "checkpoints") in resolved(path).parents
        if source not in PROCEDURAL and not own:
            raise UserError(f"{path}: was trained on {source}; name the pictures to use with --data.source")
        if folder is not None and not folder.is_dir():
            remedy = f"name where they are, as --ckpt_path {path} --data.source FOLDER"
            raise UserError(f"{path}: its pictures were in {folder}, which is gone; {remedy}")
    for name, largest in _LARGEST.items():
        amount = options.get(name)
        if isinstance(amount, int) and amount > largest:
            raise UserError(f"{path}: asks for a --{name} of more than {largest}; name it yourself if that is meant")
    workers = options.get("data.workers")
    if isinstance(workers, int) and workers > (os.cpu_count() or 1):  # of a larger machine
        del options["data.workers"]
    return options


def _remaining_plan(request: Request, checkpoint: TrainedCheckpoint) -> tuple[dict[str, Any], int, bool]:
    """The options with which a run continues, the steps that it has done, and whether its minutes are others now."""
    path, content = checkpoint.path, checkpoint.content
    found = read_plan(path.parent / "config.yaml", checkpoint, optional="config" in request.given)
    try:
        epochs = count("epochs", content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
        steps, place = count("steps", content["global_step"]), TrainingPlan.checked(content["plan"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: does not say how far it has trained; name another one") from None
    minutes = request.options["minutes"] if "minutes" in request.given else None
    planned_anew = minutes not in (None, found.get("minutes")) and not _ENDS & request.given
    found["seed_everything"] = place.seed if place.seed < 2**32 else False  # a random one is no option
    plan = {name: found[name] for name in found.keys() - request.given}
    if planned_anew:
        plan |= {"trainer.max_epochs": -1, "trainer.max_steps": -1}
    options = request.override(plan).options
    for name, done in (("max_epochs", epochs), ("max_steps", steps)):
        planned = options[f"trainer.{name}"]
        if planned is not None and 0 <= planned <= done:
            raise UserError(
                f"{path}: has trained {done} {name[4:]}, and {planned} are planned; "
                f"go on with --trainer.{name} {2 * done}, say"
            )
    if not has_planned_end(options) and not planned_anew and 0 < place.pictures_planned <= place.pictures_seen:
        minutes = options["minutes"] or 5
        raise UserError(
            f"{path}: has trained its {minutes:g} minutes; go on for more with --minutes {2 * minutes:g}, say"
        )
    return plan, steps, planned_anew
