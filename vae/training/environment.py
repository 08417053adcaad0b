"""The launcher of this process and of those that train with it: torchrun, srun, or Lightning itself."""

import os
import re
import shutil
import signal
import socket
import subprocess

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from data.system.errors import UserError

_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")
_SQUEUE_TIMEOUT = 10  # seconds


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


def launcher_options(strategy: object, devices: object, num_nodes: object) -> dict[str, int]:
    """The trainer's `devices` and `num_nodes` of the launcher, where they have their defaults; empty without one.

    Raises:
        UserError: they contradict the launcher, or the strategy is not supported.
    """
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        raise UserError(
            f"--trainer.strategy {strategy}: the average of the weights and last.ckpt want whole weights in processes "
            "of their own; these networks fit one device: take ddp"
        )
    counts = launched_processes()
    if counts is None:
        return {}
    found = {}
    for name, value, default, count in zip(
        ("devices", "num_nodes"), (devices, num_nodes), ("auto", 1), counts, strict=True
    ):
        if value == default:
            found[name] = count
        elif value != count and str(value).isdecimal():
            raise UserError(f"--trainer.{name} {value}: the launcher says {count}; leave it out")
    if _by_slurm():
        os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(counts[0]))  # Lightning refuses several tasks without it
    return found


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


def launch_name() -> str:
    """A name that the processes of one launch share with no others; empty without a launcher."""
    variables = os.environ
    if TorchElasticEnvironment.detect():
        alone = variables.get("LOCAL_WORLD_SIZE") == variables.get("WORLD_SIZE")
        words = [variables.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")]
        return " ".join([*words, socket.gethostname() if alone else ""])
    if _by_slurm():
        return " ".join([job_id(), *(variables.get(name, "") for name in ("SLURM_STEP_ID", "SLURM_RESTART_COUNT"))])
    return ""


def is_queued(job: str) -> bool:
    """True if SLURM says that a job runs or waits."""
    command = shutil.which("squeue")
    if not command or not re.fullmatch(r"\d{1,20}(_\d{1,20})?", job):
        return False
    try:
        found = subprocess.run(
            [command, "--noheader", f"--jobs={job}"], capture_output=True, timeout=_SQUEUE_TIMEOUT, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return found.returncode == 0 and bool(found.stdout.strip())


def requeue_after(code: object) -> None:
    """Has SLURM start the job again, if the exit code is that of SIGUSR1; with --ckpt_path last it then continues."""
    if not _by_slurm() or code != 128 + signal.SIGUSR1:
        return
    command = shutil.which("scontrol")
    if command and re.fullmatch(r"\d+(_\d+)?", job_id()):
        subprocess.run([command, "requeue", job_id()], check=False)
