"""`--judge`: how real frames look among the pictures of a folder."""

import json
import re
from pathlib import Path

import imageio.v3 as iio
import pytest
import torch
from conftest import Run, scene

import render
from data.image_files import picture_set
from data.image_files.reader import read_picture
from vae import optional
from vae.metrics.judge import features, kernel_distance, unevenness

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
TOLD = r"judge: (\S+) (-?\d+), a cross-fade (-?\d+), pdv (\d\.\d\d)"


@pytest.fixture
def words(run: Run, tmp_path: Path, monkeypatch) -> list[str]:
    """Options of a command in a folder with two pictures, and with others in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    Path("real").mkdir()
    for number in range(20):
        scene(number).resize((32, 32)).save(f"real/{number}.png")
    for name in ("cat.png", "dog.png"):
        scene(len(name) + 90).resize((32, 32)).save(name)
    return [f"--checkpoint={run.checkpoints / 'last.ckpt'}", "--tune=20", "--size=32", "--keyframes", "cat.png"]


@pytest.mark.slow
def test_films_and_comparisons_are_judged(words, capsys):
    options = ["dog.png", "--frames=5", "--report=r.json", "--judge=real"]
    render.main(["slerp", *words, *options, "--out=film"])
    render.main(["compare", *words, *options, "--out=both", "--paths", "slerp", "linear"])
    found = re.findall(TOLD, capsys.readouterr().out)
    assert [name for name, *_ in found] == ["slerp", "slerp", "linear"]
    judged = json.loads(Path("r.json").read_text())["judged"]
    assert set(judged["linear"]) == {"kid", "cross_fade_kid", "pdv"}
    assert judged["linear"]["kid"] == pytest.approx(int(found[2][1]), abs=0.5)
    render.main(["compare", *words, "dog.png", "--frames=5", "--out=plain", "--paths", "slerp", "linear"])
    heights = [iio.imread(min(Path(folder).iterdir())).shape[0] for folder in ("both", "plain")]
    assert heights[0] == heights[1] + 48, "a third curve"


@pytest.mark.slow
def test_pictures_to_judge_by_are_fitted_as_keyframes_are(words, monkeypatch):
    def read(*arguments, fit):
        fits.append(fit)
        return read_picture(*arguments, fit=fit)

    fits: list[str] = []
    monkeypatch.setattr(picture_set, "read_picture", read)
    render.main(["slerp", *words, "dog.png", "--frames=4", "--judge=real", "--fit=pad", "--out=film"])
    assert fits == ["pad"] * 20


def test_a_folder_that_will_not_do_is_one_line(words, one_line_error):
    Path("few").mkdir()
    scene(1).save("few/a.png")
    for folder, fault in (("few", "16 or more"), ("nowhere", "no folder"), ("cat.png", "no folder")):
        assert fault in one_line_error(render.main, "slerp", *words, "dog.png", "--frames=3", f"--judge={folder}")
    assert not Path("renders").exists()


def test_too_few_frames_are_told_before_anything_is_drawn(words, one_line_error):
    options = ["dog.png", "--out=film", "--report=r.json"]
    told = one_line_error(render.main, "slerp", *words, *options, "--frames=2", "--judge=real")
    assert "more --frames" in told
    assert not Path("film").exists()


@pytest.mark.slow
def test_models_of_other_sizes_are_judged_at_their_own(words, capsys):
    options = ["--frames=5", "--seed=1", "--judge=real", "--out=film"]
    found = {}
    for pair in (["patterns.ckpt", "lines.ckpt"], ["lines.ckpt", "patterns.ckpt"]):
        render.main(["compare", "--checkpoint", *(str(CHECKPOINTS / name) for name in pair), *options])
        found[pair[0]] = {name: kid for name, kid, *_ in re.findall(TOLD, capsys.readouterr().out)}
    assert found["patterns.ckpt"] == found["lines.ckpt"]


def test_without_the_extra_nothing_is_drawn(words, one_line_error, monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda _: None)
    assert "[judge]" in one_line_error(render.main, "slerp", *words, "dog.png", "--judge=real", "--out=film")
    assert not Path("film").exists()


@pytest.mark.slow
def test_like_pictures_are_as_real_and_noise_is_not():
    pictures = torch.stack([torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(k)) for k in range(32)]) * 2 - 1
    smooth = torch.nn.functional.interpolate(pictures, (32, 32), mode="bicubic").clamp(-1, 1)
    noise = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    one, other, rough = features(smooth[:16]), features(smooth[16:]), features(noise)
    assert abs(kernel_distance(one, other)) < 0.2 * kernel_distance(one, rough)


def test_even_steps_have_no_unevenness():
    line = torch.arange(5.0)[:, None] * torch.ones(1, 8)
    assert unevenness(line) == pytest.approx(0, abs=1e-6)
    assert unevenness(torch.cat([line, 40 + line])) > 2
