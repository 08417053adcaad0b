"""The changes while a model learns, as functions of the progress: the share of the planned training that is done."""

import math
from dataclasses import dataclass

from vae.model.elbo import anneal
from vae.training.options import ScheduleOptions

_END_RATE = 0.02


@dataclass(frozen=True)
class Schedule:
    """A training in two phases: all of the VAE learns, then the decoder alone."""

    options: ScheduleOptions

    def decoder_phase(self, progress: float) -> bool:
        """True if the decoder learns alone.

        >>> [Schedule(ScheduleOptions()).decoder_phase(progress) for progress in (0, 0.59, 0.6, 1)]
        [False, False, True, True]
        >>> Schedule(ScheduleOptions(decoder_share=0)).decoder_phase(1)
        False
        """
        return self.options.decoder_share > 0 and progress >= 1 - self.options.decoder_share

    def phase_progress(self, progress: float) -> float:
        """The share of the decoder's phase that is done, in [0, 1]."""
        share = self.options.decoder_share
        return max(0.0, 1 - (1 - progress) / share) if share else 0.0

    def beta(self, progress: float) -> float:
        """The weight of the KL.

        >>> schedule = Schedule(ScheduleOptions(beta_start=100, beta=1, beta_share=0.3))
        >>> [round(schedule.beta(progress), 6) for progress in (0, 0.15, 0.3, 1)]
        [100.0, 10.0, 1.0, 1.0]
        """
        start, end, share = self.options.beta_start, self.options.beta, self.options.beta_share
        return anneal(start, end, progress / share if share > 0 else 1)

    def learning_rate(self, progress: float, step: int) -> float:
        """The learning rate over its peak: a linear warm-up, a plateau, then half a cosine down to 0.02.

        >>> schedule = Schedule(ScheduleOptions(warmup_steps=100, hold_share=0.4))
        >>> points = ((0, 0), (0, 49), (0.4, 400), (0.7, 700), (1, 999))
        >>> [round(schedule.learning_rate(progress, step), 4) for progress, step in points]
        [0.01, 0.5, 1.0, 0.51, 0.02]
        """
        hold = self.options.hold_share
        warmup = min(1.0, (step + 1) / max(self.options.warmup_steps, 1))
        fall = max(0.0, (progress - hold) / max(1 - hold, 1e-9))
        return warmup * (_END_RATE + (1 - _END_RATE) * 0.5 * (1 + math.cos(math.pi * fall)))

    def missed_decoder_phase(self, progress: float, planned: dict[str, int]) -> tuple[str, str] | None:
        """The part of the decoder's phase that a training has missed which a callback ended early.

        Args:
            progress: of the training.
            planned: `max_epochs` and `max_steps`, where they are planned.

        Returns:
            what was missed, and the options with which a training that goes on has all of it, if it can; None if
            nothing was missed.

        >>> schedule = Schedule(ScheduleOptions())
        >>> schedule.missed_decoder_phase(0.3, {"max_epochs": 20})
        ('the last 40 % of its plan, in which the decoder learns alone', ' --trainer.max_epochs 10')
        >>> schedule.missed_decoder_phase(0.9, {"max_epochs": 20})
        ('a part of the last 40 % of its plan, in which the decoder learns alone', '')
        >>> schedule.missed_decoder_phase(1.0, {"max_epochs": 20})
        """
        share = self.options.decoder_share
        if progress >= 1 or not share:
            return None
        part = f"the last {100 * share:.0f} % of its plan, in which the decoder learns alone"
        if self.decoder_phase(progress):
            return f"a part of {part}", ""
        ends = {name: math.ceil(round(progress * count / (1 - share), 6)) for name, count in planned.items()}
        return part, "".join(f" --trainer.{name} {count}" for name, count in ends.items())
