"""Which run a training goes on in: the one that is named, or the newest that fits what was given and is not in use."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.sources import normalize_source, source_folder
from data.system.errors import UserError, echo
from data.system.files import user_path
from vae import checkpoint
from vae.training import environment as launch
from vae.training.runs.folders import Note, own_run
from vae.training.runs.lock import NAME, InUseError, RunLock
from vae.training.runs.resume import contradictions

_OTHERS_WAIT = 10.0  # seconds until the first process of a launch must have noted which run it has locked


def choose(command: str, options: Any, given: Any, root: Path, lock: RunLock) -> None:
    """Puts a file in the place of `--ckpt_path last`, None where a training starts afresh.

    The first of the processes that train together locks the run which goes on.

    Args:
        command: `fit`, `validate` or `test`.
        options: all of the command's, changed in place.
        given: those that the user gave.
        root: where `checkpoints/` is.
        lock: to be taken.

    Raises:
        UserError: the run is in use, or there is none to measure.
    """
    wanted = options.get("ckpt_path")
    if wanted != "last":
        if command == "fit" and wanted and (path := user_path(wanted)).is_file():
            _take(path, root, lock)
        return
    found = checkpoint.last_checkpoints(root / "checkpoints")
    if command == "fit" and launch.is_first():
        options.ckpt_path = _first_free(found, options, given, root, lock)
        return
    fitting = _fitting(command, found if command != "fit" else _ours(found), options, given)
    options.ckpt_path = next(map(str, fitting), None)
    if command != "fit" and options.ckpt_path is None:
        remedy = "train first" if not found else "name a file"
        raise UserError(f"{_none(command, found, options, given, root)}; {remedy}")


def _none(command: str, found: list[Path], options: Any, given: Any, root: Path) -> str:
    """Why there is no run to go on with."""
    runs = root / "checkpoints"
    if not found:
        return f"{runs}: holds no last.ckpt"
    what = next(_unlike(command, found[0], options, given), "the job is another one")
    return f"{runs}: no run there fits, of the newest {what}"


def _first_free(found: list[Path], options: Any, given: Any, root: Path, lock: RunLock) -> str | None:
    in_use: list[str] = []
    for path in _fitting("fit", _in_order(found), options, given):
        try:
            _take(path, root, lock)
        except InUseError as fault:
            in_use.append(str(fault))
        else:
            for line in in_use:
                echo(f"{line.partition(';')[0]}, so the next one goes on")
            return str(path)
    if in_use and not launch.job():
        raise InUseError(in_use[0])
    why = in_use[0].partition(";")[0] if in_use else _none("fit", found, options, given, root)
    echo(f"{why}, so this training starts afresh")
    return None


def _take(path: Path, root: Path, lock: RunLock) -> None:
    """Locks the run of a checkpoint, if a training goes on in it."""
    run = own_run(path, root)
    if run is not None and launch.is_first():
        lock.take(run)


def _in_order(found: list[Path]) -> Iterator[Path]:
    """A job's own runs, then those of jobs that have ended.

    A job that is started again takes no other job's: its own was stopped before anything was kept.
    """
    job = launch.job()
    notes = {path: Note.read(path.parent).job for path in found} if job else dict.fromkeys(found, "")
    yield from (path for path in found if job and notes[path] == job)
    for path in found:
        noted = notes[path]
        if not noted or (noted != job and not launch.restarted() and not launch.is_queued(noted)):
            yield path


def _ours(found: list[Path]) -> Iterator[Path]:
    """For the other processes that a launcher has started: what the first one has locked, or will lock."""
    name = launch.launch_name()
    locked = [path for path in found if _is_locked(path)]
    yield from (path for path in locked if Note.read(path.parent).launch == name)
    end = time.monotonic() + _OTHERS_WAIT
    for path in _in_order(found):
        while _is_locked(path) and Note.read(path.parent).launch != name and time.monotonic() < end:
            time.sleep(0.1)
        if not _is_locked(path) or Note.read(path.parent).launch == name:
            yield path


def _is_locked(path: Path) -> bool:
    return os.path.lexists(path.with_name(NAME))


def _fitting(command: str, found: Iterator[Path] | list[Path], options: Any, given: Any) -> Iterator[Path]:
    """Those that nothing contradicts; one that cannot be read is among them, to be refused by name."""
    return (path for path in found if not any(_unlike(command, path, options, given)))


def _unlike(command: str, path: Path, options: Any, given: Any) -> Iterator[str]:
    """In what a checkpoint differs from what was given."""
    try:
        content = checkpoint.read(path)
    except UserError:
        return
    yield from (f"{name} is {trained}" for name, trained in contradictions(command, content, options, given))
    source = content.get("datamodule_hyper_parameters", {}).get("source")
    if "data.source" in given and not _same_place(normalize_source(options.data.source), source):
        yield f"data.source is {source}"
    seed, plan = given.get("seed_everything"), content.get("plan")
    noted = plan.get("seed") if isinstance(plan, dict) else None
    if command == "fit" and type(seed) is int and type(noted) is int and noted != seed:
        yield f"seed_everything is {noted}"


def _same_place(wanted: str, trained: Any) -> bool:
    """Whether two sources are one, or the second is a folder of that name which is gone: the first may be it, moved."""
    here, there = source_folder(wanted), source_folder(trained)
    return wanted == trained or bool(here and there and here.name == there.name and not there.is_dir())
