"""A folder of pictures that an option names: broken files are left out and said in one line."""

from pathlib import Path

import pytest
import torch
from conftest import Run, fill, scene
from torch.nn.functional import adaptive_avg_pool2d

import render
from data.image_files import picture_set
from vae.metrics import judge
from vae.morphing import registration

GOOD = 20
COMMANDS = {  # → the words before the folder, and the fewest pictures in it
    "direction": (["direction", "--from=other", "--to"], 4),
    "tour": (["tour", "--pictures"], 3),
    "judge": (["slerp", "--tune=0", "--keyframes", "other/0.png", "other/1.png", "--judge"], 16),
}


@pytest.fixture(params=COMMANDS)
def case(request, run: Run, tmp_path: Path, monkeypatch):
    """The words of a command that end with `--option`, those that follow the folder, and the fewest pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registration, "_STEPS", 2)
    monkeypatch.setattr(judge, "features", lambda x, progress=None: adaptive_avg_pool2d(x.cpu(), 2).flatten(1))
    fill(Path("other"), 6)
    words, fewest = COMMANDS[request.param]
    more = [f"--checkpoint={run.checkpoints / 'last.ckpt'}", "--frames=4", "--size=32", "--out=film"]
    return words, more, fewest


def fill_partly(folder: str, good: int) -> None:
    """Writes good pictures, half of them into a folder within, and a broken, an empty and a text file."""
    Path(folder, "below").mkdir(parents=True)
    for number in range(good):
        scene(number + 50).save(Path(folder, "below" if number % 2 else "", f"{number:02}.png"))
    Path(folder, "a-broken.png").write_bytes(Path(folder, "00.png").read_bytes()[:99])
    Path(folder, "below/empty.png").touch()
    Path(folder, "letter.png").write_text("Dear reader, I am not a picture.")
    Path(folder, "notes.txt").write_text("not looked at")


def test_broken_files_are_left_out_in_one_line(case, capsys):
    words, more, _ = case
    fill_partly("album", GOOD)
    render.main([*words, "album", *more])
    told = capsys.readouterr().out
    lines = [line for line in told.splitlines() if "Skipped" in line]
    assert len(lines) == 1
    assert lines[0].startswith(
        f"Skipped 3 of {GOOD + 3} files; the first is album/a-broken.png: not a readable picture"
    )
    assert "name another" not in told
    assert "Left out: 1 .txt" in told
    assert [*Path("film").iterdir()]


@pytest.mark.slow
def test_what_is_shown_is_as_without_the_broken_files(case):
    words, more, _ = case
    fill_partly("album", GOOD)
    films = []
    for _ in range(2):
        render.main([*words, "album", *more])
        films.append([path.read_bytes() for path in sorted(Path("film").iterdir())])
        for file in Path("film").iterdir():
            file.unlink()
        for file in ("a-broken.png", "below/empty.png", "letter.png"):
            Path("album", file).unlink(missing_ok=True)
    assert films[0] == films[1]


def test_too_few_that_can_be_read_are_refused(case, one_line_error):
    words, more, fewest = case
    fill_partly("album", fewest - 1)
    line = one_line_error(render.main, *words, "album", *more)
    assert f"{words[-1]} album: has too few pictures, {fewest - 1} (" in line
    assert "a-broken.png" in line
    assert f"{fewest} or more" in line
    assert not Path("film").exists()


def test_a_folder_without_pictures_or_none_at_all_is_refused(case, one_line_error):
    words, more, fewest = case
    Path("none/below").mkdir(parents=True)
    Path("none/notes.txt").write_text("not looked at")
    fill(Path("few"), fewest - 1)
    assert "1 .txt" in one_line_error(render.main, *words, "none", *more)
    assert "is no folder" in one_line_error(render.main, *words, "missing", *more)
    assert "is no folder" in one_line_error(render.main, *words, "other/0.png", *more)
    assert f"{words[-1]} few: has too few pictures" in one_line_error(render.main, *words, "few", *more)
    assert not Path("film").exists()


def test_of_very_many_some_are_taken_evenly(tmp_path, capsys):
    fill(tmp_path, 7)
    files, pixels = picture_set.find_set("--to", tmp_path, 1, most=3).read(16, 1, "crop")
    assert [file.name for file in files] == ["0.png", "3.png", "6.png"]
    assert pixels.shape == (3, 16, 16, 1)
    assert "takes one in 3 of 7 pictures, 3 at most" in capsys.readouterr().out
    assert torch.from_numpy(pixels).float().std() > 0
