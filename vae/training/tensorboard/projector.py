"""The codes of held-out pictures for TensorBoard's Projector.

`SummaryWriter.add_embedding` would write the same files, but in place: a full disk leaves half of one.
"""

import io
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from google.protobuf import text_format  # type: ignore[import-untyped]
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig  # type: ignore[attr-defined]
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from data.system.files import save_bytes
from data.transforms import to_uint8
from vae.inference import BATCH, encode_means
from vae.model.vae import VAE

MOST_CODES = 1000
_LARGEST_THUMBNAIL = 64  # pixels: 32 × 32 of them are 2048, and browsers take no more than 8192
_FOLDER = "projector"


def write_codes(
    logs: Path, vae: VAE, pictures: Tensor, progress: Callable[[Sequence[Tensor]], Iterable[Tensor]] = iter
) -> None:
    """Writes the codes of up to 1,000 pictures (N, C, H, W) in [-1, 1] to a log folder, in the place of earlier ones.

    A code is the posterior's mean without the inactive latents. TensorBoard reads `projector_config.pbtxt`, which is
    written last and names the others. `progress` wraps the batches, in a progress bar for example. Raises
    `StorageError` if the place cannot be written to.
    """
    codes = torch.cat([encode_means(vae, batch) for batch in progress(torch.split(pictures, BATCH))])
    active = vae.zero_inactive(torch.ones_like(codes[0])) > 0
    table = io.BytesIO()
    np.savetxt(table, codes[:, active].cpu().numpy(), "%.5g", "\t")
    save_bytes(table.getvalue(), logs / _FOLDER / "codes.tsv")
    sheet = thumbnails(pictures)
    save_bytes(_png(sheet), logs / _FOLDER / "thumbnails.png")
    config = ProjectorConfig()
    found = config.embeddings.add()
    found.tensor_name, found.tensor_path = "held-out pictures", f"{_FOLDER}/codes.tsv"
    found.sprite.image_path = f"{_FOLDER}/thumbnails.png"
    found.sprite.single_image_dim.extend([sheet.shape[0] // _columns(len(pictures))] * 2)
    save_bytes(text_format.MessageToString(config).encode(), logs / "projector_config.pbtxt")


def thumbnails(pictures: Tensor) -> Tensor:
    """Small pictures, row by row from the top left, in a square whose last places may be free: uint8 (S, S, 3)."""
    columns, side = _columns(len(pictures)), min(_LARGEST_THUMBNAIL, pictures.shape[-1])
    small = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
    free = small.new_ones(columns**2 - len(small), *small.shape[1:])
    return to_uint8(make_grid(torch.cat([small, free]), columns, padding=0)[None])[0]


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _png(picture: Tensor) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture.numpy()).save(content, "PNG")
    return content.getvalue()
