"""Errors of Lightning, checkpoints, trainings and extensions as one line that names the fault and the remedy.

Extensions are the loggers, callbacks and all else that an option names by its class. They are of other packages, or the
user's own, and may raise anything: the traceback says whose the error is.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException

from data.system.errors import StorageError, TrainingError, UserError, describe_oserror
from vae.training import environment
from vae.training.cli.report import TrainingReport
from vae.training.loggers.media import prepare_logger
from vae.training.runs.checkpointing import write_error

_LONGEST = 600
_REMEDY = "mend that, or leave it out"
_OWN_PACKAGES = ("data", "vae")


class ExtensionError(TrainingError):
    """An extension failed while a training ran."""


class _ConstructionError(BaseException):
    """The line about a class that failed. Any `Exception` would have jsonargparse try it as another type."""


def instantiate(kind: type, /, *args: Any, **kwargs: Any) -> Any:
    """An object of a class that an option names; the instantiator for jsonargparse."""
    try:
        prepare_logger(kind)
        return kind(*args, **kwargs)
    except Exception as error:
        if kind.__module__.partition(".")[0] in _OWN_PACKAGES:
            raise
        if isinstance(error, UserError):
            raise _ConstructionError(error) from None
        message = _extension_message(error, [kind]) or f"{kind.__name__}: {_reason(error)}"
        raise _ConstructionError(f"{message}; {_REMEDY}") from None


def as_list(chosen: Any) -> list[Any]:
    """The list of what an option names: Lightning takes one callback or plugin as well as a list of them.

    >>> as_list(None), as_list(1), as_list((1, 2))
    ([], [1], [1, 2])
    """
    return list(chosen) if isinstance(chosen, (list, tuple)) else [] if chosen is None else [chosen]


@contextmanager
def foreign_errors(
    checkpoint: Path | None, extensions: Callable[[], list[type]], begun: Callable[[], bool]
) -> Iterator[None]:
    """Turns the errors of extensions, and of loading a checkpoint before the training has begun, into one line.

    Raises:
        UserError: before the training has begun.
        ExtensionError: an extension failed later.
    """
    try:
        yield
    except _ConstructionError as failed:
        raise UserError(str(failed)) from None
    except (UserError, TrainingError):
        raise
    except Exception as error:
        if message := _extension_message(error, extensions()):
            kind = ExtensionError if begun() else UserError
            raise kind(f"{message}; {_REMEDY}") from None
        if checkpoint is None or begun() or isinstance(error, MisconfigurationException | OSError):
            raise
        raise UserError(f"{checkpoint}: will not do ({_reason(error)}); name another one") from None


def _extension_message(error: Exception, kinds: list[type]) -> str:
    """The class in whose method an error was raised, the error, and the innermost such place; empty if in none."""
    message, traceback = "", error.__traceback__
    while traceback is not None:
        kind = type(traceback.tb_frame.f_locals.get("self"))
        if kind in kinds:
            message = f"{kind.__name__}: {_reason(error)} ({_place(traceback)})"
        traceback = traceback.tb_next
    return message


def _place(traceback: TracebackType) -> str:
    return f"{Path(traceback.tb_frame.f_code.co_filename).name}, line {traceback.tb_lineno}"


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".!: ")[:_LONGEST]


@contextmanager
def misconfiguration_errors() -> Iterator[None]:
    """Turns Lightning's refusals of its options into a `UserError`."""
    try:
        yield
    except MisconfigurationException as error:
        raise UserError(" ".join(str(error).split())) from None


@contextmanager
def trainer_errors(given: Mapping[str, Any]) -> Iterator[None]:
    """Turns the trainer's errors into a `UserError` about the options that they name, or all that were given."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (UserError, MemoryError)) or not given:
            raise
        reason = " ".join(str(error).split()).rstrip(".!")
        named = [name for name in given if name in reason] or list(given)
        options = " ".join(f"--trainer.{name} {given[name]}" for name in named)
        raise UserError(f"{options}: {reason}; give another value, or leave it out") from None


@contextmanager
def fit_errors(report: TrainingReport) -> Iterator[None]:
    """Adds to the error that ended a training, or to a file that was not written, how to continue."""
    trainer = report.trainer
    try:
        yield
        if found := write_error(trainer):
            raise found
    except SystemExit as stop:
        if not trainer.interrupted:
            raise
        if trainer.is_global_zero:
            report.print_interruption()
            environment.requeue_after(stop.code)
        by_signal = isinstance(stop.code, int) and stop.code > 128  # Lightning's own code says no more
        raise SystemExit(stop.code if by_signal else 128 + signal.SIGINT) from None
    except ExtensionError as error:
        raise TrainingError(f"{error}; {report.continuation()}") from None
    except TrainingError as error:
        raise TrainingError(f"{error}; {report.nonfinite_remedy()}") from None
    except (StorageError, OSError) as error:
        reason = describe_oserror(error) if isinstance(error, OSError) else error
        raise StorageError(f"{reason}; {report.continuation()}") from None
    except RuntimeError as error:
        if trainer.world_size == 1 or "onnection" not in str(error):
            raise
        raise TrainingError(f"a process that trained with this one has ended; {report.continuation()}") from None
