"""`Request`: the options of one command. `TrainedCheckpoint`: a checkpoint that was read for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.sources import normalize_source
from vae import checkpoint

_DATA_DEFAULTS = {"white": None, "all_frames": False}  # of data options that older checkpoints lack


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
    """The content of a checkpoint file.

    Attributes:
        path: the file.
        content: from `vae.checkpoint.read`.
        modified: the file's time of modification in ns, before it was read.
    """

    path: Path
    content: dict[str, Any]
    modified: int

    @classmethod
    def read(cls, path: Path) -> "TrainedCheckpoint":
        """Reads a file. Raises `UserError` unless it is a checkpoint of this project."""
        modified = path.stat().st_mtime_ns if path.exists() else 0
        return cls(path, checkpoint.read(path), modified)

    def read_again(self) -> "TrainedCheckpoint":
        """The checkpoint that the file holds by now, read only if it was modified."""
        unchanged = self.path.exists() and self.path.stat().st_mtime_ns == self.modified
        return self if unchanged else self.read(self.path)

    def without_content(self) -> "TrainedCheckpoint":
        """The path alone, so that the memory of the content is free while a training runs."""
        return replace(self, content={})

    @property
    def model_options(self) -> dict[str, Any]:
        """The options of the model by their names: texts, numbers and None."""
        return self.content["hyper_parameters"]

    @property
    def data_options(self) -> dict[str, Any]:
        """The options of the data by their names, likewise."""
        return _DATA_DEFAULTS | self.content.get("datamodule_hyper_parameters", {})
