"""The lines that begin a training: on what pictures and what machine, for how long, and from which weights."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar

from data.datamodule import ImageData
from data.system.errors import echo
from vae.training.progress_bar import TrainingProgressBar


class PicturesReport(pl.Callback):
    """Prints how many pictures there are as soon as that is known: before the first step."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero:
            echo(describe_pictures(trainer.datamodule))  # type: ignore[attr-defined]


def with_display(callbacks: Sequence[pl.Callback], bar: bool, minutes: float | None) -> list[pl.Callback]:
    """Callbacks, and those that show something: the report, and a `bar` of so many minutes if none of them is one."""
    own = bar and not any(isinstance(one, ProgressBar) for one in callbacks)
    return [*callbacks, PicturesReport(), *([TrainingProgressBar(minutes)] if own else [])]


def describe_start(trainer: pl.Trainer, source: str, minutes: float | None, folder: Path, weights: str) -> list[str]:
    """What is known of a training before its pictures are read: two lines."""
    return [
        f"Training on {source} for {describe_length(trainer, minutes)}: {folder}",
        f"{describe_device(trainer)}, {trainer.precision}. {weights}",
    ]


def describe_pictures(data: ImageData) -> str:
    """The pictures of data that are set up: how many, their size, and how many are not used, and why."""
    train, held_out = len(data.train_set), len(data.val_set)
    kind = "RGB" if data.channels == 3 else "grey"
    broken = f", {data.broken:,} left out (broken)" if data.broken else ""
    pictures = f"{train + held_out:,} pictures, {data.image_size}×{data.image_size} {kind}{broken}"
    return f"{pictures}; {held_out:,} of them held out for validation"


def describe_length(trainer: pl.Trainer, minutes: float | None) -> str:
    """How long a training is to be, in its own units."""

    def parts() -> Iterator[str]:
        for amount, unit in ((minutes, "minute"), (trainer.max_epochs, "epoch"), (trainer.max_steps, "step")):
            if amount is not None and amount > 0:
                yield f"{amount:g} {unit}{'' if amount == 1 else 's'}"

    return " or ".join(parts())


def describe_device(trainer: pl.Trainer) -> str:
    """What a training runs on: the name of a GPU, or how many threads of the processor."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        threads = torch.get_num_threads()
        name = f"CPU with {threads} thread{'' if threads == 1 else 's'}"
    else:
        name = device.type.upper()
    return name if trainer.world_size == 1 else f"{trainer.world_size} × {name}"
