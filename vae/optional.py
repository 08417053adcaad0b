"""Packages that only some commands need, and that not everyone has installed."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from data.system.errors import UserError


def needed(package: str, extra: str) -> Any:
    """A package, imported now. Raises `UserError` if it is missing, with the extra of this project that brings it."""
    try:
        return import_module(package)
    except ImportError:
        raise _missing(package, extra) from None


def check_installed(package: str, extra: str) -> None:
    """Raises `UserError` as `needed` does, without importing the package."""
    if find_spec(package) is None:
        raise _missing(package, extra)


def _missing(package: str, extra: str) -> UserError:
    return UserError(f"{package.split('.')[0]}: is not installed; pip install -e '.[{extra}]'")
