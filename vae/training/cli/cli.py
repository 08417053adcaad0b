"""What LightningCLI lacks: folders for runs, resuming without surprises, the last lines."""

import shutil
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from data.sources import source_name
from data.system.errors import StorageError, TrainingError, describe_oserror, say, shell_quoted
from data.system.files import check_utf8, remove_temporary_files
from data.system.signals import postponed
from vae import checkpoint
from vae.training import environment as launch
from vae.training.cli.config import ConfigFile, recipes
from vae.training.cli.extensions import ExtensionError, build, listed, naming_extensions
from vae.training.cli.monitors import check_monitors
from vae.training.cli.parser import add_options, blaming_the_trainer, check_plan, check_seed
from vae.training.early_end import missed
from vae.training.health_logger import monitored
from vae.training.precision import suitable_precision
from vae.training.runs.best_checkpoint import BestCheckpoint
from vae.training.runs.checkpointing import LastCheckpoint, WholeCheckpointIO, fault
from vae.training.runs.choice import choose
from vae.training.runs.folders import Note, claim, give_back, next_version, own_run
from vae.training.runs.lock import RunLock
from vae.training.runs.resume import Resumed, adopt, blaming
from vae.training.runs.training_state import restored
from vae.training.tensorboard.logger import RunLogger


class LoomCLI(LightningCLI):
    """A LightningCLI for `VAETraining` and `ImageData`."""

    run: Path
    logs: Path
    kept: WholeCheckpointIO
    _claimed = False  # whether the run's folder was made for it
    _resumed = Resumed()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lock = RunLock()
        try:
            super().__init__(*args, **kwargs)  # which runs the command too
        finally:  # whenever a signal comes
            self._give_back()

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Each command's parser; `--config` takes recipes too."""
        parser: LightningArgumentParser = self.parser_class(**kwargs)
        parser.add_argument("-c", "--config", action=ConfigFile, help=f"a YAML file, or one of {', '.join(recipes())}")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Those of `vae.training.cli.parser`."""
        add_options(parser)

    @property
    def _options(self) -> Any:
        return self.config[self.config["subcommand"]]

    @property
    def _root(self) -> Path:
        return Path(self._options.trainer.default_root_dir or ".")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """`fit`, `validate` and `test`; where one of them is named, that one alone, which is quicker to build."""
        known = {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}
        named = {name: known[name] for name in sys.argv[1:2] if name in known}
        return named or known

    @property
    def _given(self) -> Any:
        return self.parser.parse_args(sys.argv[1:], defaults=False).get(self.config["subcommand"])

    def _parse_ckpt_path(self) -> None:
        """Takes what is not given from the checkpoint and its run, and refuses what contradicts it."""
        check_seed(self._options.seed_everything)
        command, options, given = self.config["subcommand"], self._options, self._given
        last = options.get("ckpt_path") == "last"
        choose(command, options, given, self._root, self._lock)
        if last:  # the processes that Lightning starts are to take the same
            sys.argv.append(f"--ckpt_path={options.ckpt_path or 'null'}")
        self._resumed = adopt(command, options, given, self._root)
        self._note_job()

    def _note_job(self) -> None:
        """In the run that is locked."""
        if self._lock.run is not None:
            Note(launch.job(), launch.launch_name()).write(self._lock.run)

    def instantiate_classes(self) -> None:
        """The options may be those of a checkpoint."""
        self.parser.add_instantiator(build, object)
        with self._blaming_the_checkpoint(), self._naming_extensions():
            super().instantiate_classes()
        self.datamodule.trained_on = self._resumed.pictures

    def _blaming_the_checkpoint(self) -> AbstractContextManager[None]:
        return blaming(self._options.get("ckpt_path"), lambda: hasattr(self, "model") and self.model.begun)

    def _naming_extensions(self) -> AbstractContextManager[None]:
        def built() -> Any:
            return self.config_init[self.config["subcommand"]].trainer if hasattr(self, "config_init") else {}

        return naming_extensions(self._options.trainer, built, lambda: hasattr(self, "model") and self.model.begun)

    def before_instantiate_classes(self) -> None:
        """Chooses the precision, and as many processes as the launcher has started."""
        options = self._options
        check_utf8(str(self._root))
        launch.settle(options.trainer)
        options.trainer.precision = suitable_precision(options.trainer.precision, options.trainer.accelerator)
        if self.subcommand == "fit":
            check_plan(options)

    def _folder(self, keeping: bool) -> Path:
        """That of the run which goes on, or a new one, claimed by the first process if anything will be kept there."""
        name = source_name(self._options.data.source)
        runs, logs = self._root / "checkpoints" / name, self._root / "logs" / name
        resumed = Path(self._options.get("ckpt_path") or "")
        own, first = own_run(resumed, self._root), keeping and launch.is_first()
        if own is not None:
            for name in ("last.ckpt", "best.ckpt", "config.yaml") if first else ():
                remove_temporary_files(own / name)
            return own
        if first:
            with postponed():
                self.run, self._claimed = claim(runs, logs), True
            self._lock.take(self.run)
            self._note_job()
            return self.run
        return runs / f"version_{next_version(runs, logs)}"

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds the logger, unless one was chosen, and the checkpoints, unless they are off; both for fitting alone."""
        chosen = self.config_init[self.subcommand].trainer
        fitting = self.subcommand == "fit"
        keeping = fitting and chosen.enable_checkpointing is not False and not chosen.fast_dev_run
        monitor, mode = monitored(self._options.checkpoint_metric) if fitting else ("", "")
        if fitting:
            check_monitors(listed(chosen.callbacks))
        unrestored = self._check_checkpoint()
        self.run, self.kept = self._folder(keeping), WholeCheckpointIO(self.model)
        self.kept.check = self._lock.check
        self.logs = self._logs_of(self.run)
        if chosen.logger in (None, True):
            kwargs["logger"] = RunLogger(self.logs, self._resumed.step) if fitting else False
        if not fitting:
            kwargs["enable_checkpointing"] = False
        elif keeping:
            kwargs["callbacks"] = [
                *listed(chosen.callbacks),
                BestCheckpoint(self.run, monitor, mode),
                LastCheckpoint(self.run, self._options.checkpoint_every_n_steps),
            ]
        kwargs["plugins"] = [*listed(chosen.plugins), self.kept, *launch.environment()]
        with blaming_the_trainer(lambda: self._given.as_dict().get("trainer", {})):
            trainer = super().instantiate_trainer(**kwargs)
        for callback in trainer.callbacks if fitting and launch.is_first() else ():  # type: ignore[attr-defined]
            if callback.state_key in unrestored:
                kind = type(callback).__name__
                say(f"{kind}: goes on without what it noted before, which is not all numbers; what it wrote stays")
        # where max_steps is given, Lightning would end an epoch twice when it goes on from its end
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        return trainer

    def _check_checkpoint(self) -> set[str]:
        """Looks at the training's state in the checkpoint, before anything is made; whose state is not taken over."""
        if not (named := self._options.get("ckpt_path")):
            return set()
        content = checkpoint.read(Path(named))
        return set(content.get("callbacks", {})) - set(restored(content, self.model, Path(named))["callbacks"])

    def fit(self, **arguments: Any) -> None:
        """Trains; when interrupted, says how to go on. Lightning ends an interrupted program by itself."""
        try:
            with self._blaming_the_checkpoint(), self._naming_extensions():
                self._announce()
                self.trainer.fit(**arguments)
            if found := fault(self.trainer):
                raise found
        except SystemExit as stop:
            if not self.trainer.interrupted:
                raise
            if self.trainer.is_global_zero:
                print(file=sys.stderr)  # below the progress bar
                say(f"train.py: interrupted; {self._next()}", sys.stderr)
                launch.requeue_after(stop.code)
            meant = isinstance(stop.code, int) and stop.code > 128  # Lightning's own code says no more than that
            raise SystemExit(stop.code if meant else 128 + signal.SIGINT) from None
        except ExtensionError as error:
            raise TrainingError(f"{error}; {self._next()}") from None
        except TrainingError as error:
            raise TrainingError(f"{error}; {self._remedy()}") from None
        except (StorageError, OSError) as error:
            raise StorageError(
                f"{describe_oserror(error) if isinstance(error, OSError) else error}; {self._next()}"
            ) from None
        except RuntimeError as error:
            if self.trainer.world_size == 1 or "onnection" not in str(error):
                raise
            raise TrainingError(f"a process that trained with this one has ended; {self._next()}") from None

    def validate(self, **arguments: Any) -> None:
        """Measures a checkpoint."""
        with self._blaming_the_checkpoint(), self._naming_extensions():
            self.trainer.validate(**arguments)

    def test(self, **arguments: Any) -> None:
        """Measures a checkpoint more closely."""
        with self._blaming_the_checkpoint(), self._naming_extensions():
            self.trainer.test(**arguments)

    def _give_back(self) -> None:
        """What a new run leaves that has made no step."""
        self._lock.release()
        if not self._claimed:
            return
        logs = self._logs_of(self.run)
        if not (hasattr(self, "trainer") and self.trainer.global_step > (self._resumed.step or 0)):
            for folder in (self.run, logs):
                shutil.rmtree(folder, ignore_errors=True)
        give_back(self.run)
        give_back(logs)

    def _logs_of(self, run: Path) -> Path:
        return self._root / "logs" / run.parent.name / run.name

    def _next(self) -> str:
        last = self.run / "last.ckpt"
        if not last.is_file():
            return "fit again: nothing was kept yet"
        if self.trainer.state.finished and not self.kept.fault:
            return f"the training is done and kept in {last}"
        return f"go on with python train.py fit --ckpt_path {shell_quoted(last)}"

    def _remedy(self) -> str:
        """What to do when numbers were not finite."""
        anew = "train anew with a lower --model.lr or --trainer.precision 32-true"
        if not (self.run / "last.ckpt").is_file():
            return anew
        skips = self.model.alarm.skips
        how = "--model.on_nonfinite skip" if skips is None else f"--model.skip_at_most {2 * skips + 1}"
        return f"{self._next()} {how} from before it, or {anew}"

    def _announce(self) -> None:
        if self.trainer.is_global_zero:
            data, device = self.datamodule, type(self.trainer.accelerator).__name__.removesuffix("Accelerator")
            size = f"{data.image_size}×{data.image_size}×{data.channels}"
            say(f"Training on {data.source}, {size}, {device}, {self.trainer.precision}: {self.run}")

    def after_fit(self) -> None:
        """Says where the result is and what to do with it."""
        last = self.run / "last.ckpt"
        if not self.trainer.is_global_zero or not last.is_file():
            return
        done = self.trainer.current_epoch
        best = self.run / "best.ckpt"
        kept = f" (best {self._options.checkpoint_metric}: {best})" if best.is_file() else ""
        print()  # below the progress bar
        say(f"Trained {done} epochs. Checkpoint: {last}{kept}")
        if any(isinstance(logger, RunLogger) for logger in self.trainer.loggers):
            say(f"Watch:  tensorboard --logdir {shell_quoted(self._root / 'logs')} --samples_per_plugin images=200")
        say(f"Render: python render.py slerp --checkpoint {shell_quoted(last)}")
        planned = {name: getattr(self.trainer, name) for name in ("max_epochs", "max_steps")}
        planned = {name: count for name, count in planned.items() if count is not None and count > 0}
        if found := missed(self.model.schedule, self.model.progress, planned):
            what, options = found
            say(f"It was ended early and missed {what}: its pictures are blurrier than they could be.")
            say(f"Have it, without what ended it: python train.py fit --ckpt_path {shell_quoted(last)}{options}")
