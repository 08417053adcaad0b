"""`~` is read alike wherever a path is given: typed and in YAML, in our options and in those of Lightning's classes."""

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Run, copy, fill, scene
from parsers import (
    error_of,
    one_parser,  # noqa: F401
    printed_config,
)
from readme import ROOT, SHIPPED
from test_config import LITTLE

import render
import train
from vae import checkpoint

SMALL = [*LITTLE, "--data.image_size=32", "--watch.every_n_epochs=0"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder; the working folder is another one, in which nothing called `~` may appear."""
    place = tmp_path / "home"
    for folder in (place, tmp_path / "elsewhere"):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return place


def nothing_is_called_so(home: Path) -> bool:
    return not [path for path in home.parent.rglob("*") if path.name.startswith("~")]


GIVEN = {
    "trainer": {
        "default_root_dir": "~/runs",
        "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "~/csv"}},
        "callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"dirpath": "~/mine"}}],
    },
    "data": {"source": "~/pictures", "cache_dir": "~/cache"},
}
TYPED = (
    "--trainer.default_root_dir=~/runs --trainer.logger=CSVLogger --trainer.logger.save_dir=~/csv "
    "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.dirpath=~/mine "
    "--data.source ~/pictures --data.cache_dir=~/cache"
)


@pytest.mark.parametrize("written", ["words", pytest.param("YAML", marks=pytest.mark.slow)])
def test_a_training_keeps_everything_in_the_users_folder(written: str, home: Path, capsys):
    fill(home / "pictures", 24)
    (home / "run.yaml").write_text(yaml.safe_dump(GIVEN))
    words = shlex.split(TYPED) if written == "words" else ["--config=~/run.yaml"]
    train.main(["fit", *words, *SMALL])
    assert nothing_is_called_so(home)
    (run,) = (home / "runs" / "checkpoints" / "pictures").iterdir()
    assert {path.name for path in run.iterdir()} >= {"last.ckpt", "best.ckpt"}
    assert [len(list((home / name).iterdir())) > 0 for name in ("csv", "mine", "cache")] == [True] * 3
    assert f"Checkpoint: {run}" in capsys.readouterr().out
    assert checkpoint.read(run / "last.ckpt")["datamodule_hyper_parameters"]["source"] == str(home / "pictures")


LAST = pytest.param("~/copy/checkpoints/pictures/version_0/last.ckpt", marks=pytest.mark.slow)


@pytest.mark.parametrize("named", [LAST, "last"])
def test_it_goes_on_from_there(named: str, run: Run, home: Path):
    mine = copy(run, home)
    words = [word.replace(str(mine.root), "~/copy") for word in mine.arguments(f"--ckpt_path={named}")]
    assert words != mine.arguments()
    train.main([*words, "--trainer.max_epochs=3", "--watch.every_n_epochs=0"])
    assert checkpoint.read(mine.checkpoints / "last.ckpt")["epoch"] == 2
    assert nothing_is_called_so(home)


def test_a_rendering_reads_and_writes_there(home: Path):
    (home / "a.ckpt").symlink_to(ROOT / SHIPPED)
    for seed in range(2):
        scene(seed).save(home / f"{seed}.png")
    words = "slerp --checkpoint ~/a.ckpt --keyframes ~/0.png ~/1.png --frames 2 --size 16 --tune 1 --pace latent"
    render.main([*shlex.split(words), *shlex.split("--out=~/a.gif --save-latents ~/walk.npz --report ~/report.json")])
    assert nothing_is_called_so(home)
    assert (home / "a.gif").stat().st_size
    assert np.load(home / "walk.npz")["latents"].shape == (2, 16)
    assert json.loads((home / "report.json").read_text())
    checkpoint.main(["~/a.ckpt", "~/weights.ckpt"])
    assert (home / "weights.ckpt").stat().st_size


def printed(*words: str) -> dict:
    return yaml.safe_load(printed_config(*words))


def test_alone_it_is_that_folder(home: Path):
    assert printed("--trainer.default_root_dir=~")["trainer"]["default_root_dir"] == str(home)
    assert printed("--trainer.default_root_dir", "~")["trainer"]["default_root_dir"] == str(home)


def test_a_default_stays_the_same_for_every_user(home: Path):
    assert printed()["data"]["cache_dir"].startswith("~/")


def test_a_name_that_only_begins_so_is_written_with_its_place(home: Path):
    assert printed("--trainer.default_root_dir=./~x")["trainer"]["default_root_dir"] == "./~x"


def test_a_user_who_is_not_there_is_told(home: Path) -> None:
    for option in ("--trainer.default_root_dir", "--ckpt_path", "--data.source", "--data.cache_dir", "--config"):
        assert "no such user" in error_of(train.main, "fit", f"{option}=~nobody-of-this-name/a")
    assert not os.listdir()  # noqa: PTH208


def test_words_and_yaml_are_read_alike(home: Path) -> None:
    (home / "run.yaml").write_text(yaml.safe_dump(GIVEN))
    assert printed("--config=~/run.yaml") == printed(*shlex.split(TYPED))


def test_so_it_is_in_yaml(home: Path, one_line_error):
    (home / "run.yaml").write_text("trainer: {default_root_dir: ~nobody-of-this-name/a}")
    assert "no such user" in one_line_error(train.main, "fit", f"--config={home / 'run.yaml'}")
