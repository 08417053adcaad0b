"""Packages that only some commands need, and that may be missing."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from data.system.errors import UserError


def import_optional(package: str, extra: str) -> Any:
    """The package, imported. Raises `UserError` if it is missing, which names the extra of this project with it."""
    try:
        return import_module(package)
    except ImportError:
        raise _missing(package, extra) from None


def check_installed(package: str, extra: str) -> None:
    """Raises `UserError` as `import_optional` does, without importing the package."""
    if find_spec(package) is None:
        raise _missing(package, extra)


def _missing(package: str, extra: str) -> UserError:
    return UserError(f"{package.split('.')[0]}: is not installed; pip install -e '.[{extra}]'")
