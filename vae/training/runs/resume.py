"""Going on with a run, or measuring it: what its checkpoint and its config decide, unless the user says otherwise."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from data.fingerprint import check_fingerprint
from data.sources import PROCEDURAL, normalize_source, source_folder
from data.system.checks import count
from data.system.errors import UserError, echo
from data.system.files import resolved
from data.system.spelling import closest_match
from vae import checkpoint
from vae.safe_yaml import parse_yaml, read_config
from vae.training.progress import TrainingPlan

_FREE_ON_RESUME = {"batch_size", "workers", "cache_dir"}  # the other data options decide which pictures are held out
_FREE_OF_MODEL = {"compile", "on_nonfinite", "skip_at_most"}
_DECIDING = {  # which bytes the pictures have
    *("source", "image_size", "channels", "limit", "seed", "background", "white", "all_frames"),
}
_ADDED = {"white": None, "all_frames": False}  # data options that older checkpoints lack, and what was done without
LINKED = ("image_size", "channels")  # stated by the data, for the model too, and so fixed by its weights
_PLANNED = {  # options of the trainer that decide what is learnt
    *("max_epochs", "max_steps", "precision", "accumulate_grad_batches", "log_every_n_steps"),
    *("gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches", "limit_val_batches"),
    *("val_check_interval", "check_val_every_n_epoch", "overfit_batches"),
}
_WORDS = {"precision", "gradient_clip_algorithm"}  # of them; the others are numbers
_SHORT = 200
_MOST = {"limit": 2**24, "batch_size": 2**16}  # that a file may ask for


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


def adopt(command: str, options: Any, given: Any, root: Path) -> Resumed:
    """Takes what is not given from the checkpoint and its run.

    Args:
        command: `fit`, `validate` or `test`.
        options: all of the command's, changed in place.
        given: those that the user gave.
        root: where `checkpoints/` is.

    Raises:
        UserError: there is no such checkpoint, it will not do, it is contradicted, or nothing is left to do.
    """
    if not options.get("ckpt_path"):
        if command == "fit":
            return Resumed()
        raise UserError(f"{command}: measures a trained model; name it with --ckpt_path, a file or last")
    path = Path(options.ckpt_path)
    if not path.exists() and (near := closest_match(str(path), ["last", "best"])):
        meant = near if near == "last" else "the best.ckpt of a run"
        raise UserError(f"--ckpt_path {path}: no such checkpoint; did you mean {meant}?")
    content = checkpoint.read(path)
    checkpoint.build_vae(content, path)  # tells in one line if it will not do
    if command == "fit" and not content.get("optimizer_states"):
        raise UserError(f"{path}: holds weights only; resume from the last.ckpt of a run")
    for name, trained in contradictions(command, content, options, given):
        raise UserError(
            f"--{name} {_value(options, name)}: contradicts {path}, which was trained with {trained}; "
            "leave it out, or train anew without --ckpt_path"
        )
    trained_with = _trained(content)
    trained_with["data"] = _harmless(trained_with["data"], options, given, root)
    for group, trained in trained_with.items():
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
    return {"model": content["hyper_parameters"], "data": _ADDED | content.get("datamodule_hyper_parameters", {})}


def _value(options: Any, name: str) -> Any:
    group, _, option = name.partition(".")
    return normalize_source(options.data.source) if name == "data.source" else options[group][option]


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
    before = source_folder(trained)
    if before is None or source_folder(wanted) is None:
        return False
    return content.get("ImageData") is not None or not before.is_dir()


def _find_pictures(options: Any, given: Any, content: dict[str, Any], path: Path) -> None:
    """Raises `UserError` if the folder of the training's pictures is gone and no other is given."""
    folder = source_folder(content.get("datamodule_hyper_parameters", {}).get("source"))
    if folder is None or folder.is_dir():
        return
    if "data.source" not in given:
        raise UserError(f"{path}: its pictures were in {folder}, which is gone; name where they are with --data.source")
    if content.get("ImageData") is None:
        echo(f"{path}: did not note its pictures, as earlier versions do not; {options.data.source} is taken for them")


def _harmless(trained: dict[str, Any], options: Any, given: Any, root: Path) -> dict[str, Any]:
    """The data's options, of which a file may choose neither places nor large amounts.

    Folders are made in `cache_dir`, so that only the user names it. Where the pictures are, other than in this
    program, is believed of a run below `<root>/checkpoints`, where train.py keeps its own.

    Raises:
        UserError: the user has to name what was trained on, or so much.
    """
    path, cache_dir = Path(options.ckpt_path), options.data.cache_dir
    source = trained.get("source")
    own = resolved(root / "checkpoints") in resolved(path).parents
    if source is not None and source not in PROCEDURAL and not own and "data.source" not in given:
        raise UserError(f"{path}: was trained on {source}; name the pictures to use with --data.source")
    for name, most in _MOST.items():
        amount = trained.get(name)
        if isinstance(amount, int) and amount > most and f"data.{name}" not in given:
            raise UserError(f"{path}: asks for a --data.{name} of more than {most}; name it yourself if that is meant")
    kept = trained.get("cache_dir")
    if isinstance(kept, str) and kept != cache_dir and "data.cache_dir" not in given:
        echo(f"{path}: kept its pictures in {kept}; they are prepared anew unless --data.cache_dir names that folder")
    workers = trained.get("workers")
    much = isinstance(workers, int) and workers > (os.cpu_count() or 1)  # of another machine
    return {name: value for name, value in trained.items() if name != "cache_dir" and not (much and name == "workers")}


def _go_on(content: dict[str, Any], options: Any, given: Any) -> int:
    """Goes on as the run was planned; there must be something left to do."""
    planned = _planned(Path(options.ckpt_path).parent / "config.yaml", content, bool(given.get("config")))
    for name in planned.keys() & _PLANNED:
        if f"trainer.{name}" not in given:
            options.trainer[name] = planned[name]
    try:
        epochs = count("epochs", content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
        steps, seed = count("steps", content["global_step"]), TrainingPlan.checked(content["plan"]).seed
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{options.ckpt_path}: does not say how far it has trained; name another one") from None
    if "seed_everything" not in given:
        options.seed_everything = seed if seed < 2**32 else False  # a random one is no option
    elif options.seed_everything != seed:
        raise UserError(
            f"--seed_everything {options.seed_everything}: contradicts {options.ckpt_path}, which was trained with "
            f"{seed}; leave it out, or train anew without --ckpt_path"
        )
    for name, done in (("max_epochs", epochs), ("max_steps", steps)):
        if options.trainer[name] is not None and 0 <= options.trainer[name] <= done:
            raise UserError(
                f"{options.ckpt_path}: has trained {done} {name[4:]}, and {options.trainer[name]} are planned; "
                f"go on with --trainer.{name} {2 * done}, say"
            )
    return steps


def _planned(config: Path, content: dict[str, Any], restated: bool) -> dict[str, Any]:
    """The trainer's options of a run.

    Args:
        config: the run's.
        content: the run's checkpoint.
        restated: whether the user names a config, which then may take the place of one that will not do.

    Raises:
        UserError: it is missing, or that of another run.
    """
    fault = "missing"
    if config.is_file():
        try:
            found = dict(parse_yaml(read_config(config)))
            planned, model, data = (dict(found[group]) for group in ("trainer", "model", "data"))
            if not all(_is_plain(name, planned[name]) for name in planned.keys() & _PLANNED):
                raise ValueError
        except (yaml.YAMLError, KeyError, TypeError, ValueError):
            fault = "not the config of a run"
        else:
            trained = content["hyper_parameters"] | content.get("datamodule_hyper_parameters", {})
            loose = _FREE_ON_RESUME | _FREE_OF_MODEL | {"source", *LINKED}
            same = (trained[name] == value for name, value in (model | data).items() if name in trained.keys() - loose)
            if all(same):
                return planned
            fault = "the config of another run"
    if restated:
        return {}
    raise UserError(f"{config}: {fault}; put the run's own there, or name its plan with --config FILE")


def _is_plain(name: str, value: Any) -> bool:
    """Whether a value of the trainer's option in a config is of the right kind."""
    return isinstance(value, int | float | None) or (name in _WORDS and isinstance(value, str))
