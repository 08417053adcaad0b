"""Packages that only some commands need, and that not everyone has installed."""

from importlib import import_module
from typing import Any

from data.errors import UserError


def needed(package: str, extra: str) -> Any:
    """A package, imported now. Raises `UserError` if it is missing, with the extra of this project that brings it."""
    try:
        return import_module(package)
    except ImportError:
        raise UserError(f"{package.split('.')[0]}: is not installed; pip install -e '.[{extra}]'") from None
