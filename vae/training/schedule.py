"""What changes while the model learns, as functions of the progress: the share of the planned training that is done."""

import math
from typing import Any, NamedTuple

from vae.model.elbo import anneal

_END_RATE = 0.02


class Schedule(NamedTuple):
    """A training in two parts: all of it learns, then the decoder alone.

    Attributes: as those of `vae.training.module.VAETraining`.
    """

    beta_start: float
    beta: float
    beta_share: float
    decoder_share: float
    warmup_steps: int
    hold_share: float

    @classmethod
    def of(cls, recipe: dict[str, Any]) -> "Schedule":
        """That of a recipe, which holds more than the schedule needs."""
        return cls(**{name: recipe[name] for name in cls._fields})

    def decoder_phase(self, progress: float) -> bool:
        """Whether the decoder learns alone.

        >>> schedule = Schedule(100, 10, 0.3, 0.4, 100, 0.4)
        >>> [schedule.decoder_phase(progress) for progress in (0, 0.59, 0.6, 1)]
        [False, False, True, True]
        >>> schedule._replace(decoder_share=0).decoder_phase(1)
        False
        """
        return self.decoder_share > 0 and progress >= 1 - self.decoder_share

    def current_beta(self, progress: float) -> float:
        """The KL's weight.

        >>> schedule = Schedule(100, 1, 0.3, 0.4, 100, 0.4)
        >>> [round(schedule.current_beta(progress), 6) for progress in (0, 0.15, 0.3, 1)]
        [100.0, 10.0, 1.0, 1.0]
        """
        return anneal(self.beta_start, self.beta, progress / self.beta_share if self.beta_share > 0 else 1)

    def learning_rate(self, progress: float, step: int) -> float:
        """The learning rate over its peak: a linear warm-up, a plateau, then half a cosine down to 0.02.

        >>> schedule = Schedule(100, 10, 0.3, 0.4, 100, 0.4)
        >>> points = ((0, 0), (0, 49), (0.4, 400), (0.7, 700), (1, 999))
        >>> [round(schedule.learning_rate(progress, step), 4) for progress, step in points]
        [0.01, 0.5, 1.0, 0.51, 0.02]
        """
        warmup = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        fall = max(0.0, (progress - self.hold_share) / max(1 - self.hold_share, 1e-9))
        return warmup * (_END_RATE + (1 - _END_RATE) * 0.5 * (1 + math.cos(math.pi * fall)))
