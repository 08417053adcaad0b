"""A training that a callback ends before its plan: what it has missed of the schedule, and how to have it."""

import math

from vae.training.schedule import Schedule


def missed(schedule: Schedule, progress: float, planned: dict[str, int]) -> tuple[str, str] | None:
    """What a training has missed that ended early, and the options with which it has it when it goes on.

    Those plan an end so near that all of the last part is still to come, and what is done is all before it.

    Args:
        schedule: of the training.
        progress: the share of the plan that is done.
        planned: `max_epochs` and `max_steps`, where they are planned.

    Returns:
        None if it has missed nothing: the plan is done, or has no last part.

    >>> schedule = Schedule(100, 10, 0.3, 0.4, 100, 0.4)
    >>> missed(schedule, 0.3, {"max_epochs": 20})
    ('the last 40 % of its plan, in which the decoder learns alone', ' --trainer.max_epochs 10')
    >>> missed(schedule, 0.9, {"max_epochs": 20})
    ('a part of the last 40 % of its plan, in which the decoder learns alone', '')
    >>> missed(schedule, 1.0, {"max_epochs": 20})
    """
    share = schedule.decoder_share
    if progress >= 1 or not share:
        return None
    part = f"the last {100 * share:.0f} % of its plan, in which the decoder learns alone"
    if schedule.decoder_phase(progress):
        return f"a part of {part}", ""
    ends = {name: math.ceil(round(progress * count / (1 - share), 6)) for name, count in planned.items()}
    return part, "".join(f" --trainer.{name} {count}" for name, count in ends.items())
