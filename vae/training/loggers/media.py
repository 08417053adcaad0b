"""Pictures and GIFs in loggers, each of which takes them by its own means: TensorBoard, Weights & Biases, MLflow."""

import io
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]

from vae.optional import check_installed
from vae.render.formats.frame import Frame
from vae.training.tensorboard.logger import RunLogger

_PACKAGES: Mapping[type[Logger], str] = {WandbLogger: "wandb", MLFlowLogger: "mlflow"}  # the extras' names, too


class Media(NamedTuple):
    """What a validation shows, by tags.

    Attributes:
        gifs: contents of files.
        stills: uint8 (H, W, 3).
    """

    gifs: Mapping[str, bytes]
    stills: Mapping[str, Frame]


def prepare_logger(kind: type) -> None:
    """Raises `UserError` if the package that a class of loggers needs is not installed.

    MLflow is allowed its folder, which is where Lightning has it write unless a server is named, and which it refuses
    by itself in newer versions.
    """
    for known, package in _PACKAGES.items():
        if issubclass(kind, known):
            check_installed(package, package)
    if issubclass(kind, MLFlowLogger):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")


def media_loggers(trainer: pl.Trainer) -> list[Logger]:
    """The loggers of a trainer that take pictures, without a fault."""
    found = [logger for logger in trainer.loggers if isinstance(logger, tuple(_MEANS))]
    return [logger for logger in found if not (isinstance(logger, RunLogger) and logger.events.fault)]


def log_media(logger: Logger, media: Media, step: int) -> None:
    """Gives a logger what it shows. Raises `StorageError`, or what the logger's package raises."""
    next(log for kind, log in _MEANS.items() if isinstance(logger, kind))(logger, media, step)


def _to_tensorboard(logger: TensorBoardLogger, media: Media, step: int) -> None:
    for tag, content in media.gifs.items():
        gif = Summary.Image(encoded_image_string=content)  # `add_image` decodes it
        summary = Summary(value=[Summary.Value(tag=tag, image=gif)])
        logger.experiment._get_file_writer().add_summary(summary, step)
    for tag, picture in media.stills.items():
        logger.experiment.add_image(tag, picture, step, dataformats="HWC")
    if isinstance(logger, RunLogger) and (fault := logger.events.fault):
        logger.events.fault = None  # the training goes on
        raise fault


def _to_wandb(logger: WandbLogger, media: Media, step: int) -> None:
    for tag, content in media.gifs.items():
        logger.log_video(tag, [io.BytesIO(content)], step, format=["gif"])  # as it is; frames would need moviepy
    for tag, picture in media.stills.items():
        logger.log_image(tag, [picture], step)


def _to_mlflow(logger: MLFlowLogger, media: Media, step: int) -> None:
    run = logger.run_id or ""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{step:012d}.gif"  # it takes files alone, by their names
        for tag, content in media.gifs.items():
            file.write_bytes(content)
            logger.experiment.log_artifact(run, str(file), tag)
    for tag, picture in media.stills.items():
        logger.experiment.log_image(run, picture, key=tag, step=step)


_MEANS: Mapping[type[Logger], Callable[[Any, Media, int], None]] = {
    TensorBoardLogger: _to_tensorboard,
    WandbLogger: _to_wandb,
    MLFlowLogger: _to_mlflow,
}
