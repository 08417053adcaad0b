"""What is seen while a training runs: one bar on standard error, which says how long it takes and what it can do."""

import io
import re
import sys
import time
from pathlib import Path

import pytest
from conftest import EPOCHS, TOGETHER, Run, copy
from forked import start
from parsers import short_start  # noqa: F401
from test_resume import going_on
from test_train import Hurried

import train
from data.system import bars
from data.system.bars import Bar
from vae.training import progress_bar
from vae.training.progress_bar import TrainingProgressBar
from vae.training.progress_line import Clock

SHOWN = "--trainer.enable_progress_bar=true"
NUMBERS = re.compile("reconstructions [0-9]+% sharp, morphs [0-9]+%")


class Terminal(io.StringIO):
    """Standard error, on a terminal that does not say how wide it is."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch):
    """Runs a training whose bar is drawn after each step; returns its standard error."""
    monkeypatch.setattr(progress_bar, "_EVERY", 0)

    def run_it(words: list[str], stream: io.StringIO | None = None) -> str:
        stream = stream or Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        train.main(words)
        return stream.getvalue()

    return run_it


def drawn(told: str) -> list[str]:
    """The states of the bar, in their order."""
    return [line.strip() for line in re.split("[\r\n]", told) if "%|" in line]


def shares(told: str) -> list[int]:
    return [int(line.partition("%")[0]) for line in drawn(told)]


def small(run: Run, tmp_path: Path) -> Run:
    return Run(tmp_path, run.pictures, run.cache, "", "")


def test_one_bar_lasts_for_the_whole_training(said, run: Run, tmp_path: Path):
    told = said(small(run, tmp_path).arguments(SHOWN))
    found = shares(told)
    assert (found[0], found[-1]) == (0, 100)
    assert found == sorted(found)
    assert len(set(found)) > 2 * EPOCHS
    assert len([line for line in told.split("\n") if "%|" in line]) == 1, "it is never left for another one"
    assert "\x1b" not in told, "nor is there another one below it"
    assert not re.search("Epoch|it/s|v_num", told)
    assert all(len(line) <= 80 for line in drawn(told))
    assert NUMBERS.search(drawn(told)[-1])


def test_it_says_how_long_how_fast_and_how_sharp(said, run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(bars, "_COLUMNS", 120)
    told = drawn(said(small(run, tmp_path).arguments(SHOWN)))
    assert any(re.search("[0-9]+:[0-9]{2} left, [0-9.,]+ pictures/s, ELBO -?[0-9]+", line) for line in told)
    first = next(index for index, line in enumerate(told) if NUMBERS.search(line))
    before, after = told[:first], told[first:]
    assert any("validating" in line for line in before)
    assert any("measuring and drawing morphs" in line for line in before)
    assert any("learning where random latents lie" in line for line in told)
    assert sum(bool(NUMBERS.search(line)) for line in after) > EPOCHS
    assert re.search(r"100%\|[█#]+\| in [0-9]+:[0-9]{2}, .*" + NUMBERS.pattern, told[-1])


@pytest.mark.slow
def test_minutes_count_down(said, run: Run, tmp_path: Path, capsys):
    words = [word for word in small(run, tmp_path).arguments(SHOWN) if "max_epochs" not in word]
    told = said([*words, "--minutes=0.05", "--data.val_fraction=0.2"])
    left = [int(found[1]) for line in drawn(told) if (found := re.search("00:0([0-9]) left", line))]
    assert left[0] in (2, 3)
    assert min(left) == 0
    assert shares(told)[-1] == 100
    assert "0.05 minutes: " in capsys.readouterr().out
    assert not re.search("0.05 minutes.*%", told)


def test_a_training_that_goes_on_begins_at_its_place(said, run: Run, tmp_path: Path):
    again = copy(run, tmp_path)
    found = shares(said([*going_on(again), SHOWN, f"--trainer.max_epochs={2 * EPOCHS}"]))
    assert found[0] == 50
    assert found[-1] == 100
    assert found == sorted(found)


def test_a_file_gets_a_line_now_and_then(said, run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(bars, "_SECONDS", 0.1)
    told = said(small(run, tmp_path).arguments(SHOWN), io.StringIO())
    assert "\r" not in told
    assert 2 < len(drawn(told)) < 60
    assert shares(told) == sorted(shares(told))
    assert NUMBERS.search(drawn(told)[-1])
    assert told.endswith("\n")


def test_without_a_bar_nothing_is_drawn_not_even_of_a_cache(said, run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Bar, "display", lambda *_: pytest.fail("drawn"))
    told = said([*small(run, tmp_path).arguments("--trainer.max_epochs=1"), f"--data.cache_dir={tmp_path / 'new'}"])
    assert drawn(told) == []


@pytest.mark.slow
def test_the_users_own_bar_is_the_only_one(said, run: Run, tmp_path: Path, capsys):
    own = "--trainer.callbacks=TQDMProgressBar"
    told = said(small(run, tmp_path).arguments(SHOWN, own, "--trainer.max_epochs=1"))
    assert drawn(told) == []
    assert "Epoch 0" in capsys.readouterr().out


def test_a_validation_has_one_bar_too(said, run: Run, tmp_path: Path):
    again = copy(run, tmp_path)
    where = [f"--ckpt_path={again.checkpoints / 'last.ckpt'}", f"--data.cache_dir={run.cache}"]
    told = said(["validate", f"--trainer.default_root_dir={again.root}", *where])
    assert shares(told)[-1] == 100
    assert len([line for line in told.split("\n") if "%|" in line]) == 1


def test_an_error_leaves_the_bar_above_it(said, run: Run, tmp_path: Path, monkeypatch):
    usual, stream = TrainingProgressBar.on_train_batch_end, Terminal()

    def stop(self, trainer, *words):
        usual(self, trainer, *words)
        if trainer.global_step == 3:
            raise SystemExit(143)

    monkeypatch.setattr(TrainingProgressBar, "on_train_batch_end", stop)
    with pytest.raises(SystemExit, match="143"):
        said(small(run, tmp_path).arguments(SHOWN), stream)
    *_, last = stream.getvalue().strip().split("\n")
    assert last.startswith("train.py: interrupted; ")


def test_between_two_looks_the_host_does_not_wait(said, run: Run, tmp_path: Path, monkeypatch):
    usual, seen = TrainingProgressBar.on_train_batch_end, []

    def hurried(self, *words):
        with Hurried():
            usual(self, *words)
        seen.append(True)

    monkeypatch.setattr(TrainingProgressBar, "on_train_batch_end", hurried)
    monkeypatch.setattr(progress_bar, "_EVERY", 1e12)
    said(small(run, tmp_path).arguments(SHOWN, "--trainer.max_epochs=1"))
    assert seen


@pytest.mark.slow
def test_of_processes_that_train_together_one_draws(run: Run, tmp_path: Path):
    told = tmp_path / "told.txt"
    process = start(small(run, tmp_path).arguments(SHOWN, *TOGETHER), tmp_path, told)
    assert process.wait() == 0, told.read_text()
    found = shares(told.read_text())
    assert found == sorted(found)
    assert found.count(100) == 1
    assert told.read_text().count("held out for validation") == 1


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moments = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: moments[0])
    return moments


def test_minutes_are_what_is_left_unless_the_pace_is_too_slow(now):
    clock = Clock(10)
    clock.begin(0, planned=False)
    assert clock.describe(0) == "10:00 left"
    now[0] += 60
    assert clock.share() == 0.1
    clock.plan(0.1)
    now[0] += 60
    assert clock.describe(0.2) == "08:00 left"
    assert clock.describe(0.15) == "17:00 left"


def test_a_pause_says_nothing_about_the_pace(now):
    clock = Clock()
    clock.begin(0.5, planned=True)
    assert clock.describe(0.5) == ""
    now[0] += 60
    assert clock.describe(0.6) == "04:00 left"
    clock.pause()
    now[0] += 1000
    assert clock.describe(0.6) == "04:00 left"
    clock.go_on()
    assert clock.describe(0.6) == "04:00 left"
    assert clock.describe(1, ended=True) == "in 17:40"
