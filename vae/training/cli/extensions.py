"""Loggers, callbacks and all else that an option names by its class: whatever they raise is told by that option.

They are of other packages, or the user's own. Any exception of theirs counts, not a list of some: the traceback says
whose it is.
"""

import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from data.system.errors import TrainingError, UserError

_SHORT = 300
_OURS = ("data", "vae")
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class ExtensionError(TrainingError):
    """An extension failed while a training ran."""


class _Refused(BaseException):
    """A fault of a class that is being built. Any `Exception` would have jsonargparse try it as another type."""

    def __init__(self, kind: type, fault: Exception) -> None:
        self.kind, self.fault = kind, fault


def build(kind: type, /, *args: Any, **kwargs: Any) -> Any:
    """An object of a class; how jsonargparse is to make those that options name."""
    try:
        return kind(*args, **kwargs)
    except Exception as fault:
        if kind.__module__.partition(".")[0] in _OURS or isinstance(fault, UserError):
            raise
        raise _Refused(kind, fault) from None


def listed(chosen: Any) -> list[Any]:
    """Lightning takes one callback or plugin as well as a list."""
    return list(chosen) if isinstance(chosen, (list, tuple)) else [] if chosen is None else [chosen]


@contextmanager
def naming_extensions(options: Any, built: Callable[[], Any], begun: Callable[[], bool]) -> Iterator[None]:
    """What extensions raise becomes one line.

    Args:
        options: those of the trainer, with the names of classes.
        built: the same with the objects, once there are some.
        begun: whether the training has.

    Raises:
        UserError: an extension failed before the training began.
        ExtensionError: likewise, later.
    """
    try:
        yield
    except _Refused as refused:
        within = refused.fault.__traceback__
        raise UserError(_described(options, refused.kind, refused.fault, within and within.tb_next)) from None
    except Exception as fault:
        if isinstance(fault, (UserError, TrainingError)):
            raise
        culprit, within = _source(fault.__traceback__, [one for some in built().values() for one in listed(some)])
        if culprit is None:
            raise
        raise (ExtensionError if begun() else UserError)(_described(options, type(culprit), fault, within)) from None


def _source(traceback: TracebackType | None, objects: list[Any]) -> tuple[Any, TracebackType | None]:
    """The one of some objects in whose method a fault has come up, the innermost, and the traceback from there."""
    found: tuple[Any, TracebackType | None] = None, None
    while traceback is not None:
        this = traceback.tb_frame.f_locals.get("self")
        found = next(((one, traceback) for one in objects if one is this), found)
        traceback = traceback.tb_next
    return found


def _described(options: Any, kind: type, fault: Exception, traceback: TracebackType | None) -> str:
    named = isinstance(fault, OSError) and fault.filename
    reason = f"{fault.filename}: {fault.strerror}" if named else " ".join(str(fault).split())  # type: ignore[attr-defined]
    place = _place(traceback)
    if place or not reason or isinstance(fault, LookupError):  # of which the text is a key
        reason = f"{reason} ({type(fault).__name__}{place})".strip()
    return f"{_option(options, kind)}: {reason.rstrip('.!')[:_SHORT]}; mend that, or leave it out"


def _option(options: Any, kind: type) -> str:
    """The option that names a class, and its name."""
    for name, chosen in options.as_dict().items():
        for one in listed(chosen):
            if isinstance(one, dict) and one.get("class_path", "").rpartition(".")[2] == kind.__name__:
                return f"--trainer.{name} {kind.__name__}"
    return kind.__name__


def _place(traceback: TracebackType | None) -> str:
    """File and line of a fault in someone's own code; nothing for installed packages."""
    place = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(("<", *_INSTALLED)):
            place = f" in {Path(file).name}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place
