"""`ImageData`: one source of pictures, cached, split and served in batches."""

import hashlib
import itertools
import math
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor

from data.augmentation import DRAWS, augment
from data.cache import cache_folder, load_cache
from data.cache_build import build_cache
from data.fingerprint import describe_changes, fingerprint
from data.fit import Fit, check_fit
from data.image_files.classes import (
    Labels,
    check_all_found,
    check_labels,
    class_folders,
    describe_classes,
    picture_classes,
)
from data.image_files.colours import background_colour
from data.picture_source import PictureSpec
from data.rng import check_seed, uniform
from data.samplers import LazyLoader, SequentialBatches, Shard, ShuffledBatches, batch_loader, usual_batch_size
from data.sources import normalize_source, open_source, source_folder, source_name
from data.split import ImageDataset, split_rows
from data.synthetic import lines
from data.system.errors import UserError, check_at_least, echo
from data.system.files import user_path
from data.transforms import to_tensor


class ImageData(pl.LightningDataModule):
    """Square images from a procedural family, a folder or a published data set, (N, C, H, W) in [-1, 1].

    Args:
        source: `patterns`, `lines`, a folder of pictures, or a data set by name: MNIST, FashionMNIST, KMNIST, EMNIST,
            CIFAR10, CIFAR100, SVHN, STL10, Flowers102, CelebA (downloaded on first use).
        image_size: side in pixels, a multiple of 16 from 32 to 256; `lines` is 32 always.
        channels: 3 (RGB) or 1 (grey); `lines` is 1 always.
        batch_size: pictures a step, on each device; null is 64, and fewer of more than 64 pixels a side: 16 of 128.
        limit: use at most so many images; null is all of a finite source and 16384 of a procedural one.
        val_fraction: share held out for validation, chosen by content: the same files always split the same way.
        cache_dir: where decoded pictures and downloads are kept.
        workers: loader processes; 0 serves batches from memory, which is fastest without a GPU.
        seed: names the procedural images, the subset that `limit` takes, the split and the order.
        background: colour behind transparent pixels, a name or #rrggbb.
        white: which level is white in grey pictures of more than 8 bits, 4095 for 12; null finds one for all of them.
        all_frames: whether all pictures of an animation or a file of many pages are used, not the first alone.
        mirror: whether every second training picture is mirrored, left to right, at random: more variety where pictures
            are few; not for text.
        shift: training pictures are moved at random by up to this share of their side, by whole pixels.
        fit: how pictures that are not square become so: `crop` keeps their centre, `pad` all of them on a ground of the
            median colour of their border, `stretch` all of them, out of proportion.
        labels: what says the classes of pictures, which random latents can be asked to be of: `folders`, the subfolders
            that they are in; pictures beside these have none.

    Attributes:
        broken: how many files hold no picture that can be read, once it is set up.
        classes: their names; none without labels.
        train_classes: the number of the class of each training picture, −1 where it has none; only with labels.
        trained_on: the `data.fingerprint` of the pictures of the training that goes on; None compares nothing.

    Raises:
        UserError: a source without usable pictures, or an argument out of range.
    """

    def __init__(
        self,
        source: str = "patterns",
        image_size: int = 64,
        channels: int = 3,
        batch_size: int | None = None,
        limit: int | None = None,
        val_fraction: float = 0.05,
        cache_dir: str = "~/.cache/latent-loom",
        workers: int = 0,
        seed: int = 0,
        background: str = "white",
        white: float | None = None,
        all_frames: bool = False,
        mirror: bool = False,
        shift: float = 0.0,
        fit: Fit = "crop",
        labels: Labels | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= shift < 0.5:
            raise UserError(f"shift {shift:g}: must be from 0 to below 0.5, a share of a picture's side")
        if not 0 < val_fraction < 1:
            raise UserError(f"val_fraction {val_fraction}: must lie between 0 and 1")
        for least, name, value in ((1, "batch_size", batch_size), (0, "workers", workers), (2, "limit", limit)):
            check_at_least(least, name, value)
        if white is not None and not 0 < white < math.inf:
            raise UserError(f"white {white:g}: must be more than 0, or null to find it")
        check_seed(seed)
        background_colour(background)
        check_fit(fit)
        source = normalize_source(source)
        if source == "lines":
            image_size, channels = lines.SIZE, lines.CHANNELS
        check_labels(labels, source)
        self.source = source
        self.classes = class_folders(Path(source)) if labels else ()
        self._spec = PictureSpec(image_size, channels, limit, seed, background, white, all_frames, fit, labels)
        self.image_size, self.channels, self.workers, self.seed = image_size, channels, workers, seed
        self._shape = image_size, image_size, channels
        self.batch_size, self.val_fraction = batch_size or usual_batch_size(image_size), val_fraction
        self.mirror, self.shift = mirror, shift
        self.cache_dir = user_path(cache_dir)
        self.trained_on: Tensor | None = None
        self._pictures: Tensor | None = None
        self._prepared: Path | None = None
        self._error: str | None = None
        self._epochs = itertools.count()
        self.save_hyperparameters()
        self.hparams["batch_size"] = self.batch_size

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        """uint8 (N, H, W, C) → float32 (N, C, H, W) in [-1, 1], on the device; training pictures with their changes."""
        if (self.mirror or self.shift) and self.trainer is not None and self.trainer.training:
            place = int(self.trainer.lightning_module.batch_start) + self._shard.rank * len(batch)  # type: ignore[arg-type]
            draws = uniform(self.seed, place + torch.arange(len(batch)), DRAWS)
            batch = augment(batch, draws.to(batch.device, non_blocking=True), self.mirror, self.shift)
        return to_tensor(batch)

    def prepare_data(self) -> None:
        """Decodes or draws the pictures into the cache unless they are there; names those that had to be skipped.

        Raises `UserError` without usable pictures; where processes train together, `setup` does, in each of them.
        """
        self._prepared, self._error = None, None
        try:
            source = open_source(self.source, self._spec, self.cache_dir / "downloads")
            recipe = {"size": self.image_size, "channels": self.channels, **source.recipe}
            if self._spec.fit != "crop":  # as all pictures were before there was a choice, whose caches stay
                recipe["fit"] = self._spec.fit
            place = cache_folder(self.cache_dir, recipe)
            name = source_name(self.source)
            found = load_cache(place, self._shape) or build_cache(place, source, name, self._shape, self._shows)
            notes = *found.remarks, found.describe_skipped(self.source), describe_classes(found.classes)
            for line in (source.left_out, *notes):
                if line:
                    echo(line, sys.stderr)
            self._prepared = found.folder
        except (UserError, OSError) as error:
            if self._strategy is None:
                raise
            self._error = str(error)

    def setup(self, stage: str) -> None:
        """Opens the cache that the first process prepared, even if files have changed since, and splits it.

        Raises:
            UserError: there is none, or not the same for all processes, in each of them; or it holds none of the
                pictures of the training that goes on.
        """
        place, error = self._prepared, self._error
        if self._strategy:
            place, error = self._strategy.broadcast((place, error))
        if error is not None:
            raise UserError(error)
        found = load_cache(place, self._shape) if place else None
        first = self.trainer is None or self.trainer.is_global_zero
        known = found.digests(self.seed, show=first and self._shows) if found else []
        if not self._same_on_all(known) or found is None:
            raise UserError(
                f"{self.source}: the processes do not find the same pictures prepared; start again if files have just "
                "changed, else let every machine have the same ones and a shared --data.cache_dir"
            )
        if source_folder(self.source):
            before, self.trained_on, self._pictures = self.trained_on, None, fingerprint(known)
            changed = None if before is None else describe_changes(before, self._pictures, self.source)
            if changed and first:
                echo(f"{self.source}: of the pictures {changed} since the checkpoint was kept")
        try:
            train, val = split_rows(known, self.val_fraction, found.runs)
        except UserError as error:
            raise UserError(f"{self.source}: {error}") from None
        self.broken = len(found.skipped)
        if self.classes:
            self.train_classes = picture_classes(found.classes, self.classes)[train]
            check_all_found(self.train_classes, self.classes, self.source)
        self.train_set, self.val_set = ImageDataset(found.images, train), ImageDataset(found.images, val)

    def state_dict(self) -> dict[str, Tensor]:
        """The fingerprint of a folder's pictures, which are compared where a training goes on."""
        return {} if self._pictures is None else {"pictures": self._pictures}

    def _same_on_all(self, known: list[bytes]) -> bool:
        """True if all processes that train together have the pictures with these digests, and the same classes."""
        if self._strategy is None:
            return True
        digest = hashlib.blake2b(b"".join([*known, repr(self.classes).encode()])).digest() if known else None
        first = self._strategy.broadcast(digest)
        return self._strategy.reduce_boolean_decision(digest is not None and digest == first, all=True)

    @property
    def _shows(self) -> bool:
        """True unless the trainer has no progress bar, so that nothing else here is to have one."""
        return self.trainer is None or self.trainer.progress_bar_callback is not None

    @property
    def _strategy(self) -> Strategy | None:
        """The one of processes that train together; None if there is one process alone."""
        return self.trainer.strategy if self.trainer and self.trainer.world_size > 1 else None

    @property
    def _shard(self) -> Shard:
        return Shard(self.trainer.global_rank, self.trainer.world_size) if self.trainer else Shard()

    @property
    def order(self) -> ShuffledBatches:
        """The order of the training pictures. Raises `UserError` if there are fewer than processes."""
        count = len(self.train_set)
        if count < self._shard.world:
            raise UserError(
                f"{self.source}: {count} pictures to train on are too few for {self._shard.world} processes; use fewer"
            )
        return ShuffledBatches(count, self.batch_size, self.seed, self._shard, self._pictures_seen)

    def _pictures_seen(self) -> int:
        """The number that the training has seen; without a training, each iteration is an epoch."""
        if self.trainer is None:
            return next(self._epochs) * len(self.train_set)
        return self.trainer.lightning_module.pictures_seen  # type: ignore[return-value]

    def train_dataloader(self) -> LazyLoader:
        """Shuffled, from the place of the training; the incomplete last batch is left out."""
        return batch_loader(self.train_set, self.order, self.workers)

    def val_dataloader(self) -> LazyLoader:
        """The held-out pictures, in a fixed order."""
        order = SequentialBatches(len(self.val_set), self.batch_size, self._shard)
        return batch_loader(self.val_set, order, self.workers)

    test_dataloader = val_dataloader
