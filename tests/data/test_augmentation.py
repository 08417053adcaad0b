"""Mirrored and shifted training pictures: what may change, what must not, and that it repeats."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import data_of, fill

import train
from data.augmentation import DRAWS, augment
from data.datamodule import ImageData
from data.transforms import to_tensor

PIXELS = torch.randint(256, (64, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ALL = torch.rand(64, DRAWS, generator=torch.Generator().manual_seed(1))


def shifted(picture: torch.Tensor, down: int, right: int) -> torch.Tensor:
    rows, columns = torch.arange(16).sub(down).clamp(0, 15), torch.arange(16).sub(right).clamp(0, 15)
    return picture[rows][:, columns]


def test_nothing_changes_where_nothing_is_asked_for():
    assert torch.equal(augment(PIXELS, ALL, mirror=False, shift=0), PIXELS)


def test_half_of_the_pictures_are_mirrored_and_no_pixel_is_another():
    found = augment(PIXELS, ALL, mirror=True, shift=0)
    mirrored = [torch.equal(one, usual.flip(1)) for one, usual in zip(found, PIXELS, strict=True)]
    kept = [torch.equal(one, usual) for one, usual in zip(found, PIXELS, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 16 < sum(mirrored) < 48


@pytest.mark.parametrize("mirror", [False, True])
def test_pictures_move_by_whole_pixels_and_no_further_than_they_may(mirror: bool):
    found, seen = augment(PIXELS, ALL, mirror, shift=2 / 16), set()
    for one, usual in zip(found, PIXELS, strict=True):
        candidates = [(False, usual), (True, usual.flip(1))][: 1 + mirror]
        places = [
            (turned, down, right)
            for turned, picture in candidates
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(one, shifted(picture, down, right))
        ]
        assert len(places) == 1
        seen.add(places[0][1:])
    assert len(seen) > 15, "of 25"


def serve(data: ImageData, place: int, batch: torch.Tensor, training: bool, rank: int = 0, world: int = 1):
    module = SimpleNamespace(batch_start=place)
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        training=training, lightning_module=module, global_rank=rank, world_size=world
    )
    return data.on_after_batch_transfer(batch, 0)


def test_training_pictures_alone_change_and_each_place_has_changes_of_its_own(tmp_path: Path):
    data = ImageData(mirror=True, shift=0.1)
    first = serve(data, 0, PIXELS, training=True)
    assert torch.equal(first, serve(data, 0, PIXELS, training=True))
    assert not torch.equal(first, serve(data, 64, PIXELS, training=True))
    assert torch.equal(serve(data, 0, PIXELS, training=False), to_tensor(PIXELS))
    assert torch.equal(serve(ImageData(), 0, PIXELS, training=True), to_tensor(PIXELS))


def test_processes_change_their_parts_as_one_alone_would_the_whole():
    data = ImageData(mirror=True, shift=0.1)
    parts = [serve(data, 128, PIXELS[32 * rank :][:32], training=True, rank=rank, world=2) for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), serve(data, 128, PIXELS, training=True))


def test_a_shift_is_a_share_of_the_side(one_line_error, tmp_path: Path):
    fill(tmp_path / "pictures", 8)
    words = ["fit", f"--data.source={tmp_path / 'pictures'}"]
    for wrong in ("0.5", "-0.1", "3"):
        assert "shift" in one_line_error(train.main, *words, f"--data.shift={wrong}")
    assert data_of(tmp_path, tmp_path / "pictures", shift=0.49).shift == 0.49
