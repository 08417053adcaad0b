"""Extensions: loggers, callbacks and all else that an option names by its class; their errors name that option.

They are of other packages, or the user's own, and may raise anything: the traceback says whose the error is.
"""

import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from data.system.errors import TrainingError, UserError

_LONGEST = 300
_OWN_PACKAGES = ("data", "vae")
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class ExtensionError(TrainingError):
    """An extension failed while a training ran."""


class _ConstructionError(BaseException):
    """The error of a class that is instantiated. Any `Exception` would have jsonargparse try it as another type."""

    def __init__(self, kind: type, error: Exception) -> None:
        self.kind, self.error = kind, error


def instantiate(kind: type, /, *args: Any, **kwargs: Any) -> Any:
    """An object of a class that an option names; the instantiator for jsonargparse."""
    try:
        return kind(*args, **kwargs)
    except Exception as error:
        if kind.__module__.partition(".")[0] in _OWN_PACKAGES or isinstance(error, UserError):
            raise
        raise _ConstructionError(kind, error) from None


def as_list(chosen: Any) -> list[Any]:
    """The list of what an option names: Lightning takes one callback or plugin as well as a list of them.

    >>> as_list(None), as_list(1), as_list((1, 2))
    ([], [1], [1, 2])
    """
    return list(chosen) if isinstance(chosen, (list, tuple)) else [] if chosen is None else [chosen]


@contextmanager
def extension_errors(
    named: Mapping[str, Any], instances: Callable[[], list[object]], begun: Callable[[], bool]
) -> Iterator[None]:
    """Turns the errors of extensions into one line that names their option.

    Args:
        named: the trainer's options, in which classes are named.
        instances: the objects of those classes that there are.
        begun: whether the training has begun.

    Raises:
        UserError: an extension failed before the training began.
        ExtensionError: an extension failed later.
    """
    try:
        yield
    except _ConstructionError as failed:
        traceback = failed.error.__traceback__
        raise UserError(_message(named, failed.kind, failed.error, traceback and traceback.tb_next)) from None
    except Exception as error:
        if isinstance(error, (UserError, TrainingError)):
            raise
        extension, traceback = _innermost(error.__traceback__, instances())
        if extension is None:
            raise
        kind: type[Exception] = ExtensionError if begun() else UserError
        raise kind(_message(named, type(extension), error, traceback)) from None


def _innermost(traceback: TracebackType | None, instances: list[object]) -> tuple[object, TracebackType | None]:
    """The innermost of some objects in whose method an error was raised, and the traceback from there."""
    found: tuple[object, TracebackType | None] = None, None
    while traceback is not None:
        this = traceback.tb_frame.f_locals.get("self")
        found = next(((one, traceback) for one in instances if one is this), found)
        traceback = traceback.tb_next
    return found


def _message(named: Mapping[str, Any], kind: type, error: Exception, traceback: TracebackType | None) -> str:
    """The line on an error: the option, the reason, the place in the user's own code, the remedy."""
    of_file = isinstance(error, OSError) and error.filename
    reason = f"{error.filename}: {error.strerror}" if of_file else " ".join(str(error).split())  # type: ignore[attr-defined]
    place = _place(traceback)
    if place or not reason or isinstance(error, LookupError):  # whose text is a key alone
        reason = f"{reason} ({type(error).__name__}{place})".strip()
    return f"{_option(named, kind)}: {reason.rstrip('.!')[:_LONGEST]}; mend that, or leave it out"


def _option(named: Mapping[str, Any], kind: type) -> str:
    """The option that names a class, and the class."""
    for name, chosen in named.items():
        for one in as_list(chosen):
            if isinstance(one, dict) and one.get("class_path", "").rpartition(".")[2] == kind.__name__:
                return f"--trainer.{name} {kind.__name__}"
    return kind.__name__


def _place(traceback: TracebackType | None) -> str:
    """The file and line of an error in the user's own code; empty for installed packages."""
    place = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(("<", *_INSTALLED)):
            place = f" in {Path(file).name}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place
