"""What is found out about walks that were shown: printed, and kept as JSON."""

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from data.system.files import save_bytes
from vae.render.report import Report, Seam, report, seam, table
from vae.render.takes import Clip

_RESULTS = ("out", "report", "save_latents")


def numbers(command: str, every: list[Clip], options: Any) -> dict[str, Report]:
    """Measures and prints what is worth telling of a command."""
    first = every[0]
    if first.walk.bent is not None and command != "compare":
        bent = sum(int(take.walk.bent.sum()) for take in every if take.walk.bent is not None)
        print(f"route: bent {bent} of {len(every) * first.walk.segments} stretches, the others are a spline's")
    if command != "compare" and not options.report:
        return {}
    found = {
        take.label if len(every) == 1 or command == "compare" else f"{take.label} {index}": report(
            take.vae, take.walk, options.pace, take.pictures
        )
        for index, take in enumerate(every)
    }
    print(table(found))
    return found


def seams(every: list[Clip], t: list[Tensor]) -> list[Seam]:
    """Measures and prints how loops close."""
    closing = [seam(take.vae, take.walk, when) for take, when in zip(every, t, strict=True) if take.walk.closed]
    if closing:
        print(
            f"seam: the last step, to the first frame, is {max(each.step for each in closing):.2f} of the median step; "
            f"{sum(each.repeated for each in closing)} frames shown twice"
        )
    return closing


def save_report(
    path: Path,
    told: dict[str, Any],
    every: list[Clip],
    numbers: dict[str, Report],
    seams: list[Seam],
    options: Any,
) -> None:
    """What was asked for and what was found; a number is null where there is nothing to measure, as between twins."""

    def plain(found: Report | Seam) -> dict[str, float | None]:
        return {key: number if math.isfinite(number) else None for key, number in found._asdict().items()}

    content: dict[str, Any] = told | {"walks": {name: plain(found) for name, found in numbers.items()}}
    bent = {name: take.walk.bent for name, take in zip(numbers, every, strict=True)}
    content["bent"] = {name: segments.tolist() for name, segments in bent.items() if segments is not None}
    content["seams"] = [plain(found) for found in seams]
    content["options"] = {name: value for name, value in options.items() if name not in _RESULTS}
    save_bytes((json.dumps(content, indent=2) + "\n").encode(), path)
