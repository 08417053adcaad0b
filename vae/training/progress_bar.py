"""`TrainingProgressBar`: one bar for all of a training, with the time that is left and what the model can do by now."""

import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from tqdm.contrib.logging import logging_redirect_tqdm

from data.system.bars import Bar
from vae.training.progress_line import Clock, Numbers

_T = TypeVar("_T")
_EVERY = 0.5  # seconds between two looks at numbers that may still be on a device
_SMOOTHING = 0.3
_NUMBERS = ("reconstruction/sharpness", "smoothness/sharp_mid/slerp")


class _Mark(NamedTuple):
    when: float
    seen: int


class TrainingProgressBar(ProgressBar):
    """One bar on standard error for all of a training, or of a validation or test.

    It begins at what was done before, and is as long as the plan: of pictures, epochs or steps. Until minutes are
    planned in pictures, it follows the clock. Work that is no step is named in it, see `shown_steps`. Numbers of a
    device are looked at each half second at most.

    Args:
        minutes: of the whole training; None where epochs or steps are planned.
    """

    def __init__(self, minutes: float | None = None) -> None:
        super().__init__()
        self.is_enabled = True  # which Lightning asks before it prints
        self._clock = Clock(minutes)
        self._bar: Bar | None = None
        self._redirected = ExitStack()
        self._numbers, self._share, self._looked = Numbers(), 0.0, 0.0
        self._mark = _Mark(0.0, 0)
        self._ended = False

    def disable(self) -> None:
        self.is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True

    def print(self, *words: Any, sep: str = " ", **options: Any) -> None:
        """Prints a line above the bar."""
        if sys.stdout is not None:
            Bar.write(sep.join(map(str, words)), **options)
            sys.stdout.flush()

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._clock.begin(0.0, False)
        self._show("trying a validation")

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begins where the training does."""
        self._share = pl_module.progress
        self._clock.begin(self._share, bool(pl_module.pictures_planned))
        self._continue()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Looks at the numbers, if the last look was half a second ago."""
        now, seen = time.monotonic(), pl_module.batch_start
        if not self.is_enabled or now - self._looked < _EVERY:
            return
        self._looked, self._share = now, pl_module.progress
        if pl_module.pictures_planned and not self._clock.planned:
            self._clock.plan(self._share)
        elif not self._clock.planned:
            self._share = self._clock.share()
        rate, before = (seen - self._mark.seen) / max(now - self._mark.when, 1e-9), self._numbers.rate
        if rate > 0:  # batches count a little later than this is called
            rate = rate if before is None else before + _SMOOTHING * (rate - before)
            self._numbers, self._mark = self._numbers._replace(rate=rate), _Mark(now, seen)
        if (elbo := trainer.callback_metrics.get("train/elbo")) is not None:
            self._numbers = self._numbers._replace(elbo=float(elbo))
        self._show()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit":
            self._clock.begin(0.0, True)
        self._show("validating")

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        counts = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
        share = (batch_idx + 1) / max(sum(counts), 1)
        if trainer.state.fn != "fit":
            self._share = share
            self._show("measuring")
        elif not trainer.sanity_checking:
            self._show(f"validating {share:.0%}" if share < 1 else "measuring and drawing morphs")

    on_test_start, on_test_batch_end = on_validation_start, on_validation_batch_end

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the numbers, which all processes may have to help to find."""
        found = trainer.callback_metrics
        if self.is_enabled and trainer.state.fn == "fit" and not trainer.sanity_checking:
            elbo = found.get("val/elbo") if self._numbers.elbo is None else self._numbers.elbo
            sharpness = [float(found.get(name, math.nan)) for name in _NUMBERS]
            self._numbers = Numbers(self._numbers.rate, None if elbo is None else float(elbo), *sharpness)
            self._continue()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._share, self._ended = pl_module.progress, True
        self._continue()

    def steps(self, items: Sequence[_T], text: str) -> Iterator[_T]:
        """Goes through the steps of other work, whose name and share the bar shows meanwhile."""
        self._clock.pause()
        for index, item in enumerate(items):
            if time.monotonic() - self._looked >= _EVERY:
                self._looked = time.monotonic()
                self._show(f"{text} {index / len(items):.0%}")
            yield item
        self._clock.go_on()
        self._continue()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leaves the last state of a training as a line."""
        if self._bar is not None and stage == "fit":
            self._bar.write_line()
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _continue(self) -> None:
        """Shows that steps come next: what was between them does not count in their pace."""
        seen = getattr(self.trainer.lightning_module, "batch_start", 0)
        self._mark = _Mark(time.monotonic(), seen)
        self._show()

    def _show(self, phase: str = "") -> None:
        if not self.is_enabled:
            return
        columns = None if self._bar is None else self._bar.format_dict["ncols"]
        text = ", ".join(
            filter(None, (self._clock.describe(self._share, self._ended), phase or self._numbers.describe(columns)))
        )
        if self._bar is None:
            form = "{percentage:3.0f}%|{bar}| {desc}"
            self._bar = Bar(total=1, initial=self._share, desc=text, leave=True, delay=0, bar_format=form)
            if not logging.root.handlers:  # what a logger says would be written into the bar
                self._redirected.enter_context(logging_redirect_tqdm(tqdm_class=Bar))
        self._bar.n = self._share
        self._bar.set_description_str(text)

    def _close(self) -> None:
        self._redirected.close()
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def shown_steps(trainer: pl.Trainer, items: Sequence[_T], text: str) -> Iterable[_T]:
    """The steps of work beside the training, which its bar shows; one that the user chose does not."""
    bar = trainer.progress_bar_callback
    return bar.steps(items, text) if isinstance(bar, TrainingProgressBar) else items
