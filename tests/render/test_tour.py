"""A tour visits every picture of a folder, each as it was given."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from clicks import click_track, save_wave
from conftest import Run, fill
from PIL import Image

import render
from vae.morphing import registration
from vae.render.walks import tour

COUNT = 7


@pytest.fixture
def words(run: Run, tmp_path: Path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registration, "_STEPS", 5)
    for number in range(COUNT):
        small = Image.linear_gradient("L").rotate(360 * (3 * number % COUNT) / COUNT).resize((32, 32))
        Path("album/below").mkdir(parents=True, exist_ok=True)
        small.convert("RGB").save(f"album/{'below/' * (number % 2)}{number}.png")
    return ["tour", "--checkpoint", str(run.checkpoints / "last.ckpt"), "--size=32", "--pictures=album", "--out=film"]


def shown() -> list[np.ndarray]:
    return [iio.imread(file) for file in sorted(Path("film").iterdir())]


def visits(frames: list[np.ndarray]) -> dict[str, list[int]]:
    """The frames that are a picture of the album, by its name."""
    given = {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in Path("album").rglob("*.png")}
    return {
        name: [k for k, frame in enumerate(frames) if np.array_equal(frame, picture)] for name, picture in given.items()
    }


def test_every_picture_is_shown_exactly_once_beside_those_that_are_like_it(words, capsys):
    render.main([*words, "--frames=3"])
    frames = shown()
    assert len(frames) == 3 * COUNT
    found = visits(frames)
    assert all(len(places) == 1 for places in found.values())
    order = sorted(found, key=found.__getitem__)
    turned = [3 * int(name) % COUNT for name in order]
    steps = np.diff(turned, append=turned[0]) % COUNT
    assert set(steps.tolist()) in ({1}, {COUNT - 1})
    assert f"{COUNT} pictures" in capsys.readouterr().out


def test_a_tour_lasts_its_minutes_and_rests_where_it_is_asked_to(words):
    render.main([*words, "--minutes=0.05", "--fps=20", "--hold=3"])
    frames = shown()
    assert len(frames) == 60
    assert all(places == list(range(places[0], places[0] + 4)) for places in visits(frames).values())


def test_a_tour_follows_a_sound_and_shows_every_picture(words):
    save_wave(Path("clicks.wav"), click_track(2, [0.5, 1.2]))
    render.main([*words, "--audio=clicks.wav", "--fps=10"])
    frames = shown()
    assert len(frames) == 20
    assert all(visits(frames).values())


def test_of_many_pictures_some_are_taken_evenly(words, capsys, monkeypatch):
    monkeypatch.setattr(tour, "_MOST", 4)
    render.main([*words, "--frames=2"])
    assert f"one in 2 of {COUNT} pictures" in capsys.readouterr().out
    assert sum(map(len, visits(shown()).values())) == 4


def test_too_few_pictures_and_too_little_time_are_refused_before_any_work(words, one_line_error, monkeypatch):
    monkeypatch.setattr("vae.render.walks.tour.flows_between", pytest.fail)
    line = one_line_error(render.main, *words, "--minutes=0.01", "--fps=10")
    assert "too few for 7 pictures" in line
    save_wave(Path("short.wav"), click_track(0.6, [0.3]))
    line = one_line_error(render.main, *words, "--audio=short.wav", "--fps=10")
    assert "short.wav: is 6 frames long, too few to show 7 keyframes; give a longer one" in line
    fill(Path("two"), 2)
    assert "3 or more" in one_line_error(render.main, *words[:-2], "--pictures=two", "--out=film")
