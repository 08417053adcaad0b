"""Recipes: the configurations in `vae/training/recipes`, which `--config` takes by name."""

import re
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]

from data.system.errors import UserError
from data.system.files import user_path
from data.system.spelling import suggest

_RECIPES = Path(__file__).parents[1] / "recipes"


def recipes() -> list[str]:
    """The names of the recipes."""
    return sorted(path.stem for path in _RECIPES.glob("*.yaml"))


def resolve_config(config: str) -> str:
    """The file that `--config` names: an existing one, else the recipe of that name; YAML text comes back unchanged.

    Raises:
        UserError: it is a bare name and neither, or in the folder of a user who does not exist.
    """
    if config.startswith("~"):
        return str(user_path(config))
    if config in recipes() and not Path(config).is_file():
        return str(_RECIPES / f"{config}.yaml")
    if not re.fullmatch(r"[\w-]{1,255}", config) or Path(config).exists():
        return config
    raise UserError(f"--config {config}: neither a file nor a recipe; {suggest(config, recipes())}")


class ConfigFile(ActionConfigFile):
    """The option `--config`."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        super().__call__(parser, cfg, resolve_config(values), option_string)  # type: ignore[no-untyped-call]
