"""Who started this process and how many like it: torchrun, srun, or nobody, and then Lightning starts the others."""

import os
import re
import shutil
import signal
import socket
import subprocess
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from data.system.errors import UserError

_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")
_PATIENCE = 10  # seconds that squeue may take


def _by_slurm() -> bool:
    """Whether srun has started this process; within a job, torchrun may have."""
    return SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()


def launched() -> tuple[int, int] | None:
    """Processes on each machine, and machines; None where no launcher has started them.

    Raises:
        UserError: SLURM has not dealt its tasks evenly.
    """
    told = os.environ
    if TorchElasticEnvironment.detect():
        here = int(told["LOCAL_WORLD_SIZE"])
        return here, int(told["WORLD_SIZE"]) // here
    if _by_slurm():
        tasks, machines = int(told["SLURM_NTASKS"]), int(told.get("SLURM_NNODES", 1))
        if tasks % machines:
            raise UserError(f"SLURM: {tasks} tasks on {machines} nodes; give each as many with --ntasks-per-node")
        return tasks // machines, machines
    return None


def settle(trainer: Any) -> None:
    """Takes devices and nodes from the launcher.

    Args:
        trainer: its options, changed in place.

    Raises:
        UserError: they contradict the launcher, or the strategy is none that was made to work.
    """
    strategy = trainer.strategy
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        raise UserError(
            f"--trainer.strategy {strategy}: the average of the weights and last.ckpt want whole weights in processes "
            "of their own; these networks fit one device: take ddp"
        )
    found = launched()
    if found is None:
        return
    for name, usual, count in zip(("devices", "num_nodes"), ("auto", 1), found, strict=True):
        if trainer[name] == usual:
            trainer[name] = count
        if trainer[name] != count and str(trainer[name]).isdecimal():
            raise UserError(f"--trainer.{name} {trainer[name]}: the launcher says {count}; leave it out")
    if _by_slurm():
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(found[0]))  # Lightning refuses several tasks without it


def is_first() -> bool:
    """Whether this is the first process of the first machine, before Lightning could tell."""
    return rank_zero_only.rank == 0 and int(os.environ.get("NODE_RANK", 0)) == 0  # type: ignore[attr-defined]


def environment() -> list[SLURMEnvironment]:
    """Under SLURM, Lightning's plugin for it, which is not to write checkpoints in the middle of a step by itself."""
    return [SLURMEnvironment(auto_requeue=False)] if _by_slurm() else []


def stopping_signals() -> tuple[signal.Signals, ...]:
    """What asks a training to keep its state and end, a terminal that closes too; SLURM's --signal=SIGUSR1@180."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", *(("SIGUSR1",) if _by_slurm() else ()))
    return tuple(signal.Signals[name] for name in names if hasattr(signal, name))


def job() -> str:
    """SLURM's number of this job, `<array>_<task>` of an array's; empty outside of one."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID", ""), os.environ.get("SLURM_ARRAY_TASK_ID", "")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def restarted() -> bool:
    """Whether SLURM has started this job before."""
    return bool(job()) and os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def launch_name() -> str:
    """The same for all processes that a launcher has started to train together, and for no others; else empty."""
    known = os.environ
    if TorchElasticEnvironment.detect():
        alone = known.get("LOCAL_WORLD_SIZE") == known.get("WORLD_SIZE")
        words = [known.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")]
        return " ".join([*words, socket.gethostname() if alone else ""])
    if _by_slurm():
        return " ".join([job(), *(known.get(name, "") for name in ("SLURM_STEP_ID", "SLURM_RESTART_COUNT"))])
    return ""


def is_queued(other: str) -> bool:
    """Whether SLURM says that a job runs, or waits to."""
    command = shutil.which("squeue")
    if not command or not re.fullmatch(r"\d{1,20}(_\d{1,20})?", other):
        return False
    try:
        found = subprocess.run(
            [command, "--noheader", f"--jobs={other}"], capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return found.returncode == 0 and bool(found.stdout.strip())


def requeue_after(code: Any) -> None:
    """Has SLURM start the job again, which then goes on with --ckpt_path last, if an exit code says it has asked to."""
    if not _by_slurm() or code != 128 + signal.SIGUSR1:
        return
    command = shutil.which("scontrol")
    if command and re.fullmatch(r"\d+(_\d+)?", job()):
        subprocess.run([command, "requeue", job()], check=False)
