"""Published data sets by name, downloaded because the user named one.

torchvision reads CIFAR with `pickle.load`, but first compares the MD5 of each file with that of the published one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import ConcatDataset

from data.fit import to_square
from data.picture_source import PictureReport, Pictures, PictureSource, PictureSpec
from data.system.errors import UserError


def open_torchvision_set(
    parts: Sequence[dict[str, Any]], name: str, spec: PictureSpec, downloads: Path
) -> PictureSource:
    """A data set of torchvision, without its labels.

    Args:
        parts: the arguments of each part that is used.
        name: the class in `torchvision.datasets`.
        spec: size, channels, limit, seed and fit.
        downloads: the folder where its files are, or go.

    Raises:
        UserError: its files are not there and cannot be fetched, or are damaged.
    """
    from torchvision import datasets  # a slow import

    try:
        items: ConcatDataset[Any] = ConcatDataset(
            [getattr(datasets, name)(str(downloads), download=True, **part) for part in parts]
        )
    except ImportError as error:
        raise UserError(f"{name}: needs {error.name}; pip install -e '.[datasets]'") from None
    except Exception as error:  # torchvision raises nearly anything on downloads and files that were cut short
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"{name}: cannot be downloaded to {downloads}, or not be read there ({reason}); check the network, delete "
            "what is damaged there, or give --data.source a folder of pictures"
        ) from None
    chosen = spec.subset(len(items))

    def pictures(report: PictureReport, rows: range) -> Pictures:
        for row in rows:
            image = items[chosen[row]][0]
            if name == "EMNIST":  # its files hold the letters transposed
                image = image.transpose(Image.Transpose.TRANSPOSE)
            image = to_square(image.convert("RGB"), spec.size, spec.fit)
            pixels = np.asarray(image.convert("L" if spec.channels == 1 else "RGB"))
            yield pixels.reshape(spec.size, spec.size, spec.channels)

    return PictureSource({"dataset": name, "chosen": list(chosen)}, len(chosen), pictures)
