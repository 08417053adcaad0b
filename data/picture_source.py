"""The interface of a source of pictures: which it will give, how many, and how to make them."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (size, size, channels)
Pictures = Generator[Picture | None, None, None]  # None where one is broken


@dataclass(frozen=True)
class PictureSpec:
    """The pictures that a source is to give.

    Attributes:
        size: side of the pictures in pixels.
        channels: 1 or 3.
        limit: how many at most, None for all there are.
        seed: which pictures a procedural family gives, and which ones a limit keeps.
        background: colour behind transparent pixels.
        white: the white level of pictures of more than 8 bits; None finds it.
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
        """The indices of the pictures used of `count`: all, or `limit` of them drawn by the seed; ascending."""
        if self.limit is None or self.limit >= count:
            return list(range(count))
        shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        return sorted(shuffled[: self.limit].tolist())


@dataclass
class PictureReport:
    """Findings of a source, collected while it makes its pictures.

    Attributes:
        skipped: name → fault of each broken picture.
        changed: names of those that are no longer as in the recipe.
        remarks: lines for the user.
        runs: how many pictures come from each file, in their order, where that is more than one.
    """

    skipped: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class PictureSource:
    """Pictures that can be made.

    Attributes:
        recipe: plain values that the pictures are a function of; a cache is keyed by them.
        count: how many pictures will be tried; None where only making them says it.
        pictures: makes them, and adds to a report.
        left_out: a line on what was found beside them, if anything.
    """

    recipe: dict[str, Any]
    count: int | None
    pictures: Callable[[PictureReport], Pictures]
    left_out: str = ""
