"""The checkpoint that `--ckpt_path` names: a file, or `last`: the newest run that fits the options."""

from pathlib import Path

from data.system.errors import UserError, echo
from data.system.files import user_path
from data.system.spelling import closest_match
from vae.checkpoint import last_checkpoints
from vae.training import environment
from vae.training.runs.lock import RunLock
from vae.training.runs.request import Request, TrainedCheckpoint
from vae.training.runs.resume import differences
from vae.training.runs.run_folder import read_job, run_folder_of


def choose_checkpoint(request: Request, lock: RunLock) -> TrainedCheckpoint | None:
    """The checkpoint to resume from or to measure; None where a training starts afresh.

    The first process takes the lock of the run in which a training continues.

    Raises:
        UserError: the run is in use, its checkpoint cannot be used, or there is none to measure.
    """
    named = request.options.get("ckpt_path")
    path = _newest(request) if named == "last" else _named(named, request)
    if path is None:
        return None
    if request.fitting and path.is_file() and environment.is_first_process():
        run = run_folder_of(path, request.root)
        if run is not None:
            lock.acquire(run)
    return TrainedCheckpoint.read(path)


def _named(name: str | None, request: Request) -> Path | None:
    if not name:
        if request.fitting:
            return None
        raise UserError(f"{request.command}: measures a trained model; name it with --ckpt_path, a file or last")
    path = user_path(name)
    if not path.exists() and (near := closest_match(name, ["last", "best"])):
        meant = near if near == "last" else "the best.ckpt of a run"
        raise UserError(f"--ckpt_path {name}: no such checkpoint; did you mean {meant}?")
    return path


def _newest(request: Request) -> Path | None:
    """The newest checkpoint that nothing given contradicts, first of this job's; None if a training starts afresh."""
    runs, job = request.root / "checkpoints", environment.job_id()
    found = sorted(last_checkpoints(runs), key=lambda path: bool(job) and read_job(path.parent) != job)
    reason = f"{runs}: holds no last.ckpt"
    if request.fitting and environment.has_own_run():
        found = [path for path in found if read_job(path.parent) == job]
        reason = f"{reason} of job {job}"
    for path in found:
        contradicted = differences(TrainedCheckpoint.read(path), request)
        if not contradicted:
            return path
        if path is found[0]:
            name, trained = next(iter(contradicted.items()))
            reason = f"{runs}: no run there fits, of the newest {name} is {trained}"
    if not request.fitting:
        raise UserError(f"{reason}; {'name a file' if found else 'train first'}")
    if environment.is_first_process():
        echo(f"{reason}, so this training starts afresh")
    return None
