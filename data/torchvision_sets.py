"""Published data sets by name, downloaded because the user named one; torchvision reads most of them."""

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from data.cifar import ARCHIVES, Cifar
from data.source import Pictures, PictureSpec, Source
from data.system.errors import UserError

_PARTS: dict[str, tuple[dict[str, Any], ...]] = {
    "MNIST": ({"train": True},),
    "FashionMNIST": ({"train": True},),
    "KMNIST": ({"train": True},),
    "EMNIST": ({"split": "balanced", "train": True},),
    **dict.fromkeys(ARCHIVES, ()),
    "SVHN": ({"split": "train"},),
    "STL10": ({"split": "train+unlabeled"},),
    "Flowers102": ({"split": "train"}, {"split": "val"}, {"split": "test"}),  # train alone has 1,020 pictures
    "CelebA": ({"split": "train"},),
}
NAMES = tuple(_PARTS)


def _open(name: str, downloads: Path) -> list[Any]:
    from torchvision import datasets  # its start-up is spared to those who use no data set of its

    try:
        if name in ARCHIVES:  # torchvision unpickles them
            return [Cifar(name, downloads)]
        return [getattr(datasets, name)(str(downloads), download=True, **part) for part in _PARTS[name]]
    except ImportError as error:
        raise UserError(f"{name}: needs {error.name}; pip install -e '.[datasets]'") from None
    except Exception as error:  # torchvision raises nearly anything on downloads and files that were cut short
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"{name}: cannot be downloaded to {downloads}, or not be read there ({reason}); check the network, delete "
            "what is damaged there, or give --data.source a folder of pictures"
        ) from None


def torchvision_source(name: str, downloads: Path, wish: PictureSpec) -> Source:
    """A published data set's pictures, without their labels.

    Args:
        name: one of `NAMES`.
        downloads: the folder where its files are, or go.
        wish: size, channels and limit.

    Raises:
        UserError: its files are not there and cannot be fetched.
    """
    parts = _open(name, downloads)
    ends = list(accumulate(map(len, parts)))
    chosen = wish.subset(ends[-1])

    def pictures() -> Pictures:
        for index in chosen:
            part = bisect_right(ends, index)
            image = parts[part][index - (ends[part - 1] if part else 0)][0]
            if name == "EMNIST":  # its files hold the letters transposed
                image = image.transpose(Image.Transpose.TRANSPOSE)
            image = ImageOps.fit(image.convert("RGB"), (wish.size, wish.size), Image.Resampling.LANCZOS)
            pixels = np.asarray(image.convert("L" if wish.channels == 1 else "RGB"))
            yield pixels.reshape(wish.size, wish.size, wish.channels)

    return Source({"dataset": name, "chosen": chosen}, len(chosen), pictures)
