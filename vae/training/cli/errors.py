"""Errors of Lightning, of checkpoints and of trainings as one line that names the option, the fault and the remedy."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException

from data.system.errors import StorageError, TrainingError, UserError, describe_oserror
from vae.training import environment
from vae.training.cli.extensions import ExtensionError
from vae.training.cli.report import TrainingReport
from vae.training.runs.checkpointing import write_error

_LONGEST = 200


@contextmanager
def misconfiguration_errors() -> Iterator[None]:
    """Turns Lightning's refusals of its options into a `UserError`."""
    try:
        yield
    except MisconfigurationException as error:
        raise UserError(" ".join(str(error).split())) from None


@contextmanager
def checkpoint_errors(checkpoint: Path | None, begun: Callable[[], bool]) -> Iterator[None]:
    """Turns an unexpected error before a resumed training has begun into a `UserError` about its checkpoint."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError | MisconfigurationException | OSError) or checkpoint is None or begun():
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
        raise UserError(f"{checkpoint}: will not do ({reason}); name another one") from None


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
    """Adds to the error that ended a training how to continue it; an interruption prints that itself.

    Raises:
        SystemExit: the training was interrupted.
        StorageError: something could not be written, in the end too.
        TrainingError: it cannot continue by itself.
    """
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
