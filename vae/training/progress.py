"""`ProgressModule`: how much of the planned training is done, across interruptions and changes of its batches."""

import math
from typing import Any

import lightning.pytorch as pl
import torch

from data.rng import derive_seed
from data.system.checks import MOST, count, keys, number
from data.system.errors import UserError
from vae.checkpoint import FORMAT
from vae.training.schedule import Schedule

NOTED = ("progress", "seed", "steps", "epoch", "dealt")  # in a checkpoint, of the plan


def checked_plan(found: Any) -> dict[str, Any]:
    """What a checkpoint notes of the plan. Raises `ValueError` unless `ProgressModule` could have noted it."""
    keys("plan", found, NOTED)
    return {
        "progress": number("progress", found["progress"], 0, 1),
        "seed": count("seed", found["seed"], 0, 2**63 - 1),
        "steps": number("steps", found["steps"], 0, MOST),
        "epoch": count("steps of an epoch", found["epoch"], 1),
        "dealt": count("pictures in a batch", found["dealt"], 1),
    }


class ProgressModule(pl.LightningModule):
    """Keeps the schedule's place and the seed of all noise in the checkpoint.

    A step is worth a share of an epoch. Where a training goes on with other batches (more or fewer processes, another
    batch size), the steps before it are counted as what they would have been in the new ones.
    """

    schedule: Schedule

    def __init__(self) -> None:
        super().__init__()
        self._reached, self._seed = 0.0, torch.initial_seed() % 2**63
        self.begun = False
        self._uncounted = 0.0  # steps that earlier, larger batches were worth more

    @property
    def progress(self) -> float:
        """How much of the planned training is done, in [0, 1]; 0 where no end is planned."""
        trainer, done = self.trainer, 0.0
        if trainer.max_steps > 0:
            done = trainer.global_step / trainer.max_steps
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            batches = trainer.num_training_batches / trainer.accumulate_grad_batches
            steps = trainer.max_epochs * (math.ceil(batches) if batches < math.inf else batches)
            done = max(done, (trainer.global_step + self._uncounted) / max(steps, 1))
        return min(1.0, done)

    @property
    def furthest(self) -> float:
        """The progress, or that of the training which was resumed if it had come further."""
        return max(self.progress, self._reached)

    def on_train_start(self) -> None:
        """Every process must stand at the same step.

        Raises:
            UserError: some see another checkpoint, or none.
        """
        strategy = self.trainer.strategy
        same = self.global_step == strategy.broadcast(self.global_step)
        if not strategy.reduce_boolean_decision(same, all=True):
            raise UserError(
                "--ckpt_path: not every machine finds the checkpoint that the first one goes on from; "
                "keep checkpoints/ on a disk that all share"
            )
        self.begun = True

    def noise_seed(self, step: int, batch_idx: int) -> int:
        """Names what a batch draws, before an interruption or after it.

        Args:
            step: how many steps were made before it.
            batch_idx: its number in the epoch.
        """
        return derive_seed(self._seed, step, batch_idx)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes the seed, and how far the schedule has come: β does not rise again where a longer training goes on."""
        dealt, _, epoch = self._dealt()
        noted = self.furthest, self._seed, self.global_step + self._uncounted, epoch, dealt
        checkpoint |= {"format": FORMAT, "plan": dict(zip(NOTED, noted, strict=True))}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Reads what `on_save_checkpoint` noted, where a training goes on."""
        plan = checkpoint.get("plan")
        if self.trainer.state.fn != "fit" or not plan:
            return
        self._reached, self._seed = plan["progress"], plan["seed"]
        dealt, batches, epoch = self._dealt()
        worth = plan["steps"] if plan["epoch"] == epoch else plan["steps"] / plan["epoch"] * epoch
        self._uncounted = worth - checkpoint["global_step"]
        if (plan["dealt"], plan["epoch"]) != (dealt, epoch):
            _deal_anew(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"], plan["dealt"], dealt, batches)

    def _dealt(self) -> tuple[int, int, int]:
        """Pictures in a batch of all processes; such batches in an epoch; steps in an epoch."""
        dealt, batches = self.trainer.datamodule.dealt  # type: ignore[attr-defined]
        return dealt, batches, math.ceil(batches / self.trainer.accumulate_grad_batches)


def _deal_anew(progress: dict[str, Any], old: int, new: int, batches: int) -> None:
    """The place in an epoch, counted in other batches, or in another number of them.

    Of the same pictures none is missed, and less than one batch comes twice.

    Args:
        progress: Lightning's, changed in place.
        old: pictures in a batch until now.
        new: pictures in a batch from now on.
        batches: from now on, in an epoch.
    """
    current = progress["current"]
    place = batches if progress["is_last_batch"] else min(current["completed"] * old // new, batches - 1)
    current.update(dict.fromkeys(current, place))
