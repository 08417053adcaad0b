"""What the README says to type works, and what it shows is there."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import scene
from readme import ROOT, SHIPPED, blocks, commands, shown

import render
import train
from vae import checkpoint

README = (ROOT / "README.md").read_text()
NEEDS = {"CIFAR10": "downloads a data set"}
LITTLE = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.enable_progress_bar=false"]
QUICK = ["--data.limit=100", "--health.pairs=2", "--health.pictures=8"]

GENERATOR = torch.nn.Sequential(torch.nn.ConvTranspose2d(100, 3, 64), torch.nn.Tanh()).eval()  # what a reader has


def test_every_picture_that_is_shown_is_there():
    assert len(shown(README)) >= 10
    assert all((ROOT / picture).stat().st_size > 1000 for picture in shown(README))


def test_every_link_within_the_readme_leads_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in re.findall("^#+ (.*)", README, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the README's commands speak of."""
    for folder in ("home/pictures", "icons", "checkpoints"):
        (tmp_path / folder).mkdir(parents=True)
    for seed in range(40):
        scene(seed).save(tmp_path / "home/pictures" / f"{seed}.png")
        scene(seed).save(tmp_path / "icons" / f"{seed}.png")
    for name in ("cat", "dog", "a", "b", "c", "d"):
        scene(ord(name[0])).save(tmp_path / f"{name}.png")
    for name in (SHIPPED, "a.ckpt", "b.ckpt"):
        shutil.copyfile(ROOT / SHIPPED, tmp_path / name)
    shutil.copyfile(ROOT / "checkpoints/lines.ckpt", tmp_path / "checkpoints/lines.ckpt")
    torch.onnx.export(GENERATOR, (torch.randn(1, 100, 1, 1),), tmp_path / "gan.onnx", external_data=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    render.main(["slerp", "--frames", "20", "--size", "64", "--save-latents", "walk.npz"])
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_command_of_the_readme_runs(place: Path, capsys: pytest.CaptureFixture[str]):
    ran = 0
    for words in commands(README):
        if NEEDS.keys() & set(words):
            continue
        program, *rest = words
        capsys.readouterr()
        if program == "render.py":
            render.main(rest)
        elif program == "-m":
            checkpoint.main(rest[1:])
        elif "--print_config" in rest:
            with pytest.raises(SystemExit) as done:
                train.main(rest[: rest.index(">")])
            assert not done.value.code
            Path(rest[-1]).write_text(capsys.readouterr().out)
        elif rest[0] in ("validate", "test"):
            train.main([*rest, *LITTLE[-1:], *QUICK])
        else:
            train.main([*rest, *LITTLE, *QUICK])
        ran += 1
    assert ran >= 25


@pytest.mark.slow
def test_the_readmes_python_runs(place: Path):
    for block in blocks(README):
        names: dict[str, object] = {"generator": GENERATOR}
        exec(block, names)
        assert any(isinstance(value, torch.Tensor) for value in names.values())
