"""`TrainingReport`: the lines that begin and end a training, which say where its files are and how to continue."""

import sys
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl

from data.datamodule import ImageData
from data.system.errors import echo, shell_quoted
from data.system.program import program_command, program_name
from vae.metrics.verdict import verdict
from vae.render.growth.morph_files import FOLDER
from vae.training.cli.start import describe_start
from vae.training.module import VAETraining
from vae.training.runs.checkpointing import write_error
from vae.training.runs.run_folder import RunFolder
from vae.training.tensorboard.logger import RunLogger

_SHORTEST = 0.05  # minutes


@dataclass(frozen=True)
class TrainingReport:
    """The lines of one training, whose `best.ckpt` is best by `metric`."""

    trainer: pl.Trainer
    module: VAETraining
    data: ImageData
    folder: RunFolder
    metric: str
    minutes: float | None = None

    @property
    def last(self) -> Path:
        """The checkpoint that the training continues from."""
        return self.folder.path / "last.ckpt"

    def print_start(self, weights: str) -> None:
        """Prints what is known before the pictures are read; `weights` says what they are initially."""
        if self.trainer.is_global_zero:
            for line in describe_start(self.trainer, self.data.source, self.minutes, self.folder.path, weights):
                echo(line)

    def print_interruption(self) -> None:
        """Prints how to continue."""
        echo(f"{program_name('train')}: interrupted; {self.continuation()}", sys.stderr)

    def continuation(self) -> str:
        """The command that continues the training, in words."""
        if not self.last.is_file():
            return "fit again: nothing was kept yet"
        if self.trainer.state.finished and write_error(self.trainer) is None:
            return f"the training is done and kept in {self.last}"
        words = f"go on with {self.resuming}"
        return (
            f"{words}, or add{self.short_ending} and the decoder alone learns for so long"
            if self.short_ending
            else words
        )

    @property
    def resuming(self) -> str:
        """The command that continues the training, which is trusted below its own folder alone."""
        root = Path(self.trainer.default_root_dir)
        where = "" if root.resolve() == Path.cwd() else f" --trainer.default_root_dir {shell_quoted(root)}"
        return f"{program_command('train')} fit --ckpt_path {shell_quoted(self.last)}{where}"

    @property
    def short_ending(self) -> str:
        """The option with which a training that was planned in minutes ends well, and soon.

        It then has as its last tenth the phase in which the decoder learns alone. Empty if that has begun.
        """
        progress = self.module.progress
        if not self.minutes or not 0 < progress < 1 - self.module.options.decoder_share:
            return ""
        return f" --minutes {max(_SHORTEST, round(self.minutes * progress / 9, 2)):g}"

    def nonfinite_remedy(self) -> str:
        """The remedies for a loss or gradient that was not finite."""
        anew = "train anew with a lower --model.lr or --trainer.precision 32-true"
        if not self.last.is_file():
            return anew
        skips = self.module.nonfinite_guard.max_skips
        option = "--model.on_nonfinite skip" if skips is None else f"--model.skip_at_most {2 * skips + 1}"
        return f"{self.continuation()} {option} from before it, or {anew}"

    def print_summary(self) -> None:
        """Prints where the checkpoints of a complete training are, and the commands that use them."""
        if not self.trainer.is_global_zero or not self.last.is_file():
            return
        render = program_command("render")
        best, quoted = self.folder.path / "best.ckpt", shell_quoted(self.last)
        kept = f" (best {self.metric}: {best})" if best.is_file() else ""
        epochs = self.module.pictures_seen / self.module.order.count
        echo(f"Trained {epochs:g} epoch{'s' * (epochs != 1)}. Checkpoint: {self.last}{kept}")
        numbers = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        varied, vae = bool(self.data.mirror or self.data.shift), self.module.vae
        if line := verdict(numbers, vae.latent_dim, vae.dims, self.minutes, varied):
            echo(line)
        if any(isinstance(logger, RunLogger) for logger in self.trainer.loggers):
            echo(f"Watch:  tensorboard --logdir {shell_quoted(self.folder.all_logs)} --samples_per_plugin images=200")
        if (morphs := self.folder.logs / FOLDER).is_dir():
            logs = shell_quoted(self.folder.logs)
            echo(f"Morphs: {morphs}, of which {render} growth --run {logs} makes a film")
        echo(f"Render: {render} slerp --checkpoint {quoted}")
        planned = {"max_epochs": self.trainer.max_epochs or 0, "max_steps": self.trainer.max_steps}
        planned = {name: count for name, count in planned.items() if count > 0}
        if found := self.module.schedule.missed_decoder_phase(self.module.progress, planned):
            part, options = found
            options = options or self.short_ending
            echo(f"It was ended early and missed {part}: its pictures are blurrier than they could be.")
            echo(f"Have it, without what ended it: {self.resuming}{options}")
