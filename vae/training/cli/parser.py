"""The parser of the training's command line, the options beside those of model, data and trainer, and their checks."""

from collections.abc import Mapping, Set
from typing import Any, ClassVar

from lightning.pytorch.cli import LightningArgumentParser

from data.system.errors import UserError, check_at_least
from vae.checkpoint import RENAMED_OPTIONS
from vae.command_line.mistakes import OneLineParser
from vae.safe_yaml import guard_configs
from vae.training.cli.config import recipes
from vae.training.cli.prominent import MEANINGS, prominent
from vae.training.health_logger import HealthLogger, best_mode
from vae.training.loggers.morph_logger import MorphLogger
from vae.training.loggers.realism_logger import RealismLogger
from vae.training.runs.run_config import LINKED, has_planned_end

guard_configs()
_LEAST = {"accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "gradient_clip_val": 0, "log_every_n_steps": 0}


class TrainingParser(OneLineParser, LightningArgumentParser):
    """The parser of a command; its errors are one line."""

    program, default_option = "train", "--data.source"
    option_for: ClassVar = {
        **dict.fromkeys((".yaml", ".yml", *recipes()), "--config"),
        **dict.fromkeys((".ckpt", "last"), "--ckpt_path"),
    }
    synonyms: ClassVar = {
        "--epochs": "--trainer.max_epochs",
        "--time": "--minutes",
        "--steps": "--trainer.max_steps",
        "--gpus": "--trainer.devices",
        "--dataset": "--data.source",
        "--checkpoint": "--ckpt_path",
        "--resume": "--ckpt_path last",
        **{f"--model.{old}": f"--model.{new}" for old, new in RENAMED_OPTIONS.items()},
    }

    @property
    def prominent(self) -> Mapping[str, Mapping[str, str | None]]:
        """The options that the help of the command shows."""
        return prominent(self.command)

    @property
    def meaning(self) -> str:
        """What the command does."""
        return MEANINGS.get(self.command, super().meaning)

    @property
    def called(self) -> str:
        """How the command is called."""
        return super().called.replace(" [", " [pictures] [")

    def dump(self, namespace: Any, format: str = "parser_mode", with_comments: bool = True, **options: Any) -> str:
        """The options as YAML with the meaning, type and default of each key above it, as `--print_config` prints."""
        return super().dump(namespace, format=format, with_comments=with_comments, **options)


def add_training_options(parser: LightningArgumentParser) -> None:
    """Adds the options of the callbacks and of checkpoints; the size of the images is given once, to the data."""
    for name in sorted(LINKED):
        parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")
    parser.link_arguments("data.classes", "model.classes", apply_on="instantiate")
    parser.add_lightning_class_args(MorphLogger, "watch")
    parser.add_lightning_class_args(HealthLogger, "health")
    parser.add_lightning_class_args(RealismLogger, "realism")
    parser.add_argument(
        "--minutes",
        type=float | None,
        default=5.0,
        help="how long to train; trainer.max_epochs or trainer.max_steps takes its place",
    )
    parser.add_argument(
        "--init",
        type=str | None,
        default=None,
        help="a checkpoint whose weights a new training starts from, as far as they fit; none starts at random; "
        "null is the shipped pictures.ckpt for RGB pictures of your own at its size",
    )
    parser.add_argument(
        "--checkpoint_metric",
        type=str,
        default="val/elbo",
        help="what best.ckpt is best by: val/elbo, smoothness/sharp_mid/slerp, …",
    )
    parser.add_argument(
        "--checkpoint_every_n_steps",
        type=int | None,
        default=None,
        help="how often last.ckpt is kept within an epoch; null is every two minutes",
    )


def length_options(options: Mapping[str, Any], typed: Set[str]) -> dict[str, Any]:
    """The options, by dotted names, that make minutes or epochs and steps the length of a training.

    What was typed on the command line takes the place of what a config says. Raises `UserError` if both were typed.

    >>> defaults = {"minutes": 5.0, "trainer.max_epochs": -1, "trainer.max_steps": -1}
    >>> length_options(defaults, set()), length_options(defaults | {"trainer.max_epochs": 3}, set())
    ({}, {'minutes': None})
    >>> sorted(length_options(defaults | {"trainer.max_epochs": 3}, {"minutes"}).items())
    [('trainer.max_epochs', -1), ('trainer.max_steps', -1)]
    """
    ends = {"trainer.max_epochs", "trainer.max_steps"}
    if "minutes" in typed and options["minutes"] is not None:
        for name in sorted(ends & typed):
            raise UserError(f"--minutes: contradicts --{name}; give one of them, the other as null")
        return dict.fromkeys(ends, -1)
    return {"minutes": None} if has_planned_end(options) else {}


def check_plan(options: Mapping[str, Any]) -> None:
    """Raises `UserError` unless the options of `fit`, by dotted names, plan a training that ends."""
    best_mode(options["checkpoint_metric"])
    check_at_least(1, "--checkpoint_every_n_steps", options["checkpoint_every_n_steps"])
    for name, least in _LEAST.items():
        check_at_least(least, f"--trainer.{name}", options[f"trainer.{name}"])
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if options[f"trainer.{name}"] == 0:
            raise UserError(f"--trainer.{name} 0: leaves nothing to train; give more, or leave it out")
    if options.get("trainer.max_time"):
        raise UserError("--trainer.max_time: would count its last epoch as done; end it by SIGTERM, as timeout 2h does")
    if options["minutes"] is None and not has_planned_end(options):
        raise UserError("--minutes null: the recipe needs a planned end; give minutes, or --trainer.max_epochs")


def check_training_seed(seed: bool | int) -> None:
    """Raises `UserError` unless numpy can be seeded with it."""
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed_everything {seed}: must be from 0 to {2**32 - 1}")
