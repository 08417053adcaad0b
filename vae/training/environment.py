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


def launched_processes() -> tuple[int, int] | None:
    """The number of processes on each machine, and of machines; None where no launcher has started them.

    Raises:
        UserError: SLURM's nodes have different numbers of tasks.
    """
    variables = os.environ
    if TorchElasticEnvironment.detect():
        here = int(variables["LOCAL_WORLD_SIZE"])
        return here, int(variables["WORLD_SIZE"]) // here
    if _by_slurm():
        tasks, machines = int(variables["SLURM_NTASKS"]), int(variables.get("SLURM_NNODES", 1))
        if tasks % machines:
            raise UserError(f"SLURM: {tasks} tasks on {machines} nodes; give each as many with --ntasks-per-node")
        return tasks // machines, machines
    return None


def launcher_options(options: Mapping[str, Any]) -> dict[str, int]:
    """The trainer's `devices` and `num_nodes` of the launcher, where they have their defaults; empty without one.

    Raises:
        UserError: they contradict the launcher, or the strategy is not supported.
    """
    strategy = options["trainer.strategy"]
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        raise UserError(f"--trainer.strategy {strategy}: is not supported, as these networks fit one device; take ddp")
    processes = launched_processes()
    if processes is None:
        return {}
    if _by_slurm():
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(processes[0]))  # Lightning refuses several tasks without it
    defaults, launched = {"trainer.devices": "auto", "trainer.num_nodes": 1}, {}
    for (name, default), count in zip(defaults.items(), processes, strict=True):
        if options[name] == default:
            launched[name] = count
        elif options[name] != count and str(options[name]).isdecimal():
            raise UserError(f"--{name} {options[name]}: the launcher says {count}; leave it out")
    return launched


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


def is_requeued() -> bool:
    """True if SLURM has started this job before."""
    return bool(job_id()) and os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def requeue_after(code: object) -> None:
    """Has SLURM start the job again, if the exit code is that of SIGUSR1; with --ckpt_path last it then continues."""
    command = shutil.which("scontrol")
    if _by_slurm() and code == 128 + signal.SIGUSR1 and command and re.fullmatch(r"\d+(_\d+)?", job_id()):
        subprocess.run([command, "requeue", job_id()], check=False)
