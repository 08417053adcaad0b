"""Checks the training's state in a checkpoint, value by value.

A checkpoint is a stranger's file. Only numbers are taken from it, each within bounds and each array of the shape of the
one that it replaces: weights and their average, the optimizer's moments, counts. All else (options of the optimizer,
names of files, the version that wrote it) is this program's own.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from data.system.checks import array, count, keys, number
from data.system.errors import UserError
from vae.checkpoint import check_weights
from vae.training.module import VAETraining
from vae.training.progress import TrainingPlan

_DEEPEST = 8  # of nested counts
_CHECKED_ELSEWHERE = ("hyper_parameters", "datamodule_hyper_parameters", "ImageData")
_BEST = "BestCheckpoint"
_LOOPS = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
_EARLY_STOPPING = ("wait_count", "stopped_epoch", "best_score", "patience")


def checked_state(content: dict[str, Any], module: VAETraining, path: Path) -> dict[str, Any]:
    """The content, from `vae.checkpoint.read`, that Lightning may load; messages name `path`.

    Raises:
        UserError: something in it is not what a training of this model would have written.
    """
    try:
        own = {name: weight for name, weight in module.state_dict().items() if not name.startswith("vae.")}
        state: dict[str, Any] = {name: content[name] for name in _CHECKED_ELSEWHERE if name in content}
        state |= {
            "pytorch-lightning_version": lightning.__version__,  # whose migrations are not for a file to choose
            "epoch": count("epoch", content.get("epoch", 0)),
            "global_step": count("global_step", content.get("global_step", 0)),
            # to validate, what only training needs may be missing
            "state_dict": check_weights({**own, **content["state_dict"]}, module),
            "callbacks": callback_states(content.get("callbacks", {})),
        }
        if "optimizer_states" in content:
            state |= _resumable_state(content, module, state["global_step"])
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: will not do ({reason}); name another one") from None
    return state


def _resumable_state(content: dict[str, Any], module: VAETraining, steps: int) -> dict[str, Any]:
    """The state that a training needs to go on."""
    check_weights(content["state_dict"], module)  # all of them
    (optimizer,) = content["optimizer_states"]
    state: dict[str, Any] = {
        "optimizer_states": [_optimizer(optimizer, module.build_optimizer(), steps)],
        "lr_schedulers": [],  # the schedule is a function of the place
        "loops": _counts("loops", keys("loops", content["loops"], _LOOPS)),
    }
    if "plan" in content:
        state["plan"] = TrainingPlan.checked(content["plan"])._asdict()
    if "current_model_state" in content:
        averaged = keys("averaging_state", content["averaging_state"], ["n_averaged"])["n_averaged"]
        state |= {
            "current_model_state": check_weights(content["current_model_state"], module),
            "averaging_state": {"n_averaged": torch.tensor(count("n_averaged", averaged))},
        }
    if scaler := content.get("MixedPrecision"):
        state["MixedPrecision"] = {name: number(name, value, 0) for name, value in scaler.items()}
    return state


def _optimizer(found: Any, own: Optimizer, steps: int) -> dict[str, Any]:
    """The moments of each weight that has learned; each step sets the learning rates."""
    weights: list[tuple[nn.Parameter, bool]] = [
        (one, group["muon"]) for group in own.param_groups for one in group["params"]
    ]
    groups, state = own.state_dict()["param_groups"], {}
    if [group["params"] for group in found["param_groups"]] != [group["params"] for group in groups]:
        raise ValueError("the optimizer is of other weights")
    for index, moments in found["state"].items():
        weight, muon = weights[count("the number of a weight", index, 0, len(weights) - 1)]
        if muon:
            keys("the optimizer's state", moments, ["momentum"])
            state[int(index)] = {"momentum": array("momentum", moments["momentum"], weight)}
            continue
        keys("the optimizer's state", moments, ("step", "exp_avg", "exp_avg_sq"))
        state[int(index)] = {
            "step": torch.tensor(float(count("step", moments["step"], 1, steps))),
            "exp_avg": array("exp_avg", moments["exp_avg"], weight),
            "exp_avg_sq": array("exp_avg_sq", moments["exp_avg_sq"], weight, 0),
        }
    return {"state": state, "param_groups": groups}


def _counts(name: str, found: Any, depth: int = 0) -> Any:
    """Lightning's progress: nested dicts and lists of whole numbers and flags."""
    if isinstance(found, dict) and depth < _DEEPEST:
        return {str(key): _counts(f"{name}.{key}"[-40:], value, depth + 1) for key, value in found.items()}
    if isinstance(found, list) and depth < _DEEPEST:
        return [_counts(name, value, depth + 1) for value in found]
    return found if isinstance(found, bool | None) else count(name, found)


def callback_states(found: Any) -> dict[str, dict[str, Any]]:
    """The states of callbacks that hold numbers alone; others, as a `ModelCheckpoint` with its files, begin afresh."""
    states: dict[str, dict[str, Any]] = {}
    for name, state in found.items():
        kind = str(name).partition("{")[0]
        if kind == "ModelCheckpoint" and "score" not in states.get(best := str(name).replace(kind, _BEST, 1), {}):
            with suppress(ValueError):  # there is none yet
                states[best] = {"score": number("score", state["best_model_score"])}  # of earlier versions' `best.ckpt`
        elif kind == "EarlyStopping":
            states[str(name)] = {key: state[key] for key in _EARLY_STOPPING if _is_number(state[key])}
        elif all(_is_number(value) for value in state.values()):
            states[str(name)] = dict(state)
    return states


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | None) or (isinstance(value, Tensor) and not value.ndim)
