"""Going on with a run, or measuring it: what its checkpoint and its config decide, unless the user says otherwise."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException

from data.errors import UserError, say
from data.sources import full_source, source_name
from data.spelling import nearest
from vae import checkpoint
from vae.plan import NOTED

_FREE_ON_RESUME = {"batch_size", "workers", "cache_dir"}  # the other data options decide which pictures are held out
_ADDED = {"white": None, "all_frames": False}  # data options that older checkpoints lack, and what was done without
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


def adopt(command: str, options: Any, given: Any, root: Path) -> int | None:
    """Takes what is not given from the checkpoint and its run.

    Args:
        command: `fit`, `validate` or `test`.
        options: all of the command's, changed in place.
        given: those that the user gave.
        root: where `checkpoints/` is.

    Returns:
        the step at which a training goes on; None if none does.

    Raises:
        UserError: there is no such checkpoint, it will not do, it is contradicted, or nothing is left to do.
    """
    if not options.get("ckpt_path"):
        if command == "fit":
            return None
        raise UserError(f"{command}: measures a trained model; name it with --ckpt_path, a file or last")
    if options.ckpt_path == "last":
        runs = root / "checkpoints"
        if given.get("data.source"):
            runs /= source_name(given.data.source)
        newest = checkpoint.newest(runs)
        if newest is None and command == "fit":
            say(f"{runs}: holds no last.ckpt, so this training starts afresh")
            options.ckpt_path = None
            return None
        if newest is None:
            raise UserError(f"{runs}: holds no last.ckpt; train first")
        options.ckpt_path = str(newest)
    path = Path(options.ckpt_path)
    if not path.exists() and (near := nearest(str(path), ["last", "best"])):
        meant = near if near == "last" else "the best.ckpt of a run"
        raise UserError(f"--ckpt_path {path}: no such checkpoint; did you mean {meant}?")
    content = checkpoint.read(path)
    checkpoint.build_vae(content, path)  # tells in one line if it will not do
    free = _FREE_ON_RESUME if command == "fit" else set(options.data.keys()) - set(LINKED)
    _take("model", content["hyper_parameters"], options, given, {"compile", "on_nonfinite", "skip_at_most"})
    _take("data", _ADDED | content.get("datamodule_hyper_parameters", {}), options, given, free)
    return _go_on(content, options, given) if command == "fit" else None


def _take(group: str, trained: dict[str, Any], options: Any, given: Any, free: set[str]) -> None:
    """The options of a group as they were trained with; `free` ones may be given otherwise."""
    for name in trained.keys() & options[group].keys():
        if f"{group}.{name}" not in given:
            if name != "compile":  # whether that works is for this machine to say
                options[group][name] = trained[name]
            continue
        wanted = full_source(options.data.source) if name == "source" else options[group][name]
        if wanted != trained[name] and name not in free:
            raise UserError(
                f"--{group}.{name} {wanted}: contradicts {options.ckpt_path}, which was trained with "
                f"{trained[name]}; leave it out, or train anew without --ckpt_path"
            )


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
