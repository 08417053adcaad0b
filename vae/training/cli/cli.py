"""`LoomCLI`: a LightningCLI whose runs have folders of their own and can be resumed."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from data.datamodule import ImageData
from data.system.errors import echo
from data.system.files import check_utf8
from vae.training import environment
from vae.training.cli.config import ConfigFile, recipes
from vae.training.cli.errors import checkpoint_errors, fit_errors, trainer_errors
from vae.training.cli.extensions import as_list, extension_errors, instantiate
from vae.training.cli.monitors import check_monitors
from vae.training.cli.parser import add_training_options, check_plan, check_training_seed
from vae.training.cli.report import TrainingReport
from vae.training.health_logger import monitor_and_mode
from vae.training.module import VAETraining
from vae.training.precision import resolve_precision
from vae.training.runs.best_checkpoint import BestCheckpoint
from vae.training.runs.checkpointing import AtomicCheckpointIO, LastCheckpoint
from vae.training.runs.choice import choose_checkpoint
from vae.training.runs.request import Request, TrainedCheckpoint
from vae.training.runs.resume import Resumption, resume
from vae.training.runs.run_folder import RunFolder
from vae.training.runs.training_state import checked_state
from vae.training.tensorboard.logger import RunLogger


class LoomCLI(LightningCLI):
    """A LightningCLI for `VAETraining` and `ImageData`.

    Lightning calls its methods in this order: `_parse_ckpt_path`, `before_instantiate_classes`, `instantiate_classes`,
    `instantiate_trainer`, and then `fit`, `validate` or `test`.
    """

    model: VAETraining
    datamodule: ImageData
    _request: Request
    _given: Any  # jsonargparse's namespace of the options that the user gave
    _checkpoint: TrainedCheckpoint | None = None
    _resumption = Resumption()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._folder = RunFolder()
        try:
            super().__init__(*args, **kwargs)  # runs the command too
        finally:  # at whatever moment a signal comes
            steps = self.trainer.global_step if hasattr(self, "trainer") else 0
            self._folder.close(trained=steps > (self._resumption.step or 0))

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """`fit`, `validate` and `test`; where one of them is named, that one alone, which is quicker to build."""
        known = {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}
        named = {name: known[name] for name in sys.argv[1:2] if name in known}
        return named or known

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A command's parser, whose `--config` takes recipes too."""
        parser: LightningArgumentParser = self.parser_class(**kwargs)
        parser.add_argument("-c", "--config", action=ConfigFile, help=f"a YAML file, or one of {', '.join(recipes())}")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        add_training_options(parser)

    def _override(self, options: Mapping[str, Any]) -> None:
        """Sets options, for Lightning and in the request."""
        for name, value in options.items():
            self.config[self._request.command][name] = value
        self._request = self._request.override(options)

    def _parse_ckpt_path(self) -> None:
        """Finds the checkpoint that is named, and takes the options that are not given from its run."""
        command = self.config["subcommand"]
        self._given = self.parser.parse_args(sys.argv[1:], defaults=False).get(command)
        given = {name for name, value in self._given.items() if name != "config" or value}
        self._request = Request(command, dict(self.config[command].items()), frozenset(given))
        check_training_seed(self._request.options["seed_everything"])
        self._checkpoint = choose_checkpoint(self._request, self._folder.lock)
        if self._request.options.get("ckpt_path") == "last":
            named = None if self._checkpoint is None else str(self._checkpoint.path)
            sys.argv.append(f"--ckpt_path={named or 'null'}")  # for the processes that Lightning starts
            self._override({"ckpt_path": named})
        if self._checkpoint is not None:
            self._resumption = resume(self._request, self._checkpoint)
            self._override(self._resumption.options)
        self._folder.record_job()

    def before_instantiate_classes(self) -> None:
        """Resolves the precision and the number of processes, and checks the plan."""
        check_utf8(str(self._request.root))
        strategy, devices, num_nodes, precision, accelerator = (
            self._request.options.get(f"trainer.{name}")
            for name in ("strategy", "devices", "num_nodes", "precision", "accelerator")
        )
        found: dict[str, Any] = dict(environment.launcher_options(strategy, devices, num_nodes))
        found["precision"] = resolve_precision(precision, accelerator)
        self._override({f"trainer.{name}": value for name, value in found.items()})
        if self._request.fitting:
            check_plan(self._request.options)

    def instantiate_classes(self) -> None:
        """Makes model, data and trainer, whose options may be those of a checkpoint or name extensions."""
        self.parser.add_instantiator(instantiate, object)
        with self._errors():
            super().instantiate_classes()
        self.datamodule.trained_on = self._resumption.pictures

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of checkpoints and of extensions as one line."""

        def begun() -> bool:
            return hasattr(self, "model") and self.model.begun

        def extensions() -> list[object]:
            trainer = self.config_init[self._request.command].trainer if hasattr(self, "config_init") else {}
            return [one for chosen in trainer.values() for one in as_list(chosen)]

        path = None if self._checkpoint is None else self._checkpoint.path
        named = self.config[self._request.command].trainer.as_dict()
        with checkpoint_errors(path, begun), extension_errors(named, extensions, begun):
            yield

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds the logger, unless one was chosen, and the checkpoints, unless they are off; both for `fit` alone."""
        chosen, options = self.config_init[self._request.command].trainer, self._request.options
        fitting = self._request.fitting
        writes = fitting and chosen.enable_checkpointing is not False and not chosen.fast_dev_run
        callbacks = as_list(chosen.callbacks)
        monitor, mode = monitor_and_mode(options["checkpoint_metric"]) if fitting else ("", "")
        if fitting:
            check_monitors(callbacks)
        checkpoint_io = AtomicCheckpointIO(self.model)
        checkpoint_io.check = self._folder.lock.check
        dropped = self._check_state(checkpoint_io)
        resumed = None if self._checkpoint is None else self._checkpoint.path
        self._folder.open(self._request.root, self._request.source, resumed, writes)
        if chosen.logger in (None, True):
            kwargs["logger"] = RunLogger(self._folder.logs, self._resumption.step) if fitting else False
        if not fitting:
            kwargs["enable_checkpointing"] = False
        elif writes:
            best = BestCheckpoint(self._folder.path, monitor, mode)
            last = LastCheckpoint(self._folder.path, options["checkpoint_every_n_steps"])
            kwargs["callbacks"] = [*callbacks, best, last]
        kwargs["plugins"] = [*as_list(chosen.plugins), checkpoint_io, *environment.cluster_plugins()]
        with trainer_errors(self._given.as_dict().get("trainer", {})):
            trainer = super().instantiate_trainer(**kwargs)
        for callback in trainer.callbacks if fitting and environment.is_first_process() else ():  # type: ignore[attr-defined]
            if callback.state_key in dropped:
                kind = type(callback).__name__
                echo(f"{kind}: goes on without what it noted before, which is not all numbers; what it wrote stays")
        # where max_steps is given, Lightning would end an epoch twice when it continues from its end
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        return trainer

    def _check_state(self, checkpoint_io: AtomicCheckpointIO) -> set[str]:
        """Checks the training's state in the checkpoint and hands it on; returns the callbacks that lose theirs."""
        if self._checkpoint is None:
            return set()
        content, self._checkpoint = self._checkpoint.content, self._checkpoint.without_content()
        checkpoint_io.checked = checked_state(content, self.model, self._checkpoint.path)
        return set(content.get("callbacks", {})) - set(checkpoint_io.checked["callbacks"])

    @property
    def _report(self) -> TrainingReport:
        metric = self._request.options["checkpoint_metric"]
        return TrainingReport(self.trainer, self.model, self.datamodule, self._folder, metric)

    def fit(self, **arguments: Any) -> None:
        with fit_errors(self._report), self._errors():
            self._report.print_start()
            self.trainer.fit(**arguments)

    def after_fit(self) -> None:
        self._report.print_summary()

    def validate(self, **arguments: Any) -> None:
        with self._errors():
            self.trainer.validate(**arguments)

    def test(self, **arguments: Any) -> None:
        with self._errors():
            self.trainer.test(**arguments)
