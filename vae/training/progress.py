"""A training's place is one number: the pictures that it has seen, all processes together.

Everything that changes while a model learns is a function of this number and the seed:

    order      `data.samplers.ShuffledBatches`: epoch and offset are `divmod(pictures_seen, pictures_per_epoch)`; the
               order is a permutation from (seed, epoch), and the next batch begins at the offset
    noise      of a batch: a generator from (seed, pictures seen before the batch)
    schedule   progress = pictures_seen / planned pictures → learning rate, β, phase

(as in NVlabs/edm2, whose state is `cur_nimg` and whose `InfiniteSampler` has a `start_idx`). An epoch is the number of
training pictures. Those that do not fill a last batch are left out and counted as seen, so that an epoch's end is the
same number whatever the batch size. The number advances with the optimizer's steps: pictures whose gradients are still
being accumulated are not seen yet.

A checkpoint holds `TrainingPlan` as `plan`. Where a training goes on from it with another batch size or number of
processes, it goes on at that number, with the pictures of the epoch that it has not seen; only where these do not fill
a batch do some come twice. If the pictures themselves have changed, the epoch and the offset stay.

Lightning counts batches, steps and epochs on its own. Three hooks reconcile it: `on_save_checkpoint` takes back the
batch that Lightning has announced when a checkpoint is written between two steps; `on_load_checkpoint` sets the number
of the batch in its epoch, which decides when the epoch ends; `on_train_batch_start` sets the axis of the logs. Steps
and epochs stay Lightning's: steps are that axis and the warm-up of the learning rate, and both say when a training
ends.
"""

import math
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor

from data.rng import derive_seed
from data.samplers import ShuffledBatches
from data.system.checks import count, keys, number
from data.system.errors import UserError
from vae.checkpoint import FORMAT


class TrainingPlan(NamedTuple):
    """A training's place, in its checkpoint.

    Attributes:
        pictures_seen: by all processes.
        pictures_per_epoch: training pictures.
        seed: of order and noise.
        progress: the largest share of a plan that was done.
        pictures_planned: where the training ends; 0 where epochs or steps are planned, or nothing yet.
    """

    pictures_seen: int
    pictures_per_epoch: int
    seed: int
    progress: float
    pictures_planned: int = 0

    @classmethod
    def checked(cls, found: Any) -> "TrainingPlan":
        """The plan in a checkpoint. Raises `ValueError` unless `ProgressModule` could have written it."""
        found = keys("plan", cls._field_defaults | found if isinstance(found, dict) else found, cls._fields)
        return cls(
            count("pictures seen", found["pictures_seen"]),
            count("pictures in an epoch", found["pictures_per_epoch"], 1),
            count("seed", found["seed"], 0, 2**63 - 1),
            number("progress", found["progress"], 0, 1),
            count("pictures planned", found["pictures_planned"]),
        )


class ProgressModule(pl.LightningModule):
    """Counts the pictures seen, and derives progress and noise from their number.

    Attributes:
        pictures_seen: before the current optimizer step.
        batch_start: pictures seen, or being accumulated, before the current batch.
        pictures_planned: where the training ends, see `vae.training.runs.time_budget`; 0 while that is not planned.
        begun: whether a step was made, or is about to be.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pictures_seen = self.batch_start = self.pictures_planned = 0
        self.begun = False
        self._seed = torch.initial_seed() % 2**63
        self._loaded_progress = 0.0

    @property
    def order(self) -> ShuffledBatches:
        return self.trainer.datamodule.order  # type: ignore[attr-defined]

    @property
    def progress(self) -> float:
        """The share of the planned pictures that were seen, in [0, 1]; 0 where no end is planned.

        Of an epoch those count that its batches hold.
        """
        if self.pictures_planned:
            return min(1.0, self.pictures_seen / self.pictures_planned)
        trainer, order = self.trainer, self.order
        batches = min(trainer.num_training_batches, len(order))
        epoch, offset = divmod(self.pictures_seen, order.count)
        in_epoch = int(batches) * order.pictures_per_batch
        seen = epoch * in_epoch + min(offset, in_epoch)
        planned = []
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            planned.append(trainer.max_epochs * in_epoch)
        if trainer.max_steps > 0:
            steps = math.ceil(batches / trainer.accumulate_grad_batches)
            planned.append(seen + math.ceil((trainer.max_steps - trainer.global_step) * in_epoch / steps))
        return min(1.0, seen / max(min(planned), 1)) if planned else 0.0

    @property
    def _has_no_end(self) -> bool:
        """True if neither epochs nor steps are planned."""
        return self.trainer.max_epochs in (None, -1) and self.trainer.max_steps == -1

    @property
    def max_progress(self) -> float:
        """The progress, or that of the training that goes on if it was larger: β does not rise again."""
        return max(self.progress, self._loaded_progress)

    @property
    def noise_seed(self) -> int:
        return derive_seed(self._seed, self.batch_start)

    def on_train_start(self) -> None:
        """Checks that every process is at the same place.

        Raises:
            UserError: some see another checkpoint, or none.
        """
        strategy = self.trainer.strategy
        same = self.pictures_seen == strategy.broadcast(self.pictures_seen)
        if not strategy.reduce_boolean_decision(same, all=True):
            raise UserError(
                "--ckpt_path: not every machine finds the checkpoint that the first one goes on from; "
                "keep checkpoints/ on a disk that all share"
            )
        self.begun = True

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        """Sets the axis of the logs, in which Lightning counts a step twice where it goes on after a validation."""
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.trainer.global_step

    def on_train_batch_end(self, outputs: Any, batch: Tensor, batch_idx: int) -> None:
        """Counts the batch, and the step if one was made."""
        self.batch_start = self._batch_end()
        if self.trainer.is_last_batch or (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0:
            self.pictures_seen = self.batch_start
        if 0 < self.pictures_planned <= self.pictures_seen:
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        """Counts what is left of the epoch, of which a callback or `max_steps` may have ended Lightning's early."""
        count = self.order.count
        self.pictures_seen = self.batch_start = math.ceil(self.pictures_seen / count) * count

    def _batch_end(self) -> int:
        order = self.order
        if self.trainer.is_last_batch:
            return (self.batch_start // order.count + 1) * order.count
        return self.batch_start + order.pictures_per_batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the plan, and takes back a batch that Lightning has announced but not begun."""
        seen = self.pictures_seen
        if "loops" in checkpoint:
            batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            total = batches["total"]
            if total["ready"] > total["started"]:
                batches["is_last_batch"] = False
                for counts in (total, batches["current"]):
                    counts["ready"] = counts["started"]
            elif total["processed"] > total["completed"]:  # a callback writes at the end of a batch, before it counts
                seen = self._batch_end()
        plan = TrainingPlan(seen, self.order.count, self._seed, self.max_progress, self.pictures_planned)
        checkpoint |= {"format": FORMAT, "plan": plan._asdict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on at the place in the checkpoint, and sets Lightning's number of the batch in the epoch."""
        if self.trainer.state.fn != "fit" or not checkpoint.get("plan"):
            return
        plan, order = TrainingPlan(**checkpoint["plan"]), self.order
        epoch, offset = divmod(plan.pictures_seen, plan.pictures_per_epoch)
        if offset:
            offset = min(offset, order.count - order.pictures_per_batch)
        self.pictures_seen = self.batch_start = epoch * order.count + offset
        self._seed, self._loaded_progress = plan.seed, plan.progress
        if self._has_no_end:
            self.pictures_planned = plan.pictures_planned
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        at_end = not offset and batches["is_last_batch"]
        done = len(order) if at_end else len(order) - (order.count - offset) // order.pictures_per_batch
        if batches["current"]["processed"] != done:
            batches["current"].update(dict.fromkeys(batches["current"], done))
            batches["total"]["completed"] = batches["total"]["processed"]
