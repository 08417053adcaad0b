"""Trains a VAE on pictures. Without arguments, `fit` on the built-in patterns."""

import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import ExitStack

from data.datamodule import ImageData
from data.system.errors import one_line_errors
from data.system.program import program_arguments, program_command, program_name, replaced_arguments
from vae import __version__
from vae.training.cli.cli import LoomCLI
from vae.training.cli.errors import misconfiguration_errors
from vae.training.cli.parser import TrainingParser
from vae.training.cli.shorthand import expand
from vae.training.module import VAETraining
from vae.training.runs.checkpointing import SaveRunConfig

_IGNORED_WARNINGS = (
    r".*does not have many workers.*",
    r".*number of training batches .* is smaller than the logging interval.*",
    r"(?s).*Checkpoint directory .* exists and is not empty.*",
    r".*LeafSpec.* is deprecated.*",
    r".*callbacks used to create the checkpoint need to be provided.*",
    r".*WeightAveraging callback, but loading a checkpoint outside the 'fit' stage.*",
)


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command; `fit` where none is named.

    Args:
        args: as on the command line, without the program's name; None takes them from there.

    Raises:
        SystemExit: code 2 and one line on standard error for bad input.
    """
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # LightningCLI's own calls would cause them
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # a profile that was asked for
    for message in _IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    name, program = program_name("train"), program_command("train")
    examples = (
        f"{program} ~/pictures                  on a folder, for five minutes",
        f"{program} ~/pictures --minutes 60     for an hour",
        f"{program} fit --ckpt_path last        goes on with one that was interrupted",
    )
    with ExitStack() as stack:
        stack.enter_context(one_line_errors(name))
        words = expand(program_arguments() if args is None else args)
        stack.enter_context(replaced_arguments(words))
        stack.enter_context(misconfiguration_errors())
        LoomCLI(
            VAETraining,
            ImageData,
            parser_class=TrainingParser,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            seed_everything_default=0,
            parser_kwargs={
                "prog": name,
                "description": "\n".join([__doc__ or "", "", *examples]),
                "version": __version__,
            },
            trainer_defaults={
                "max_epochs": -1,
                "precision": None,
                "gradient_clip_val": 1.0,
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,  # ImageData's own sampler does this
                "enable_model_summary": False,
            },
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )
