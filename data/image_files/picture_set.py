"""The pictures of a folder that an option names, read at once; what cannot be read is left out, and that is said."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.fit import Fit
from data.image_files.listing import Listing, find_pictures
from data.image_files.reader import read_picture
from data.system.errors import UserError, echo


@dataclass(frozen=True)
class PictureSet:
    """The files below a folder that should be pictures.

    Attributes:
        name: the option and the folder, for messages.
        least: how many must be readable.
        most: how many are read; of more, so many are taken evenly.
        listing: all that is there.
    """

    name: str
    least: int
    most: int
    listing: Listing

    @property
    def files(self) -> list[Path]:
        """All that should be pictures."""
        return [Path(file) for file in self.listing.pictures]

    def read(self, size: int, channels: int, fit: Fit) -> tuple[list[Path], NDArray[np.uint8]]:
        """The files that can be read and their pictures, (N, size, size, channels); prints what is left out.

        Raises `UserError` if they are fewer than `least`.
        """
        files = self.files
        if left_out := self.listing.left_out():
            echo(left_out)
        if (step := math.ceil(len(files) / self.most)) > 1:
            echo(f"{self.name}: takes one in {step} of {len(files):,} pictures, {self.most:,} at most")
        chosen, pictures, faults = files[::step], {}, []
        for file in tqdm(chosen, "Reading", leave=False, unit=" files", delay=1):
            try:
                pictures[file] = read_picture(file, size, channels, fit=fit)
            except UserError as error:
                fault, _, _ = str(error).rpartition("; ")  # without the remedy
                faults.append(fault)
        skipped = f"Skipped {len(faults):,} of {len(chosen):,} files; the first is {faults[0]}" if faults else ""
        self.check(len(pictures), skipped)
        if skipped:
            echo(skipped)
        return list(pictures), np.stack(list(pictures.values()))

    def check(self, count: int, why: str = "") -> None:
        """Raises `UserError` if so many pictures are too few."""
        if count < self.least:
            why = f" ({why})" if why else ""
            raise UserError(f"{self.name}: has too few pictures, {count}{why}; name a folder of {self.least} or more")


def find_set(option: str, folder: Path, least: int, most: int) -> PictureSet:
    """The pictures below a folder that an option names. Raises `UserError` unless it is one, with enough files."""
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: is no folder; name one of {least} pictures or more")
    found = PictureSet(f"{option} {folder}", least, most, find_pictures(folder))
    found.check(len(found.files))
    return found
