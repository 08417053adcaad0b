"""`LoomCLI`: a LightningCLI whose runs have folders of their own and can be resumed."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from data.datamodule import ImageData
from data.sources import check_source
from data.system.errors import UserError, echo
from data.system.files import check_utf8
from data.system.program import program_arguments
from vae.training import environment
from vae.training.cli.config import ConfigFile, recipes
from vae.training.cli.errors import as_list, fit_errors, foreign_errors, instantiate, trainer_errors
from vae.training.cli.parser import add_training_options, check_plan, check_training_seed, length_options
from vae.training.cli.precision import resolve_precision
from vae.training.cli.report import TrainingReport
from vae.training.cli.start import with_display
from vae.training.health_logger import best_mode
from vae.training.module import VAETraining
from vae.training.runs.best_checkpoint import BestCheckpoint
from vae.training.runs.checkpointing import AtomicCheckpointIO, LastCheckpoint
from vae.training.runs.choice import choose_checkpoint
from vae.training.runs.initial_weights import NONE, InitialWeights, take_initial_weights
from vae.training.runs.request import Request, TrainedCheckpoint
from vae.training.runs.resume import Resumption, check_same_classes, resume
from vae.training.runs.run_folder import RunFolder
from vae.training.runs.time_budget import minutes_options
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
    _checkpoint: TrainedCheckpoint | None = None  # until its state is checked
    _resumed: Path | None = None
    _resumption = Resumption()
    _initial = InitialWeights()

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
        named = {name: known[name] for name in program_arguments()[:1] if name in known}
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
        self._given = self.parser.parse_args(program_arguments(), defaults=False).get(command)
        given = {name for name, value in self._given.items() if name != "config" or value}
        self._request = Request(command, dict(self.config[command].items()), frozenset(given))
        check_training_seed(self._request.options["seed_everything"])
        self._checkpoint = choose_checkpoint(self._request, self._folder.lock)
        self._resumed = None if self._checkpoint is None else self._checkpoint.path
        if self._request.options.get("ckpt_path") == "last":
            named = None if self._resumed is None else str(self._resumed)
            sys.argv.append(f"--ckpt_path={named or 'null'}")  # for the processes that Lightning starts
            self._override({"ckpt_path": named})
        if self._checkpoint is not None:
            self._resumption = resume(self._request, self._checkpoint)
            self._override(self._resumption.options)
        self._folder.record_job()

    def before_instantiate_classes(self) -> None:
        """Resolves the precision and the number of processes, and checks the plan."""
        check_utf8(str(self._request.root))
        options = self._request.options
        precision = resolve_precision(options["trainer.precision"], options["trainer.accelerator"])
        self._override({**environment.launcher_options(options), "trainer.precision": precision})
        if self._request.fitting:
            typed = {word.partition("=")[0].removeprefix("--") for word in program_arguments() if word.startswith("--")}
            if "init" in typed and self._resumed is not None:
                raise UserError("--init: contradicts --ckpt_path, whose weights a training goes on with; leave one out")
            self._override(length_options(self._request.options, typed))
            check_plan(self._request.options)

    def instantiate_classes(self) -> None:
        """Makes model, data and trainer, whose options may be those of a checkpoint or name extensions."""
        self.parser.add_instantiator(instantiate, object)
        with self._errors():
            super().instantiate_classes()
        self.datamodule.trained_on = self._resumption.pictures

    def _errors(self) -> AbstractContextManager[None]:
        """Errors of checkpoints and of extensions as one line."""

        def extensions() -> list[type]:
            trainer = self.config_init[self._request.command].trainer if hasattr(self, "config_init") else {}
            return [type(one) for chosen in trainer.values() for one in as_list(chosen)]

        return foreign_errors(self._resumed, extensions, lambda: hasattr(self, "model") and self.model.begun)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds the logger, unless one was chosen, and the checkpoints, unless they are off; both for `fit` alone."""
        chosen, request = self.config_init[self._request.command].trainer, self._request
        writes = request.fitting and chosen.enable_checkpointing is not False and not chosen.fast_dev_run
        callbacks = as_list(chosen.callbacks)
        checkpoint_io = AtomicCheckpointIO(self.model, self._folder.lock.check)
        if self._checkpoint is not None:
            content = self._checkpoint.content
            check_same_classes(self._checkpoint, self.datamodule.classes, self._request.source)
            checkpoint_io.checked = checked_state(content, self.model, self._checkpoint.path)
            self._report_dropped(callbacks, set(content.get("callbacks", {})) - set(checkpoint_io.checked["callbacks"]))
            self._checkpoint = None  # whose memory is free while a training runs
        elif request.fitting:
            self._initial = take_initial_weights(self.model, request)
            self._override({"init": str(self._initial.path or NONE)})
        self._folder.open(request.root, request.source, self._resumed, writes)
        logs = chosen.logger in (None, True)
        if request.fitting and not chosen.fast_dev_run and (writes or logs):
            self.config_init[request.command].watch.folder = self._folder.logs
        if logs:
            kwargs["logger"] = RunLogger(self._folder.logs, self._resumption.step) if request.fitting else False
        if not request.fitting:
            kwargs["enable_checkpointing"] = False
        elif writes:
            metric = request.options["checkpoint_metric"]
            best = BestCheckpoint(self._folder.path, metric, best_mode(metric))
            last = LastCheckpoint(self._folder.path, request.options["checkpoint_every_n_steps"])
            kwargs["callbacks"] = [*callbacks, best, last]
        if request.fitting and request.options["minutes"] is not None:
            minutes, anew = request.options["minutes"], self._resumption.planned_anew
            kwargs |= minutes_options(minutes, anew, kwargs.get("callbacks", callbacks), request.given)
        kwargs["plugins"] = [*as_list(chosen.plugins), checkpoint_io, *environment.cluster_plugins()]
        bar = chosen.enable_progress_bar is not False
        kwargs["callbacks"] = with_display(kwargs.get("callbacks", callbacks), bar, request.options.get("minutes"))
        with trainer_errors(self._given.as_dict().get("trainer", {})):
            trainer = super().instantiate_trainer(**kwargs)
        # where max_steps is given, Lightning would end an epoch twice when it continues from its end
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        return trainer

    def _report_dropped(self, callbacks: list[pl.Callback], dropped: set[str]) -> None:
        """Prints which of the user's callbacks go on without the state that they had."""
        for callback in callbacks if self._request.fitting and environment.is_first_process() else ():
            if callback.state_key in dropped:
                kind = type(callback).__name__
                echo(f"{kind}: goes on without what it noted before, which is not all numbers; what it wrote stays")

    @property
    def _report(self) -> TrainingReport:
        metric = self._request.options["checkpoint_metric"]
        minutes = self._request.options["minutes"]
        return TrainingReport(self.trainer, self.model, self.datamodule, self._folder, metric, minutes)

    def fit(self, **arguments: Any) -> None:
        with fit_errors(self._report), self._errors():
            check_source(self.datamodule.source)
            weights = str(self._initial) if self._resumed is None else f"Going on from {self._resumed}"
            self._report.print_start(weights or "Starting from random weights")
            self.trainer.fit(**arguments)

    def after_fit(self) -> None:
        self._report.print_summary()

    def validate(self, **arguments: Any) -> None:
        with self._errors():
            self.trainer.validate(**arguments)

    def test(self, **arguments: Any) -> None:
        with self._errors():
            self.trainer.test(**arguments)
