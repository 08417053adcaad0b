"""What LightningCLI lacks: folders for runs, resuming without surprises, the last lines."""

import re
import signal
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from data.errors import UserError
from data.module import source_name
from vae.callbacks import HealthLogger, monitored
from vae.gallery import MorphLogger
from vae.keeping import LastCheckpoint, WholeCheckpointIO
from vae.resuming import LINKED, adopt
from vae.runs import claim, give_back, next_version


class Parser(LightningArgumentParser):
    """Tells what is wrong with an argument in one line."""

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Prints the message and exits with code 2."""
        print(f"train.py: {' '.join(str(message).split())} (see python train.py fit --help)", file=sys.stderr)
        raise SystemExit(2)


class LoomCLI(LightningCLI):
    """A LightningCLI for `VAETraining` and `ImageData`."""

    run: Path
    _resumed_at: int | None = None  # the step; what an interrupted run wrote of later ones is hidden

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
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

    @property
    def _options(self) -> Any:
        return self.config[self.config["subcommand"]]

    @property
    def _root(self) -> Path:
        return Path(self._options.trainer.default_root_dir or ".")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """`predict` is left out: that is what render.py is for."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}

    def _parse_ckpt_path(self) -> None:
        """Takes what is not given from the checkpoint and its run, and refuses what contradicts it."""
        command, options = self.config["subcommand"], self._options
        given = self.parser.parse_args(sys.argv[1:], defaults=False).get(command)
        self._resumed_at = adopt(command, options, given, self._root)

    def before_instantiate_classes(self) -> None:
        """Chooses the precision and the run's folders."""
        options = self._options
        if options.trainer.precision is None:
            options.trainer.precision = best_precision(options.trainer.accelerator)
        if str(options.trainer.precision) in ("bf16-true", "16-true", "64-true", "64"):
            raise UserError(
                f"--trainer.precision {options.trainer.precision}: the likelihood and what is measured want float32; "
                "take bf16-mixed, 16-mixed or 32-true"
            )
        if self.subcommand == "fit" and options.trainer.max_epochs == -1 and options.trainer.max_steps == -1:
            raise UserError(
                "--trainer.max_epochs -1: the recipe changes what is learnt on the way to a planned end; "
                "name it with --trainer.max_epochs or --trainer.max_steps"
            )

    def _folder(self, keeping: bool) -> Path:
        """That of the run which goes on, or a new one, claimed by the first process if anything will be kept there."""
        name = source_name(self._options.data.source)
        runs, logs = self._root / "checkpoints" / name, self._root / "logs" / name
        resumed = Path(self._options.get("ckpt_path") or "")
        if resumed.name == "last.ckpt" and resumed.parent.parent.resolve() == runs.resolve():
            return resumed.parent
        if keeping and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            return claim(runs, logs)
        return runs / f"version_{next_version(runs, logs)}"

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds the logger, unless one was chosen, and the checkpoints, unless they are off; both for fitting alone."""
        chosen = self.config_init[self.subcommand].trainer
        fitting = self.subcommand == "fit"
        keeping = fitting and chosen.enable_checkpointing is not False and not chosen.fast_dev_run
        self.run = self._folder(keeping)
        if chosen.logger in (None, True):
            match = re.fullmatch(r"version_(\d+)", self.run.name)
            version = int(match[1]) if match else self.run.name
            logs = self._root / "logs"
            kwargs["logger"] = (
                TensorBoardLogger(
                    logs, self.run.parent.name, version, default_hp_metric=False, purge_step=self._resumed_at
                )
                if fitting
                else False
            )
        if not fitting:
            kwargs["enable_checkpointing"] = False
        elif keeping:
            monitor, mode = monitored(self._options.checkpoint_metric)
            kept: dict[str, Any] = {"dirpath": str(self.run), "enable_version_counter": False}
            kwargs["callbacks"] = [
                *_listed(chosen.callbacks),
                ModelCheckpoint(filename="best", monitor=monitor, mode=mode, **kept),
                LastCheckpoint(self.run, self._options.checkpoint_every_n_steps),
            ]
        kwargs["plugins"] = [*_listed(chosen.plugins), WholeCheckpointIO()]
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except BaseException:
            give_back(self.run)
            raise
        # where max_steps is given, Lightning would end an epoch twice when it goes on from its end
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        return trainer

    def fit(self, **arguments: Any) -> None:
        """Trains; when interrupted, says how to go on. Lightning ends an interrupted program by itself."""
        try:
            self.trainer.fit(**arguments)
        except SystemExit as stop:
            if not self.trainer.interrupted:
                raise
            if self.trainer.is_global_zero:
                last = self.run / "last.ckpt"
                how = f"fit --ckpt_path {last}" if last.is_file() else "fit again: nothing was kept yet"
                print(f"\ntrain.py: interrupted; go on with python train.py {how}", file=sys.stderr)
            told = isinstance(stop.code, int) and stop.code > 128  # Lightning's own code says no more than that
            raise SystemExit(stop.code if told else 128 + signal.SIGINT) from None
        finally:
            give_back(self.run)

    def before_fit(self) -> None:
        """Says what is trained on what."""
        if self.trainer.is_global_zero:
            data, device = self.datamodule, type(self.trainer.accelerator).__name__.removesuffix("Accelerator")
            size = f"{data.image_size}×{data.image_size}×{data.channels}"
            print(f"Training on {data.source}, {size}, {device}, {self.trainer.precision}: {self.run}", flush=True)

    def after_fit(self) -> None:
        """Says where the result is and what to do with it."""
        last = self.run / "last.ckpt"
        if not self.trainer.is_global_zero or not last.is_file():
            return
        done = self.trainer.current_epoch
        best = self.run / "best.ckpt"
        kept = f" (best {self._options.checkpoint_metric}: {best})" if best.is_file() else ""
        print(f"\nTrained {done} epochs. Checkpoint: {last}{kept}")
        print(f"Watch:  tensorboard --logdir {self._root / 'logs'} --samples_per_plugin images=200")
        print(f"Render: python render.py --checkpoint {last}")


def _listed(chosen: Any) -> list[Any]:
    """Lightning takes one callback or plugin as well as a list."""
    return list(chosen) if isinstance(chosen, (list, tuple)) else [] if chosen is None else [chosen]


def best_precision(accelerator: Any) -> str:
    """bf16-mixed where the device computes it in hardware, float32 elsewhere."""
    if torch.cuda.is_available() and accelerator != "cpu":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        on_cpu = accelerator == "cpu" or not torch.backends.mps.is_available()
        native = on_cpu and bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return "bf16-mixed" if native else "32-true"
