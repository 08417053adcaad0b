"""`Request`: the options of one command. `TrainedCheckpoint`: a checkpoint that was read for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.sources import normalize_source
from vae import checkpoint

# of data options that older checkpoints lack
_DATA_DEFAULTS = {"white": None, "all_frames": False, "mirror": False, "shift": 0.0, "fit": "crop", "labels": None}


@dataclass(frozen=True)
class Request:
    """The options of one command by their dotted names, as `data.source`.

    Attributes:
        command: `fit`, `validate` or `test`.
        options: all of them, as jsonargparse has checked their types.
        given: the names of those that the user gave, on the command line or in a config; the others are defaults.
    """

    command: str
    options: Mapping[str, Any]
    given: frozenset[str]

    @property
    def fitting(self) -> bool:
        return self.command == "fit"

    @property
    def root(self) -> Path:
        """The folder of `checkpoints/` and `logs/`."""
        return Path(self.options["trainer.default_root_dir"] or ".")

    @property
    def source(self) -> str:
        """The name of a source, or the absolute path of a folder."""
        return normalize_source(self.options["data.source"])

    def value(self, name: str) -> Any:
        """The value of an option; of `data.source` the one spelling that checkpoints have."""
        return self.source if name == "data.source" else self.options[name]

    def override(self, options: Mapping[str, Any]) -> "Request":
        return replace(self, options={**self.options, **options})


@dataclass(frozen=True)
class TrainedCheckpoint:
    """A checkpoint file and its content, from `vae.checkpoint.read`."""

    path: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "TrainedCheckpoint":
        """Reads a file. Raises `UserError` unless it is a checkpoint of this project."""
        return cls(path, checkpoint.read(path))

    @property
    def options(self) -> dict[str, Any]:
        """The options of model and data by their dotted names: texts, numbers and None."""
        data = _DATA_DEFAULTS | self.content.get("datamodule_hyper_parameters", {})
        groups = {"model": self.content["hyper_parameters"], "data": data}
        return {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
