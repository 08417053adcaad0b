"""The launcher of this process and of those that train with it: torchrun, srun, or Lightning itself."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from data.system.errors import UserError

_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")


def _by_slurm() -> bool:
    """True if srun has started this process; within a job, torchrun may have."""
    return SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()


def launcher_options(options: Mapping[str, Any]) -> dict[str, int]:
    """The trainer's `devices` and `num_nodes` of the launcher, where they have their defaults; empty without one.

    Raises:
        UserError: the strategy is not supported, or SLURM's nodes have different numbers of tasks.
    """
    strategy, variables = options["trainer.strategy"], os.environ
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        raise UserError(f"--trainer.strategy {strategy}: is not supported, as these networks fit one device; take ddp")
    if TorchElasticEnvironment.detect():
        here, world = int(variables["LOCAL_WORLD_SIZE"]), int(variables["WORLD_SIZE"])
        machines = world // here
    elif _by_slurm():
        world, machines = int(variables["SLURM_NTASKS"]), int(variables.get("SLURM_NNODES", 1))
        here = world // machines
        variables.setdefault("SLURM_NTASKS_PER_NODE", str(here))  # Lightning refuses several tasks without it
    else:
        return {}
    if here * machines != world:
        raise UserError(f"{world} processes on {machines} machines: give each as many, as with --ntasks-per-node")
    found = {"trainer.devices": (here, "auto"), "trainer.num_nodes": (machines, 1)}
    return {name: count for name, (count, default) in found.items() if options[name] == default}


def is_first_process() -> bool:
    """True if this is the first process of the first machine; known before Lightning knows it."""
    return rank_zero_only.rank == 0 and int(os.environ.get("NODE_RANK", 0)) == 0  # type: ignore[attr-defined]


def cluster_plugins() -> list[SLURMEnvironment]:
    """Lightning's plugin for SLURM where it runs; it does not write checkpoints in the middle of a step by itself."""
    return [SLURMEnvironment(auto_requeue=False)] if _by_slurm() else []


def stopping_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask a training to write a checkpoint and end; SIGUSR1 where SLURM has --signal=SIGUSR1@180."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", *(("SIGUSR1",) if _by_slurm() else ()))
    return tuple(signal.Signals[name] for name in names if hasattr(signal, name))


def job_id() -> str:
    """SLURM's number of this job, `<array>_<task>` in an array; empty outside of a job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID", ""), os.environ.get("SLURM_ARRAY_TASK_ID", "")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def has_own_run() -> bool:
    """True if SLURM has started this job before, or it is one of an array: it then goes on with no other job's run."""
    return bool(job_id()) and (os.environ.get("SLURM_RESTART_COUNT", "0") != "0" or "_" in job_id())


def requeue_after(code: object) -> None:
    """Has SLURM start the job again, if the exit code is that of SIGUSR1; with --ckpt_path last it then continues."""
    command = shutil.which("scontrol")
    if _by_slurm() and code == 128 + signal.SIGUSR1 and command and re.fullmatch(r"\d+(_\d+)?", job_id()):
        subprocess.run([command, "requeue", job_id()], check=False)
