"""The interface of a source of pictures: which it will give, how many, and how to make them, some at a time."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.fit import Fit

Picture = NDArray[np.uint8]  # (size, size, channels)
Pictures = Generator[Picture | None, None, None]  # None where one is broken


@dataclass(frozen=True)
class PictureSpec:
    """The pictures that a source is to give."""

    size: int  # side in pixels
    channels: int  # 1 or 3
    limit: int | None = None  # how many at most, None for all there are
    seed: int = 0  # which pictures a procedural family gives, and which ones a limit keeps
    background: str = "white"  # colour behind transparent pixels
    white: float | None = None  # the white level of grey pictures of more than 8 bits; None finds it
    all_frames: bool = False  # whether all pictures of a file are taken, not the first alone
    fit: Fit = "crop"  # how pictures that are not square become so
    labels: str | None = None  # what pictures are classes by: `folders`, or nothing

    def subset(self, count: int) -> Sequence[int]:
        """The indices of the pictures used of `count`: all, or `limit` of them drawn by the seed; ascending."""
        if self.limit is None or self.limit >= count:
            return range(count)
        shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        return sorted(shuffled[: self.limit].tolist())


@dataclass
class PictureReport:
    """Findings of a source, collected while it makes its pictures."""

    skipped: dict[str, str] = field(default_factory=dict)  # name → fault of each broken file
    changed: list[str] = field(default_factory=list)  # names of those that are no longer as in the recipe
    remarks: list[str] = field(default_factory=list)  # lines for the user
    runs: list[int] = field(default_factory=list)  # with all frames: how many come from each file, in their order
    classes: dict[str, int] = field(default_factory=dict)  # with labels: how many each class has, in their order


@dataclass(frozen=True)
class Survey:
    """Looks at all items of a source before a picture of one is made, where pictures depend on each other."""

    look: Callable[[PictureReport, range], Iterator[Any]]  # of each of some items: findings, plain values or None
    plan: Callable[[PictureReport, list[Any]], int]  # from the findings of all items: how many pictures will be tried


@dataclass(frozen=True)
class PictureSource:
    """Pictures that can be made."""

    recipe: dict[str, Any]  # plain values that the pictures are a function of; a cache is keyed by them
    count: int  # items: files, or pictures
    pictures: Callable[[PictureReport, range], Pictures]  # makes those of some items, and adds to a report
    survey: Survey | None = None  # comes first; without one each item is a picture
    close: Callable[[], None] = lambda: None  # ends what was started to make pictures
    left_out: str = ""  # a line on what was found beside them, if anything
