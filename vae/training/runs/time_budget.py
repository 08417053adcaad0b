"""Trainings of a planned duration: the first steps show how fast they are, and decide how many pictures they see.

    planned pictures = pictures seen + pictures a second · (seconds left − seconds of the validations)

The schedule is a function of the pictures seen, so it ends well whatever the machine and the data; the number is kept
in checkpoints, so a training that goes on ends where it would have ended.

Machines change their pace. Until half of the plan is done, each validation looks at the pace since the plan was made,
and plans again where that is off by more than a tenth. A training that goes on from a checkpoint keeps its plan.
"""

import time
from collections.abc import Sequence, Set
from typing import Any

import lightning.pytorch as pl
import torch

from data.system.errors import UserError

_FIRST, _LAST = 5, 30  # the steps between which pictures a second are counted; before, memory is allocated
_MOST = 0.1  # of the duration, after which slower machines count what they have
_VALIDATIONS, _VALIDATION_SHARE = 10, 0.05  # at most; of the duration, for all of them where there are more than two
_STEADY = 20.0  # seconds after a plan, before which the pace says nothing new
_LATEST, _OFF = 0.5, 0.1
_FLOW_SHARE = 0.05  # of the duration, for the flow of random latents, where there is one
_NOT_YET = 2**31  # batches after which a training would be validated whose length is not known


class TimeBudget(pl.Callback):
    """Plans how many pictures a training sees in some minutes, and when it is validated.

    The first validation comes with the plan, which takes as long as it does into account.

    Args:
        minutes: of training, validations included.
        anew: whether a plan that a checkpoint holds is made again, with these minutes from now on.
    """

    def __init__(self, minutes: float, anew: bool = False) -> None:
        if not 0 < minutes <= 1e6:
            raise UserError(f"--minutes {minutes:g}: must be more than 0")
        self.seconds, self.anew = 60 * minutes, anew
        self._start = self._mark = 0.0
        self._first_step = 0
        self._seconds_per_batch: float | None = None
        self._planned: tuple[float, int] | None = None  # when, and after how many pictures

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Takes over the plan of the training that goes on."""
        self._start, self._first_step = time.monotonic(), trainer.global_step
        if self.anew:
            pl_module.pictures_planned = 0
        elif pl_module.pictures_planned and trainer.check_val_every_n_epoch is None:
            left = (pl_module.pictures_planned - pl_module.pictures_seen) / pl_module.order.pictures_per_batch
            trainer.val_check_batch = max(1, round(left / _VALIDATIONS))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Counts pictures a second, and asks for the first validation."""
        steps = trainer.global_step - self._first_step
        if pl_module.pictures_planned or self._seconds_per_batch or steps < _FIRST:
            return
        if steps == _FIRST:
            self._mark = self._mark or _now(trainer)
        elif steps >= _LAST or trainer.strategy.broadcast(time.monotonic() - self._start > _MOST * self.seconds):
            now = _now(trainer)
            self._seconds_per_batch = (now - self._mark) / ((steps - _FIRST) * trainer.accumulate_grad_batches)
            if trainer.check_val_every_n_epoch is None:
                self._mark, trainer.val_check_batch = now, 1
            else:  # the user has said when validations come
                self._plan(trainer, pl_module, 0)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Makes the plan after the first validation, and corrects it after later ones."""
        if self._planned and pl_module.progress < _LATEST:
            self._correct(trainer, pl_module, *self._planned)
        elif self._seconds_per_batch and not pl_module.pictures_planned:
            self._plan(trainer, pl_module, _now(trainer) - self._mark)

    def _plan(self, trainer: pl.Trainer, pl_module: Any, validation: float) -> None:
        assert self._seconds_per_batch is not None
        left = self._left(pl_module)
        affordable = int(_VALIDATION_SHARE * self.seconds / max(validation, 1e-9)) - 1  # of which one was made
        count = min(_VALIDATIONS, max(1, affordable))
        batches = max(1, round((left - count * validation) / self._seconds_per_batch))
        batches, count = trainer.strategy.broadcast((batches, count))
        pictures = pl_module.batch_start + batches * pl_module.order.pictures_per_batch
        pl_module.pictures_planned = pictures
        self._planned = time.monotonic(), pl_module.batch_start
        if trainer.check_val_every_n_epoch is None:
            trainer.val_check_batch = -(-batches // count)
        epochs = pictures / pl_module.order.count
        pl_module.print(f"Planned for {self.seconds / 60:g} min: {pictures:,} pictures, {epochs:.1f} epochs")

    def _left(self, pl_module: Any) -> float:
        """Seconds for steps and validations."""
        share = 0.0 if pl_module.vae.flow is None else _FLOW_SHARE
        return max(0.0, (1 - share) * self.seconds - (time.monotonic() - self._start))

    def _correct(self, trainer: pl.Trainer, pl_module: Any, when: float, seen: int) -> None:
        now, batch = _now(trainer), pl_module.order.pictures_per_batch
        pace, left = (pl_module.batch_start - seen) / (now - when), self._left(pl_module)
        batches = max(1, round(left * pace / batch)) if now - when > _STEADY else 0
        pictures = pl_module.batch_start + trainer.strategy.broadcast(batches) * batch
        change = pictures / pl_module.pictures_planned
        if pictures > pl_module.batch_start and abs(change - 1) > _OFF:
            pl_module.pictures_planned = pictures
            if trainer.check_val_every_n_epoch is None:
                trainer.val_check_batch = max(1, round(trainer.val_check_batch * change))
            pace_now = "slower" if change < 1 else "faster"
            epochs = pictures / pl_module.order.count
            pl_module.print(f"The machine has become {pace_now}: {pictures:,} pictures, {epochs:.1f} epochs")


def _now(trainer: pl.Trainer) -> float:
    """Seconds, when the device has done what it was given."""
    if trainer.strategy.root_device.type != "cpu":
        torch.accelerator.synchronize(trainer.strategy.root_device)
    return time.monotonic()


def minutes_options(minutes: float, anew: bool, callbacks: Sequence[pl.Callback], given: Set[str]) -> dict[str, Any]:
    """The trainer's options for a training of some minutes.

    Args:
        minutes: see `TimeBudget`, as `anew`.
        anew: whether to plan again.
        callbacks: the others.
        given: names of the options that the user gave.
    """
    options: dict[str, Any] = {"callbacks": [*callbacks, TimeBudget(minutes, anew)]}
    if not given & {"trainer.check_val_every_n_epoch", "trainer.val_check_interval"}:
        options |= {"check_val_every_n_epoch": None, "val_check_interval": _NOT_YET}
    return options
