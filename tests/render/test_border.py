"""Laws of borders: the frame stays as it is, the whole has the shape that was asked for, nothing flickers."""

from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import get_args

import imageio.v3 as iio
import numpy as np
import pytest
from conftest import Run, film

import render
from vae.render.formats.border import Border, add_border, bordered_tiles, parse_aspect

BORDERS = get_args(Border)
ASPECTS = ("16:9", "9:16", "4:5", "1:1", "2.39:1", "3:2", "10:1", "1:10")
every_border = pytest.mark.parametrize("border", BORDERS)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def middle(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]


@every_border
def test_the_middle_is_the_frame_and_the_sides_have_the_ratio_within_a_pixel(border):
    for text, (height, width) in product(ASPECTS, ((16, 16), (45, 45), (47, 47), (64, 192), (75, 31), (256, 256))):
        frame, aspect, case = noise(height, width), parse_aspect(text), (text, height, width)
        found = add_border(frame, aspect, border)
        assert np.array_equal(middle(found, height, width), frame), case
        tall, wide, _ = found.shape
        assert min(abs(wide - tall * aspect), abs(tall - wide / aspect)) <= 1, case
        assert (tall == height) or (wide == width), case
        assert all(new == old or not new % 2 for new, old in ((tall, height), (wide, width))), case
        pixels = bordered_tiles(width, height, aspect)
        assert abs(pixels - tall * wide) <= max(tall, wide), case


@every_border
def test_a_frame_that_has_the_shape_already_stays(border):
    for height, width in ((45, 45), (45, 225 * 2), (90, 225), (1080, 1920)):
        frame = noise(height, width)
        assert np.array_equal(add_border(frame, Fraction(width, height), border), frame)


@every_border
def test_a_frame_of_one_colour_has_a_border_of_it(border):
    frame = np.full((48, 48, 3), (200, 30, 90), np.uint8)
    assert (add_border(frame, Fraction(16, 9), border) == (200, 30, 90)).all()


def test_a_plain_border_is_the_ground_and_a_blurred_one_is_the_picture_without_detail():
    frame = np.full((64, 64, 3), 240, np.uint8)
    frame[20:44, 20:44] = noise(24, 24)
    assert (add_border(frame, Fraction(2), "plain")[:, :32] == 240).all()
    halves = np.concatenate([np.zeros((64, 32, 3), np.uint8), np.full((64, 32, 3), 255, np.uint8)], 1)
    found = add_border(halves, Fraction(2), "blurred")
    assert found[:, :28].max() < 20
    assert found[:, -28:].min() > 235
    detail = add_border(noise(64, 64), Fraction(2), "blurred").astype(int)
    assert abs(np.diff(detail[:, :32], axis=1)).max() < 16


@every_border
def test_a_border_changes_no_faster_than_its_frame(border):
    drifting = [add_border(frame, Fraction(16, 9), border) for frame in film(12, 96)]
    for before, after in pairwise(drifting):
        change = abs(after.astype(int) - before)
        assert change[:, :37].max() <= middle(change, 96, 96).max()
    frame = noise(64, 64) // 2
    for level in (1, 3):
        a, b = (add_border(one, Fraction(16, 9), border).astype(int) for one in (frame, frame + np.uint8(level)))
        assert abs(b - a - level).max() <= 1


def test_the_impossible_is_no_shape():
    for text in ("", "16", "16/9", ":", "16:", "-16:9", "0:1", "1:0", "11:1", "1:11", "nan:1", "1e3:1e3", "99999:1"):
        with pytest.raises(ValueError, match="not a shape"):
            parse_aspect(text)


@pytest.fixture
def model(run: Run, tmp_path: Path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    return f"--checkpoint={run.checkpoints / 'last.ckpt'}"


COMMANDS = {
    "path": ["slerp", "--frames=3"],
    "loop": ["loop", "--frames=2", "--hold=1"],
    "grid": ["slerp", "--grid=3x2", "--frames=3"],
    "comparison": ["compare", "--paths", "slerp", "linear", "--frames=3"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_film_is_the_same_within_its_border(model, words):
    for aspect, border in zip(("16:9", "9:16"), BORDERS, strict=True):
        render.main([*words, model, "--size=33", "--out=as-it-is"])
        render.main([*words, model, "--size=33", f"--aspect={aspect}", f"--border={border}", "--out=shaped"])
        plain, shaped = ([iio.imread(file) for file in sorted(Path(name).iterdir())] for name in ("as-it-is", "shaped"))
        for one, large in zip(plain, shaped, strict=True):
            assert np.array_equal(large, add_border(one, parse_aspect(aspect), border))
            assert np.array_equal(middle(large, *one.shape[:2]), one)
            assert large.shape > one.shape or large.shape[1] > one.shape[1]


def test_stills_and_videos_have_borders_too(model):
    for words in (["strip", "--steps=3"], ["samples", "--grid=2x3"], ["traverse", "--steps=2", "--rows=2"]):
        render.main([*words, model, "--size=32", "--out=a.png"])
        render.main([*words, model, "--size=32", "--aspect=3:2", "--out=b.png"])
        assert np.array_equal(iio.imread("b.png"), add_border(iio.imread("a.png"), Fraction(3, 2), "blurred")), words
    render.main(["slerp", model, "--frames=2", "--size=90", "--aspect=16:9", "--out=a.mp4"])
    assert iio.improps("a.mp4", plugin="pyav").shape[1:] == (90, 160, 3)
    render.main(["slerp", model, "--frames=4", "--size=90", "--aspect=16:9", "--max-size=9kB", "--out=a.gif"])
    assert Path("a.gif").stat().st_size <= 9000
