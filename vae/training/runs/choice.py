"""The checkpoint that `--ckpt_path` names: a file, or `last`: the newest run that fits the options and is free."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from data.sources import source_folder
from data.system.errors import UserError, echo
from data.system.files import user_path
from data.system.spelling import closest_match
from vae.checkpoint import last_checkpoints
from vae.training import environment
from vae.training.runs.folders import JobRecord, run_folder_of
from vae.training.runs.lock import LOCK_NAME, InUseError, RunLock
from vae.training.runs.request import Request, TrainedCheckpoint
from vae.training.runs.resume import conflicting_options

_TIMEOUT = 10.0  # seconds in which the first process of a launch must have recorded which run it has locked


def choose_checkpoint(request: Request, lock: RunLock) -> TrainedCheckpoint | None:
    """The checkpoint to resume from or to measure; None where a training starts afresh.

    Args:
        request: of the command.
        lock: taken by the first process for the run in which a training continues.

    Raises:
        UserError: the run is in use, its checkpoint cannot be used, or there is none to measure.
    """
    named = request.options.get("ckpt_path")
    if named != "last":
        return _named(named, request, lock)
    found = last_checkpoints(request.root / "checkpoints")
    if request.fitting and environment.is_first_process():
        return _first_free(found, request, lock)
    chosen = next(_fitting(_of_this_launch(found) if request.fitting else found, request), None)
    if chosen is None and not request.fitting:
        remedy = "train first" if not found else "name a file"
        raise UserError(f"{_why_none(found, request)}; {remedy}")
    return chosen


def _named(name: str | None, request: Request, lock: RunLock) -> TrainedCheckpoint | None:
    """The checkpoint of a file, whose run is then locked."""
    if not name:
        if request.fitting:
            return None
        raise UserError(f"{request.command}: measures a trained model; name it with --ckpt_path, a file or last")
    path = user_path(name)
    if not path.exists() and (near := closest_match(name, ["last", "best"])):
        meant = near if near == "last" else "the best.ckpt of a run"
        raise UserError(f"--ckpt_path {name}: no such checkpoint; did you mean {meant}?")
    if request.fitting and path.is_file():
        _lock_run(path, request, lock)
    return TrainedCheckpoint.read(path)


def _first_free(found: list[Path], request: Request, lock: RunLock) -> TrainedCheckpoint | None:
    """The first of some checkpoints that fits and whose run is not in use; it is then locked."""
    in_use: list[str] = []
    for checkpoint in _fitting(_by_job(found), request):
        try:
            _lock_run(checkpoint.path, request, lock)
        except InUseError as error:
            in_use.append(str(error))
        else:
            for line in in_use:
                echo(f"{line.partition(';')[0]}, so the next one goes on")
            return checkpoint.read_again()
    if in_use and not environment.job_id():
        raise InUseError(in_use[0])
    why = in_use[0].partition(";")[0] if in_use else _why_none(found, request)
    echo(f"{why}, so this training starts afresh")
    return None


def _why_none(found: list[Path], request: Request) -> str:
    """The reason why no run fits."""
    runs = request.root / "checkpoints"
    if not found:
        return f"{runs}: holds no last.ckpt"
    difference = "the job is another one"
    with suppress(UserError):  # a damaged checkpoint
        difference = next(_differences(TrainedCheckpoint.read(found[0]), request), difference)
    return f"{runs}: no run there fits, of the newest {difference}"


def _lock_run(path: Path, request: Request, lock: RunLock) -> None:
    """Locks the run of a checkpoint in the first process, if a training continues in it."""
    run = run_folder_of(path, request.root)
    if run is not None and environment.is_first_process():
        lock.acquire(run)


def _by_job(found: list[Path]) -> Iterator[Path]:
    """The runs of this job, then those of jobs that have ended.

    A job that was requeued takes no other job's: its own was stopped before it wrote a checkpoint.
    """
    job = environment.job_id()
    jobs = {path: JobRecord.read(path.parent).job if job else "" for path in found}
    yield from (path for path in found if job and jobs[path] == job)
    for path in found:
        other = jobs[path]
        if not other or (other != job and not environment.is_requeued() and not environment.is_queued(other)):
            yield path


def _of_this_launch(found: list[Path]) -> Iterator[Path]:
    """The runs that the first process of this launch has locked, or may lock; asked by its other processes."""
    name = environment.launch_name()
    yield from (path for path in found if _is_locked(path) and JobRecord.read(path.parent).launch == name)
    end = time.monotonic() + _TIMEOUT
    for path in _by_job(found):
        while _is_locked(path) and JobRecord.read(path.parent).launch != name and time.monotonic() < end:
            time.sleep(0.1)
        if not _is_locked(path) or JobRecord.read(path.parent).launch == name:
            yield path


def _is_locked(path: Path) -> bool:
    return os.path.lexists(path.with_name(LOCK_NAME))


def _fitting(found: Iterable[Path], request: Request) -> Iterator[TrainedCheckpoint]:
    """The checkpoints that nothing given contradicts. Raises `UserError` at one that cannot be read."""
    for path in found:
        checkpoint = TrainedCheckpoint.read(path)
        if not any(_differences(checkpoint, request)):
            yield checkpoint


def _differences(checkpoint: TrainedCheckpoint, request: Request) -> Iterator[str]:
    """The options of a checkpoint that are not those which were given, in words."""
    yield from (f"{name} is {trained}" for name, trained in conflicting_options(request, checkpoint))
    source = checkpoint.data_options.get("source")
    if "data.source" in request.given and not _may_be_same(request.source, source):
        yield f"data.source is {source}"
    plan = checkpoint.content.get("plan")
    seed, trained = request.options["seed_everything"], plan.get("seed") if isinstance(plan, dict) else None
    given = request.fitting and "seed_everything" in request.given and type(seed) is int
    if given and type(trained) is int and trained != seed:
        yield f"seed_everything is {trained}"


def _may_be_same(source: str, trained: object) -> bool:
    """True if two sources are one, or the second is a folder of that name which is gone and may have been moved."""
    new, old = source_folder(source), source_folder(trained)
    return source == trained or bool(new and old and new.name == old.name and not old.is_dir())
