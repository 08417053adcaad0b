"""Published data sets by name, downloaded because the user named one."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from data.picture_source import PictureReport, Pictures, PictureSource, PictureSpec
from data.system.errors import UserError


def open_torchvision_set(
    parts: Sequence[dict[str, Any]], name: str, spec: PictureSpec, downloads: Path
) -> PictureSource:
    """A data set of torchvision, without its labels; otherwise as `open_dataset`.

    Args:
        parts: the arguments of each part that is used, as torchvision has them.
        name: the class in `torchvision.datasets`.
        spec: size, channels, limit and seed.
        downloads: the folder where its files are, or go.
    """

    def load() -> list[Any]:
        from torchvision import datasets  # a slow import

        return [getattr(datasets, name)(str(downloads), download=True, **part) for part in parts]

    return open_dataset(load, name, spec, downloads)


def open_dataset(load: Callable[[], list[Any]], name: str, spec: PictureSpec, downloads: Path) -> PictureSource:
    """A data set whose items are tuples of a PIL image and labels.

    Args:
        load: downloads it if need be, and returns its parts.
        name: of the data set.
        spec: size, channels, limit and seed.
        downloads: the folder where its files are, or go.

    Raises:
        UserError: its files are not there and cannot be fetched, or are damaged.
    """
    try:
        parts = load()
    except ImportError as error:
        raise UserError(f"{name}: needs {error.name}; pip install -e '.[datasets]'") from None
    except Exception as error:  # torchvision raises nearly anything on downloads and files that were cut short
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"{name}: cannot be downloaded to {downloads}, or not be read there ({reason}); check the network, delete "
            "what is damaged there, or give --data.source a folder of pictures"
        ) from None
    ends = list(accumulate(map(len, parts)))
    chosen = spec.subset(ends[-1])

    def pictures(report: PictureReport) -> Pictures:
        for index in chosen:
            part = bisect_right(ends, index)
            image = parts[part][index - (ends[part - 1] if part else 0)][0]
            if name == "EMNIST":  # its files hold the letters transposed
                image = image.transpose(Image.Transpose.TRANSPOSE)
            image = ImageOps.fit(image.convert("RGB"), (spec.size, spec.size), Image.Resampling.LANCZOS)
            pixels = np.asarray(image.convert("L" if spec.channels == 1 else "RGB"))
            yield pixels.reshape(spec.size, spec.size, spec.channels)

    return PictureSource({"dataset": name, "chosen": chosen}, len(chosen), pictures)
