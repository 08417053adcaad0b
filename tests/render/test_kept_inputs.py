"""No result takes the place of a file that the command reads."""

import shlex
from pathlib import Path

import pytest
from conftest import scene

import render
from vae.checkpoint import load_vae
from vae.export import export
from vae.render.models import SHIPPED

LOST = [
    ("linear a.png b.png --out a.png", "a.png"),
    ("linear a.png b.png --out ./b.png", "b.png"),
    ("linear a.png b.png --out same.png", "a.png"),
    ("strip --keyframes 1 a.png --out a.png", "a.png"),
    ("spline b.png renders/spline.gif a.png", "renders/spline.gif"),
    ("linear walk.npz:0 walk.npz:1 --save-latents walk.npz", "walk.npz"),
    ("tour --pictures folder --out folder/within/2.png", "folder/within/2.png"),
    ("direction --from folder --to other --out folder/within/2.png", "folder/within/2.png"),
    ("slerp --judge folder --out folder/within/2.png", "folder/within/2.png"),
    ("export --checkpoint weights.pth --out weights.pth", "weights.pth"),
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> None:
    """What the commands name, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(
        ["a", "b", *[f"{place}/{n}" for place in ("folder/within", "other") for n in "1234"]]
    ):
        Path(f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        scene(number).save(f"{name}.png")
    Path("same.png").symlink_to("a.png")
    Path("renders").mkdir()
    scene(3).save("renders/spline.gif")
    render.main(["linear", "--frames=2", "--size=32", "--pace=latent", "--save-latents=walk.npz", "--out=film.gif"])


@pytest.mark.parametrize(("line", "lost"), LOST)
def test_a_result_that_is_also_read_is_refused_and_what_was_there_stays(files, line, lost, one_line_error):
    if "weights" in line:
        export(load_vae(SHIPPED), Path("weights.pth"))
    before = Path(lost).read_bytes()
    message = one_line_error(render.main, *shlex.split(line))
    assert "is read by this command, and would be lost; name another file" in message
    assert Path(lost).read_bytes() == before


def test_other_results_in_a_folder_of_pictures_are_made_again(files):
    for _ in range(2):
        render.main(["tour", "--pictures=folder", "--frames=2", "--size=32", "--pace=latent", "--out=folder/tour.mp4"])
    assert Path("folder/tour.mp4").stat().st_size
