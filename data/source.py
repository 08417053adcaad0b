"""What a source of pictures has to tell: which bytes it will give, how many, and how to make them."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Pictures = Generator[Picture | None, None, None]  # None where one is broken


@dataclass(frozen=True)
class PictureSpec:
    """What is asked of a source.

    Attributes:
        size: side of the pictures in pixels.
        channels: 1 or 3.
        limit: how many at most, None for all there are.
        seed: which pictures a procedural family gives, and which ones a limit keeps.
        background: colour behind transparent pixels.
        white: which level of more than 8 bits is white; None finds it.
        all_frames: whether all pictures of a file are taken, not the first alone.
    """

    size: int
    channels: int
    limit: int | None = None
    seed: int = 0
    background: str = "white"
    white: float | None = None
    all_frames: bool = False

    def subset(self, count: int) -> list[int]:
        """Which of `count` pictures are used: all, or `limit` of them drawn by the seed; ascending."""
        if self.limit is None or self.limit >= count:
            return list(range(count))
        shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        return sorted(shuffled[: self.limit].tolist())


@dataclass(frozen=True)
class Source:
    """Pictures that can be made.

    Attributes:
        recipe: plain values that the pictures are a function of; a cache is keyed by them.
        count: how many pictures will be tried, or are known not to be any; None where only making them says it.
        pictures: makes them, each (size, size, channels) uint8, or None where one is broken.
        skipped: gets the name and the fault of each broken one while they are made.
        changed: gets the names of those that were no longer what the recipe says.
        remarks: gets lines on what was done with them, while they are made.
        runs: gets how many pictures come from each file, in their order, where that is more than one.
        left_out: a line on what was found beside them, if anything.
    """

    recipe: dict[str, Any]
    count: int | None
    pictures: Callable[[], Pictures]
    skipped: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    left_out: str = ""
