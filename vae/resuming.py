"""Going on with a run, or measuring it: what its checkpoint and its config decide, unless the user says otherwise."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from data.errors import UserError, say
from data.fingerprint import check_fingerprint
from data.sources import folder_of, full_source
from data.spelling import nearest
from vae import checkpoint
from vae.plan import NOTED

_FREE_ON_RESUME = {"batch_size", "workers", "cache_dir"}  # the other data options decide which pictures are held out
_FREE_OF_MODEL = {"compile", "on_nonfinite", "skip_at_most"}
_DECIDING = ("source", "image_size", "channels", "limit", "seed", "background")  # which bytes the pictures have
LINKED = ("image_size", "channels")  # stated by the data, for the model too, and so fixed by its weights
_PLANNED = {  # options of the trainer that decide what is learnt
    *("max_epochs", "max_steps", "precision", "accumulate_grad_batches", "log_every_n_steps"),
    *("gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "limit_val_batches"),
    *("val_check_interval", "check_val_every_n_epoch", "overfit_batches"),
}
_SHORT = 200


@contextmanager
def blaming(checkpoint: str | None, begun: Callable[[], bool]) -> Iterator[None]:
    """What fails before a resumed training has begun is told as a fault of its checkpoint, if there is one."""
    try:
        yield
    except Exception as error:
        told = isinstance(error, UserError | MisconfigurationException | OSError)
        if told or not checkpoint or begun():
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_SHORT]
        raise UserError(f"{checkpoint}: will not do ({reason}); name another one") from None


class Resumed(NamedTuple):
    """What is known of a training before it goes on.

    Attributes:
        step: at which it goes on; None if none does.
        pictures: the `data.fingerprint` of those that it had; None where they are not compared.
    """

    step: int | None = None
    pictures: Tensor | None = None


def adopt(command: str, options: Any, given: Any) -> Resumed:
    """Takes what is not given from the checkpoint and its run.

    Args:
        command: `fit`, `validate` or `test`.
        options: all of the command's, changed in place.
        given: those that the user gave.

    Raises:
        UserError: there is no such checkpoint, it will not do, it is contradicted, or nothing is left to do.
    """
    if not options.get("ckpt_path"):
        if command == "fit":
            return Resumed()
        raise UserError(f"{command}: measures a trained model; name it with --ckpt_path, a file or last")
    path = Path(options.ckpt_path)
    if not path.exists() and (near := nearest(str(path), ["last", "best"])):
        meant = near if near == "last" else "the best.ckpt of a run"
        raise UserError(f"--ckpt_path {path}: no such checkpoint; did you mean {meant}?")
    content = checkpoint.read(path)
    checkpoint.build_vae(content, path)  # tells in one line if it will not do
    for name, trained in contradictions(command, content, options, given):
        raise UserError(
            f"--{name} {_value(options, name)}: contradicts {path}, which was trained with {trained}; "
            "leave it out, or train anew without --ckpt_path"
        )
    for group, trained in _trained(content).items():
        for name in trained.keys() & options[group].keys():
            if f"{group}.{name}" not in given and name != "compile":  # whether that works is for this machine to say
                options[group][name] = trained[name]
    pictures = check_fingerprint(content.get("ImageData"), path)
    _find_pictures(options, given, content, path)
    if command != "fit":
        return Resumed(None, pictures if not any(f"data.{name}" in given for name in _DECIDING) else None)
    return Resumed(_go_on(content, options, given), pictures)


def _trained(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of model and data that a checkpoint was trained with."""
    return {"model": content["hyper_parameters"], "data": content.get("datamodule_hyper_parameters", {})}


def _value(options: Any, name: str) -> Any:
    group, _, option = name.partition(".")
    return full_source(options.data.source) if name == "data.source" else options[group][option]


def contradictions(command: str, content: dict[str, Any], options: Any, given: Any) -> Iterator[tuple[str, Any]]:
    """The given options of model and data that a checkpoint was not trained with, and what it was trained with."""
    data = _FREE_ON_RESUME if command == "fit" else set(options.data.keys()) - set(LINKED)
    free = {"model": _FREE_OF_MODEL, "data": data}
    for group, trained in _trained(content).items():
        for name in sorted((trained.keys() & set(options[group].keys())) - free[group]):
            option = f"{group}.{name}"
            if option in given and (wanted := _value(options, option)) != trained[name]:
                if option == "data.source" and _may_have_moved(wanted, trained[name], content):
                    continue  # they are compared when they have been read
                yield option, trained[name]


def _may_have_moved(wanted: str, trained: Any, content: dict[str, Any]) -> bool:
    """Whether two different sources are folders whose content can be compared, or could if it were not gone."""
    before = folder_of(trained)
    if before is None or folder_of(wanted) is None:
        return False
    return content.get("ImageData") is not None or not before.is_dir()


def _find_pictures(options: Any, given: Any, content: dict[str, Any], path: Path) -> None:
    """Raises `UserError` if the folder of the training's pictures is gone and no other is given."""
    folder = folder_of(content.get("datamodule_hyper_parameters", {}).get("source"))
    if folder is None or folder.is_dir():
        return
    if "data.source" not in given:
        raise UserError(f"{path}: its pictures were in {folder}, which is gone; name where they are with --data.source")
    if content.get("ImageData") is None:
        say(f"{path}: did not note its pictures, as earlier versions do not; {options.data.source} is taken for them")


def _go_on(content: dict[str, Any], options: Any, given: Any) -> int:
    """Goes on as the run was planned; there must be something left to do."""
    if not content.get("optimizer_states"):
        raise UserError(f"{options.ckpt_path}: holds weights only; resume from the last.ckpt of a run")
    planned = _planned(Path(options.ckpt_path).parent / "config.yaml")
    for name in planned.keys() & _PLANNED:
        if f"trainer.{name}" not in given:
            options.trainer[name] = planned[name]
    try:
        epochs = int(content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
        steps = int(content["global_step"])
        if not all(0 <= content["plan"][name] < math.inf for name in NOTED) or not content["plan"]["epoch"]:
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError):
        raise UserError(f"{options.ckpt_path}: does not say how far it has trained; name another one") from None
    for name, done in (("max_epochs", epochs), ("max_steps", steps)):
        if options.trainer[name] is not None and 0 <= options.trainer[name] <= done:
            raise UserError(
                f"{options.ckpt_path}: has trained {done} {name[4:]}, and {options.trainer[name]} are planned; "
                f"go on with --trainer.{name} {2 * done}, say"
            )
    return steps


def _planned(config: Path) -> dict[str, Any]:
    """The trainer's options of a run; none if it left no config."""
    if not config.is_file():
        return {}
    try:
        return dict(yaml.safe_load(config.read_text())["trainer"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError):
        raise UserError(f"{config}: not the config of a run; mend or remove it") from None
