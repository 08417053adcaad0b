"""A training that a callback ends before its plan says what it missed; what it then says to do works."""

import math
import shlex
from pathlib import Path

import pytest
from conftest import QUICK, Run
from parsers import short_start  # noqa: F401
from test_config import LITTLE

import train
from vae import checkpoint
from vae.training.module import VAETraining

STOP = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/elbo", "--trainer.callbacks.mode=min"]
WORDS = ["fit", *LITTLE, "--data.image_size=32", *QUICK, "--data.cache_dir=cache"]


def lasts(capsys) -> list[str]:
    return [
        line for line in capsys.readouterr().out.splitlines() if "decoder learns alone" in line or "Have it" in line
    ]


@pytest.fixture
def sharpened(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each step of the trainings, whether the decoder learned alone."""
    found: list[bool] = []
    usual = VAETraining.training_step

    def step(self, *args):
        found.append(self.decoder_phase)
        return usual(self, *args)

    monkeypatch.setattr(VAETraining, "training_step", step)
    return found


@pytest.mark.slow
def test_it_says_what_it_missed_and_the_remedy_has_it(tmp_path: Path, monkeypatch, capsys, sharpened):
    monkeypatch.chdir(tmp_path)
    # the ELBO rises, so that one which is to fall ends the training after a few epochs
    patience = "--trainer.callbacks.patience=1"
    train.main([*WORDS, "--trainer.max_epochs=40", *STOP, patience])
    done = checkpoint.read(next(tmp_path.rglob("last.ckpt")))["epoch"] + 1
    assert done < 20
    assert not any(sharpened)
    missed, remedy = lasts(capsys)
    assert "40 %" in missed
    words = shlex.split(remedy.partition("python train.py ")[2])
    sharpened.clear()
    train.main([*words, "--trainer.enable_progress_bar=false", *QUICK])
    kept = checkpoint.read(next(tmp_path.rglob("last.ckpt")))
    assert kept["epoch"] + 1 == math.ceil(done / 0.6), "and no longer than that takes"
    steps = 2 * (kept["epoch"] + 1)
    assert sum(sharpened) >= int(0.4 * steps)
    assert sharpened[-1]
    assert lasts(capsys) == []


@pytest.mark.parametrize(
    "more",
    [pytest.param(["--model.decoder_share=0", *STOP, "--trainer.callbacks.patience=1"], marks=pytest.mark.slow), []],
)
def test_nothing_is_said_where_nothing_was_missed(more: list[str], tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train.main([*WORDS, f"--trainer.max_epochs={6 if more else 1}", *more])
    assert lasts(capsys) == []


def test_nothing_is_said_of_a_whole_training(run: Run):
    assert "decoder learns alone" not in run.output
