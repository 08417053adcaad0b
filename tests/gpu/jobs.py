"""All checks and measurements, in the order in which they are made."""

import gc
import json
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch

from tests.gpu import equality, speed
from tests.gpu.measured import Measured
from tests.gpu.steps import MODES, Scale

Job = Callable[[Scale], Iterator[Measured]]
_ONCE: dict[str, Job] = {
    "waits": equality.step_waits,
    "graph": equality.graph,
    "models": equality.models,
    "paths": equality.paths,
    "tuning": equality.tuning,
}


def jobs(scale: Scale) -> dict[str, Job]:
    """The jobs by their names; what is measured at each size comes last."""
    sized: dict[str, Job] = {}
    for size in scale.sizes:
        sized |= {f"{mode} at {size} px": partial(speed.mode_at, size=size, mode=mode) for mode in MODES}
        sized[f"tuning at {size} px"] = partial(speed.tuning, size=size)
    return _ONCE | sized


def run(job: Job, name: str, scale: Scale) -> bool:
    """Prints what a job measures, one line of JSON each; False if a number is not allowed.

    Where memory is short the rest of the job is left out, and a line says so.
    """
    good, start = True, time.perf_counter()
    try:
        for found in job(scale):
            print(found, flush=True)
            good &= found.allowed
    except torch.OutOfMemoryError:
        print(json.dumps({"name": name, "skipped": "not enough memory"}), flush=True)
    print(Measured(f"job.{name}", round(time.perf_counter() - start, 1), "s", 0, 0), flush=True)
    gc.collect()
    if scale.device.type == "cuda":
        torch.cuda.empty_cache()
    return good
