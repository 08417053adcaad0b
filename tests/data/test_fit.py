"""Laws of pictures that are not square: all that a fit promises, wherever pictures are read."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from conftest import count_of, data_of, fill, scene
from PIL import Image

from data.cache import cache_folder
from data.fit import Fit, ground_colour
from data.image_files.reader import read_picture
from data.sources import open_source
from data.system.errors import UserError

FITS = get_args(Fit)
GROUND, MARK = (200, 220, 240), (250, 10, 30)


@pytest.fixture(params=[(96, 32), (32, 96), (97, 31), (640, 2)], ids=lambda size: "x".join(map(str, size)))
def marked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A long picture with a mark at one end."""
    width, height = request.param
    pixels = np.full((height, width, 3), GROUND, np.uint8)
    pixels[: height if width > height else height // 8, : width // 8 if width > height else width] = MARK
    Image.fromarray(pixels).save(tmp_path / "long.png")
    return tmp_path / "long.png"


def red(pixels: np.ndarray) -> np.ndarray:
    """Where the mark is."""
    return np.abs(pixels.astype(int) - MARK).max(2) < 40


@pytest.mark.parametrize("size", [32, 75])
def test_a_mark_at_the_end_is_kept_but_by_a_crop(marked, size):
    found = {fit: red(read_picture(marked, size, 3, fit=fit)) for fit in FITS}
    assert not found["crop"].any()
    assert found["stretch"].mean() == pytest.approx(1 / 8, abs=1 / size)
    with Image.open(marked) as image:
        shape = min(image.size) / max(image.size)
    assert found["pad"].mean() == pytest.approx(shape / 8, abs=1.2 / size)
    assert found["pad"].any()


def test_padding_is_the_pictures_own_ground_around_its_middle(marked):
    pixels = read_picture(marked, 64, 3, fit="pad")
    assert tuple(ground_colour(pixels)) == GROUND
    with Image.open(marked) as image:
        across = image.width > image.height
    lines = (np.abs(pixels.astype(int) - GROUND).max((1, 2) if across else (0, 2)) > 8).nonzero()[0]
    assert lines.mean() == pytest.approx(31.5, abs=0.51)
    assert (pixels[: lines[0]] == GROUND).all() if across else (pixels[:, : lines[0]] == GROUND).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_of_a_square_all_fits_are_the_same(tmp_path, channels):
    for side in (7, 32, 101):
        scene(side, side, side).save(tmp_path / "a.png")
        for size in (16, 32, 75):
            one, *others = (read_picture(tmp_path / "a.png", size, channels, fit=fit) for fit in FITS)
            assert all(np.array_equal(one, other) for other in others), (side, size)


def test_each_fit_has_a_cache_of_its_own_and_that_of_the_usual_one_is_where_it_was(tmp_path, in_process):
    folder, places = fill(tmp_path / "pictures", 6), {}
    for fit in FITS:
        data = data_of(tmp_path, folder, fit=fit)
        assert count_of(data) == 6
        places[fit], images = data._prepared, data.train_set.images.numpy()
        assert all(np.array_equal(images[k], read_picture(folder / f"{k}.png", 32, 3, fit=fit)) for k in range(6)), fit
    assert len(set(places.values())) == 3
    before = {"size": 32, "channels": 3, **open_source(str(folder), data._spec, tmp_path).recipe}
    assert "fit" not in before
    assert places["crop"] == cache_folder(tmp_path / "cache", before)


def test_a_fit_that_is_none_is_refused(tmp_path):
    scene(1).save(tmp_path / "a.png")
    for fit in ("padded", None, 3):
        with pytest.raises(UserError, match="must be crop, pad, stretch"):
            data_of(tmp_path, tmp_path, fit=fit)
        with pytest.raises(UserError, match=r"a\.png: fit .* must be crop, pad, stretch"):
            read_picture(tmp_path / "a.png", 32, 3, fit=fit)
