"""The film of a training: which of its morphs each frame shows, and what is read of files that others wrote."""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import EPOCHS, FRAMES, Run, mutated
from conftest import film as drifting
from PIL import Image

import render
from data.system.errors import UserError
from vae.render.formats.frame import resize
from vae.render.formats.writers import encode_animation
from vae.render.growth.film import schedule
from vae.render.growth.morph_files import FPS, MOST_FILES, Moment, find_morphs, read_morph, save_morph

TURN = {"slerp": 2 * (FRAMES - 1), "linear": 2 * (FRAMES - 1), "loop": 4 * (FRAMES // 2)}


def frames_of(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("path", TURN)
def test_the_film_goes_through_the_morphs_of_a_real_training_and_rests_with_the_last(run: Run, tmp_path: Path, path):
    out = tmp_path / "film"
    render.main(["growth", f"--run={run.logs}", f"--out={out}", f"--paths={path}", "--size=96", "--seconds=2"])
    frames, morphs = frames_of(out), [read_morph(file) for file in find_morphs(run.logs, path)]
    assert len(frames) == round(2 * FPS / TURN[path]) * TURN[path]
    assert len(morphs) == EPOCHS
    turn = np.arange(TURN[path])
    there = turn if path == "loop" else np.minimum(turn, TURN[path] - turn)
    captions = []
    for number, frame in enumerate(frames):
        late = number * EPOCHS // (len(frames) - TURN[path])
        morph = morphs[min(late, EPOCHS - 1)]
        expected = resize(morph.frames[there[number % TURN[path]]], 96, "lanczos")
        assert np.array_equal(frame[:96], expected), number
        captions.append(frame[96:].tobytes())
    assert len(set(captions)) == EPOCHS, "each says another epoch"


def test_several_paths_are_side_by_side_and_the_newest_run_is_the_default(run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, version in enumerate((5, 11, 3)):
        folder = shutil.copytree(run.logs / "morphs", tmp_path / f"logs/cats/version_{version}/morphs")
        for file in folder.rglob("*.gif"):
            os.utime(file, (10**9 - age, 10**9 - age))
    for file in find_morphs(tmp_path / "logs/cats/version_5", "slerp")[1:]:
        file.unlink()
    film = ["growth", "--size=64", "--seconds=1"]
    render.main([*film, "--out=one"])
    render.main([*film, "--out=both", "--paths", "slerp", "loop"])
    one, both = (frames_of(tmp_path / name) for name in ("one", "both"))
    assert len({frame[64:].tobytes() for frame in one}) == 1, "of one validation"
    assert np.array_equal(both[0][:64, :64], one[0][:64])
    assert both[0].shape[1] == 64 + round(64 * 134 / 68), "two loops are twice as wide as high"


def test_a_schedule_shows_every_morph_in_order_and_closes():
    for morphs in (1, 2, 7, 40, 1000):
        for closed in (True, False):
            places = schedule(morphs, 30, 4, closed)
            shown = [place.morph for place in places]
            assert len(places) == 120
            assert shown == sorted(shown)
            assert (shown[0], set(shown[90:])) == (0, {morphs - 1})
            assert morphs > 90 or set(shown) == set(range(morphs))
            steps = np.diff([place.share for place in (*places, places[0])])
            assert np.allclose(steps % 1, 1 / 30) if closed else np.allclose(np.abs(steps), 1 / 15)


def test_of_many_morphs_those_stay_that_are_spread_evenly(tmp_path: Path):
    gif = encode_animation(drifting(2, 16), ".gif", FPS)
    for seen in range(1, 3 * MOST_FILES + 1):
        save_morph(gif, tmp_path, "slerp", 100 * seen, Moment(seen / 10, 0.5))
    seen = [int(file.stem) for file in find_morphs(tmp_path, "slerp")]
    assert len(seen) == MOST_FILES
    assert (seen[0], seen[-1]) == (100, 300 * MOST_FILES)
    assert np.diff(seen).max() <= 3 * np.diff(seen).mean()


def test_what_was_saved_is_read_again_even_where_frames_are_alike(tmp_path: Path):
    first, second, third = drifting(3, 16)
    gif = encode_animation([first, first, first, second, third, third], ".gif", FPS)
    for sharpness in (0.25, None):
        save_morph(gif, tmp_path, "slerp", 7, Moment(1.5, sharpness))
        morph = read_morph(*find_morphs(tmp_path, "slerp"))
        assert morph.moment == (1.5, sharpness)
        assert [np.abs(frame - morph.frames[0].astype(int)).max() > 0 for frame in morph.frames] == [*3 * [0], *3 * [1]]


def test_damaged_and_foreign_files_are_read_or_refused_in_one_line(tmp_path: Path):
    save_morph(encode_animation(drifting(4, 24), ".gif", FPS), tmp_path, "slerp", 7, Moment(1, 0.5))
    (file,) = find_morphs(tmp_path, "slerp")
    whole, chance, refused = file.read_bytes(), random.Random(0), 0
    for _ in range(200):
        file.write_bytes(mutated(whole, chance))
        said = ""
        try:
            morph = read_morph(file)
        except UserError as error:
            said, refused = str(error), refused + 1
        else:
            assert len({frame.shape for frame in morph.frames}) == 1
            assert 0 <= morph.moment.epoch <= 1e9
        assert not said or said.startswith(f"{file}: is no morph")
        assert "\n" not in said
    assert refused > 50


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (encode_animation(drifting(2, 16), ".gif", FPS), "when it was drawn"),
        (b"GIF89a\xff\xff\xff\xff\x70\0\0!\xfe\x02{}\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;", ""),
        (b"Dear reader", "cannot identify"),
        (bytes(33_000_000), "too large"),
    ],
    ids=["no comment", "huge", "letter", "long"],
)
def test_a_film_of_a_file_that_no_training_wrote_is_refused(run: Run, tmp_path: Path, content, fault, one_line_error):
    shutil.copytree(run.logs / "morphs", tmp_path / "run/morphs")
    file = find_morphs(tmp_path / "run", "slerp")[0]
    file.write_bytes(content)
    line = one_line_error(render.main, "growth", f"--run={tmp_path / 'run'}", f"--out={tmp_path / 'film.gif'}")
    assert f"{file}: is no morph" in line
    assert fault in line
    assert line.endswith("; remove it")
    assert not (tmp_path / "film.gif").exists()
