"""Films that follow a sound are read back by PyAV: the sound is in them, and pictures change where it clicks."""

from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np
import pytest
from clicks import RATE, click_track, save_wave
from conftest import VIDEO, Run

import render
from vae.latent.onsets import find_onsets
from vae.render.formats import sound
from vae.render.formats.sound import read_sound

CLICKS = (0.52, 1.05, 1.85, 2.3, 3.4)


@pytest.fixture
def words(run: Run, tmp_path: Path, monkeypatch) -> list[str]:
    """Options of a command in a folder with a sound of 4 s."""
    monkeypatch.chdir(tmp_path)
    save_wave(tmp_path / "clicks.wav", click_track(4, CLICKS, 0.002, 0.05))
    return ["--checkpoint", str(run.checkpoints / "last.ckpt"), "--size=32", "--audio=clicks.wav", "--fps=20"]


def changes(frames: np.ndarray) -> np.ndarray:
    """How much each frame but the first differs from the one before."""
    return np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3))


def shown(path: str) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def check_beats(frames: np.ndarray) -> None:
    assert len(frames) == 80
    step = changes(frames)
    beats = [round(20 * time) - 1 for time in CLICKS]
    assert min(step[k - 1 : k + 2].max() for k in beats) > 2 * np.median(step)


@pytest.mark.parametrize("suffix", VIDEO)
def test_a_video_has_the_sound_and_changes_most_where_it_clicks(words, suffix):
    render.main(["loop", *words, "--count=3", f"--out=film{suffix}"])
    check_beats(shown(f"film{suffix}"))
    heard = read_sound(f"film{suffix}")
    assert heard.seconds == pytest.approx(4, abs=0.05)
    found = find_onsets(heard.samples, RATE).times
    assert len(found) == len(CLICKS)
    assert np.abs(found - CLICKS).max() < 1 / 20
    with av.open(f"film{suffix}") as container:
        assert container.duration / av.time_base == pytest.approx(4, abs=0.05)
        assert [stream.type for stream in container.streams] == ["video", "audio"]


@pytest.mark.parametrize("pace", ["image", "latent"])
def test_other_formats_and_paths_have_the_timing_and_say_that_there_is_no_sound(words, capsys, pace):
    render.main(["slerp", *words, f"--pace={pace}", "--count=3", "--out=film"])
    assert "has no sound in it; .mp4 and .webm have" in capsys.readouterr().out
    frames = np.stack([iio.imread(file) for file in sorted(Path("film").iterdir())])
    check_beats(frames)
    assert not changes(frames)[: int(0.4 * 20)].max() > changes(frames).max() / 5


def test_a_short_loop_goes_round_more_than_once(words, capsys):
    save_wave(Path("clicks.wav"), click_track(20, np.arange(0.5, 20, 0.5)))
    render.main(["loop", *words, "--fps=4", "--count=3", "--out=film.mp4"])
    assert "rounds: 2" in capsys.readouterr().out
    frames = shown("film.mp4").astype(float)
    assert len(frames) == 80
    assert np.abs(frames[40] - frames[0]).mean() < changes(frames).max()


def test_a_sound_is_read_no_further_than_its_limit(tmp_path, monkeypatch):
    path = save_wave(tmp_path / "a.wav", click_track(3, [1.0]))
    monkeypatch.setattr(sound, "_LONGEST", 3)
    assert read_sound(str(path)).seconds == pytest.approx(3)
    monkeypatch.setattr(sound, "_LONGEST", 2)
    with pytest.raises(ValueError, match="longer than 0 minutes"):
        read_sound(str(path))


def test_what_was_there_survives_a_sound_that_fails_on_the_way(words, one_line_error):
    render.main(["slerp", *words, "--out=film.mp4"])
    before = Path("film.mp4").read_bytes()
    whole = Path("clicks.wav").read_bytes()

    def cut(*_) -> None:
        Path("clicks.wav").write_bytes(whole[:20])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae.render.animation.check_animation", cut)
        patch.setattr("vae.render.cli.commands.check_animation", cut)
        assert "clicks.wav" in one_line_error(render.main, "slerp", *words, "--out=film.mp4")
    assert Path("film.mp4").read_bytes() == before
    assert {path.name for path in Path().iterdir()} == {"clicks.wav", "film.mp4"}
