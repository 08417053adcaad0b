"""The training's command line: the options beside those of model, data and trainer, and what is refused of them all."""

from typing import Any

from jsonargparse.typing import PositiveInt
from lightning.pytorch.cli import LightningArgumentParser

from data.errors import UserError
from vae.callbacks import HealthLogger
from vae.gallery import MorphLogger
from vae.mistakes import Telling
from vae.resuming import LINKED


class Parser(Telling, LightningArgumentParser):
    """Tells what is wrong with an argument in one line."""

    program, manual = "train.py", "python train.py fit --help"


def add_options(parser: LightningArgumentParser) -> None:
    """The size of the images is stated once, by the data; `--watch` and `--health` say what is seen."""
    for name in LINKED:
        parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")
    parser.add_lightning_class_args(MorphLogger, "watch")
    parser.add_lightning_class_args(HealthLogger, "health")
    parser.add_argument(
        "--checkpoint_metric",
        type=str,
        default="val/elbo",
        help="what best.ckpt is best by: val/elbo, smoothness/sharp_mid/slerp, latent/aggregate_variance, …",
    )
    parser.add_argument(
        "--checkpoint_every_n_steps",
        type=PositiveInt | None,
        default=None,
        help="how often last.ckpt is kept within an epoch; null is every two minutes",
    )


def check_plan(trainer: Any) -> None:
    """Raises `UserError` unless the trainer's options say where a training ends, in epochs or steps."""
    if trainer.max_time:
        raise UserError(
            "--trainer.max_time: would count the epoch in which it ends as done; end the program by SIGTERM, "
            "as timeout 2h python train.py … does, and go on with --ckpt_path last"
        )
    if trainer.max_epochs == -1 and trainer.max_steps == -1:
        raise UserError(
            "--trainer.max_epochs -1: the recipe changes what is learnt on the way to a planned end; "
            "name it with --trainer.max_epochs or --trainer.max_steps"
        )
