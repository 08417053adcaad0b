"""`ImageData`: one source of pictures, cached, split and served in batches."""

import hashlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from data import cache, catalog
from data.errors import UserError
from data.files import user_path
from data.folder import folder
from data.lines import CHANNELS as LINES_CHANNELS
from data.lines import SIZE as LINES_SIZE
from data.order import InOrder, Loader, Share, Shuffled
from data.pixels import background_colour, to_tensor
from data.procedural import FAMILIES, procedural
from data.source import Source, Wish
from data.uniform import check_seed

_SHOWN_FAULTS = 10


class Images(Dataset[Tensor]):
    """Some rows of an (N, H, W, C) uint8 tensor; a list of indices is fetched in one go."""

    def __init__(self, images: Tensor, rows: Tensor) -> None:
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[self.rows[index]]

    def __getitems__(self, indices: list[int]) -> Tensor:
        return self.images.index_select(0, self.rows[indices])  # copies whole rows; indexing goes pixel by pixel


def _as_is(batch: Any) -> Tensor:
    return batch


def split(images: Tensor, val_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Deals pictures to training and validation by their content, so that copies of one picture stay together.

    Args:
        images: (N, H, W, C) uint8.
        val_fraction: the share to hold out, in (0, 1).
        seed: which split.

    Returns:
        the row numbers of the training and of the validation pictures, in ascending order; neither is empty.

    Raises:
        UserError: fewer than two different pictures.
    """
    key = str(seed).encode()
    copies: dict[bytes, list[int]] = {}
    for row, image in enumerate(images):
        copies.setdefault(hashlib.blake2b(image.numpy().tobytes(), digest_size=16, key=key).digest(), []).append(row)
    if len(copies) < 2:
        raise UserError(f"{len(images)} pictures, {len(copies)} of them different: too few to train and to validate on")
    val: list[int] = []
    train: list[int] = []
    least = 2 if len(copies) >= 4 else 1  # two held-out pictures make a path
    for position, digest in enumerate(sorted(copies)):
        wanted = position < least or len(val) < round(val_fraction * len(images))
        (val if wanted and position < len(copies) - 1 else train).extend(copies[digest])
    return torch.tensor(sorted(train)), torch.tensor(sorted(val))


class ImageData(pl.LightningDataModule):
    """Square images from a procedural family, a folder or torchvision, (N, C, H, W) in [-1, 1].

    Args:
        source: `patterns`, `lines`, a folder of pictures, or a torchvision name: MNIST, FashionMNIST, KMNIST, EMNIST,
            CIFAR10, CIFAR100, SVHN, STL10, Flowers102, CelebA (downloaded on first use).
        image_size: side in pixels, a multiple of 16 from 32 to 256; `lines` is 32 always.
        channels: 3 (RGB) or 1 (grey); `lines` is 1 always.
        batch_size: images a step, on each device.
        limit: use at most so many images; null is all of a finite source and 16384 of a procedural one.
        val_fraction: share held out for validation, chosen by content: the same files always split the same way.
        cache_dir: where decoded pictures and downloads are kept.
        workers: loader processes; 0 serves batches from memory, which is fastest without a GPU.
        seed: names the procedural images, the subset that `limit` takes, the split and the order.
        background: colour behind transparent pixels, a name or #rrggbb.

    Raises:
        UserError: a source without usable pictures, or an argument out of range.
    """

    def __init__(
        self,
        source: str = "patterns",
        image_size: int = 64,
        channels: int = 3,
        batch_size: int = 32,
        limit: int | None = None,
        val_fraction: float = 0.05,
        cache_dir: str = "~/.cache/latent-loom",
        workers: int = 0,
        seed: int = 0,
        background: str = "white",
    ) -> None:
        super().__init__()
        if not 0 < val_fraction < 1:
            raise UserError(f"val_fraction {val_fraction}: must lie between 0 and 1")
        if batch_size < 1 or workers < 0 or (limit is not None and limit < 2):
            raise UserError("batch_size must be at least 1, workers at least 0 and limit at least 2")
        check_seed(seed)
        background_colour(background)
        source = full_source(source)
        if source == "lines":
            image_size, channels = LINES_SIZE, LINES_CHANNELS
        self.source, self.seed, self.limit, self.background = source, seed, limit, background
        self.image_size, self.channels, self.workers = image_size, channels, workers
        self.batch_size, self.val_fraction = batch_size, val_fraction
        self.cache_dir = user_path(cache_dir)
        self.between_steps: Callable[[], None] | None = None
        self._prepared: Path | None = None
        self._asked = itertools.count()
        self.save_hyperparameters()

    def on_before_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        """Calls `between_steps`, if there is one, before the batch of a step is looked at."""
        if self.between_steps is not None and self.trainer is not None and self.trainer.training:
            self.between_steps()
        return batch

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        """uint8 travels to the device; float32 (N, C, H, W) in [-1, 1] is made there."""
        return to_tensor(batch)

    def prepare_data(self) -> None:
        """Decodes or draws the pictures into the cache unless they are there; names those that had to be skipped."""
        source = self._open()
        place = self._prepared = self._place(source)
        found = cache.load(place) or cache.build(place, source, source_name(self.source))
        faults = list(found.skipped.values())
        if 2 * len(faults) > found.tried:
            raise UserError(
                f"{self.source}: {len(faults)} of {found.tried} pictures are broken, among them {faults[0]}; "
                "is this the folder you meant?"
            )
        if faults:
            shown = "; ".join(faults[:_SHOWN_FAULTS]) + (
                f"; … all in {place / 'index.json'}" if len(faults) > _SHOWN_FAULTS else ""
            )
            print(f"Skipped {len(faults)} of {found.tried} pictures: {shown}", file=sys.stderr)

    def setup(self, stage: str) -> None:
        """Opens the cache and splits it."""
        place = self._prepared or self._place(self._open())  # a folder of many files is looked through once
        found = cache.load(place)
        if found is None:
            raise UserError(f"{place}: no cache there; every machine needs its own or a shared --data.cache_dir")
        train, val = split(found.images, self.val_fraction, self.seed)
        self.train_set, self.val_set = Images(found.images, train), Images(found.images, val)

    def _open(self) -> Source:
        wish = Wish(self.image_size, self.channels, self.limit, self.seed, self.background)
        if self.source in FAMILIES:
            return procedural(self.source, wish)
        if self.source in catalog.NAMES:
            return catalog.torchvision_source(self.source, self.cache_dir / "downloads", wish)
        return folder(Path(self.source), wish)

    def _place(self, source: Source) -> Path:
        return cache.location(self.cache_dir, {"size": self.image_size, "channels": self.channels, **source.recipe})

    def train_dataloader(self) -> Loader:
        """Shuffled, from where the training stands; the incomplete last batch is left out.

        Raises:
            UserError: there are fewer pictures than processes.
        """
        count, share = len(self.train_set), self._share()
        if count < share.world:
            raise UserError(f"{self.source}: {count} pictures to train on are too few for {share.world} processes")
        return self._loader(self.train_set, Shuffled(count, self.batch_size, self.seed, share, self._place_in_training))

    def val_dataloader(self) -> Loader:
        """The held-out pictures, in a fixed order."""
        return self._loader(self.val_set, InOrder(len(self.val_set), self.batch_size, self._share()))

    test_dataloader = val_dataloader

    def _share(self) -> Share:
        return Share(self.trainer.global_rank, self.trainer.world_size) if self.trainer else Share()

    def _place_in_training(self) -> tuple[int, int]:
        """Epoch and batch, each from 0, that come next."""
        if self.trainer is None:
            return next(self._asked), 0
        loop = self.trainer.fit_loop
        epoch: int = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        return epoch, loop.epoch_loop.batch_progress.current.ready

    def _loader(self, images: Images, order: Sampler[list[int]]) -> Loader:
        return Loader(
            images,
            batch_sampler=order,
            num_workers=self.workers,
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
        )


def full_source(source: str) -> str:
    """A source's one spelling: a name as it is, a folder as its absolute path."""
    known = source in FAMILIES or source in catalog.NAMES
    return source if known else str(user_path(source).resolve())


def source_name(source: str) -> str:
    """What runs on a source are filed under: `patterns`, `MNIST`, or the last part of a folder's path."""
    return Path(full_source(source)).name or "images"
