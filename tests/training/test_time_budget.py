"""A training of some minutes ends by itself, at a number of pictures that its first steps decide."""

import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import QUICK, Run, copy, events, fill
from parsers import short_start  # noqa: F401
from test_resume import going_on

import train
from data.system.errors import UserError
from vae import checkpoint
from vae.training.module import VAETraining
from vae.training.runs import time_budget
from vae.training.runs.time_budget import TimeBudget

PLAIN = ["--trainer.precision=32-true", "--trainer.enable_progress_bar=false", *QUICK]


def minutes(number: float, run: Run, *more: str) -> list[str]:
    words = [word for word in run.arguments(*more) if "max_epochs" not in word]
    return [*words, f"--minutes={number}", "--checkpoint_every_n_steps=1", *PLAIN]


def kept(run: Run) -> dict:
    return checkpoint.read(run.checkpoints / "last.ckpt")


def validated_at(run: Run) -> list[int]:
    return [event.step for event in events(run.logs).Scalars("val/elbo")]


@pytest.fixture(scope="module")
def timed(tmp_path_factory) -> Run:
    """A training of three seconds."""
    root = tmp_path_factory.mktemp("timed")
    run = Run(root / "run", fill(root / "pictures", 33), root / "cache", "", "")
    train.main(minutes(0.05, run))
    return run


def test_it_ends_by_itself_where_it_planned_to(timed: Run):
    content = kept(timed)
    plan = content["plan"]
    assert 0 < plan["pictures_planned"] <= plan["pictures_seen"] < plan["pictures_planned"] + 8 + 26
    assert plan["progress"] == 1
    assert content["global_step"] >= 6


def test_it_is_validated_when_it_is_planned_and_at_its_end_and_not_after_each_epoch(timed: Run):
    steps = validated_at(timed)
    assert steps[0] <= 35
    assert steps[-1] in (kept(timed)["global_step"], kept(timed)["global_step"] - 1)
    assert 2 <= len(steps) <= 13


@pytest.mark.slow
def test_it_ends_at_the_same_picture_though_it_is_stopped_and_goes_on(timed: Run, tmp_path: Path, monkeypatch):
    """Also where it is stopped before it has planned."""
    run, usual, stopped = Run(tmp_path, timed.pictures, timed.cache, "", ""), VAETraining.training_step, []

    def step(self, *arguments):
        if self.global_step == 3 if not stopped else self.progress > 0.4 * len(stopped) and len(stopped) < 3:
            stopped.append(self.pictures_planned)
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, *arguments)

    monkeypatch.setattr(VAETraining, "training_step", step)
    for words in (minutes(0.1, run), *[[*going_on(run), *PLAIN]] * 2):
        with pytest.raises(SystemExit, match="143"):
            train.main(words)
        assert kept(run)["plan"]["progress"] < 1
    train.main([*going_on(run), *PLAIN])
    plan, planned = kept(run)["plan"], stopped[-1]
    assert stopped == [0, planned, planned]
    assert plan["pictures_planned"] == planned <= plan["pictures_seen"] < planned + 8 + 26
    assert plan["progress"] == 1
    assert validated_at(run)[-1] >= kept(run)["global_step"] - 1


@pytest.mark.slow
@pytest.mark.parametrize("pace", ["slower", "faster"])
def test_the_plan_follows_a_machine_that_changes_its_pace(timed: Run, tmp_path: Path, monkeypatch, capsys, pace):
    run, usual, plans = Run(tmp_path, timed.pictures, timed.cache, "", ""), VAETraining.training_step, []

    def step(self, *arguments):
        plans.append(self.pictures_planned)
        if (pace == "slower") == bool(self.pictures_planned):
            time.sleep(0.1)
        return usual(self, *arguments)

    monkeypatch.setattr(VAETraining, "training_step", step)
    monkeypatch.setattr(time_budget, "_STEADY", 0.3)
    monkeypatch.setattr(time_budget, "_VALIDATION_SHARE", 1.0)  # each validation looks at the pace
    train.main(minutes(0.15, run))
    first, *_, last = [plan for plan in plans if plan]
    assert last < 0.8 * first if pace == "slower" else last > 1.2 * first
    assert f"become {pace}" in capsys.readouterr().out
    assert kept(run)["plan"]["pictures_planned"] == last
    assert kept(run)["plan"]["progress"] == 1


def test_a_training_that_was_stopped_is_offered_a_short_ending_in_which_the_decoder_learns(
    timed: Run, tmp_path: Path, monkeypatch, capsys
):
    run, usual = Run(tmp_path, timed.pictures, timed.cache, "", ""), VAETraining.training_step
    stopped, alone = [], []

    def step(self, *arguments):
        if self.progress > 0.3 and not stopped:
            stopped.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        alone.append(self.decoder_phase)
        return usual(self, *arguments)

    monkeypatch.setattr(VAETraining, "training_step", step)
    with pytest.raises(SystemExit, match="143"):
        train.main(minutes(0.1, run))
    (option,) = re.findall("or add (--minutes [0-9.]+) and", capsys.readouterr().err)
    seen = kept(run)["plan"]["pictures_seen"]
    alone.clear()
    train.main([*going_on(run), *PLAIN, *option.split()])
    plan = kept(run)["plan"]
    assert plan["progress"] == 1
    assert seen < plan["pictures_planned"]
    assert alone[-1]
    assert alone == sorted(alone), "and with it nothing but the decoder"


def test_what_is_done_goes_on_for_more_minutes_alone(timed: Run, tmp_path: Path, one_line_error):
    run = copy(timed, tmp_path)
    before = kept(run)
    line = one_line_error(train.main, *going_on(run), *PLAIN)
    assert "0.05 minutes" in line
    assert "--minutes 0.1" in line
    assert kept(run)["plan"] == before["plan"]
    train.main([*going_on(run), *PLAIN, "--minutes=0.06"])
    plan = kept(run)["plan"]
    assert before["plan"]["pictures_seen"] < plan["pictures_planned"] <= plan["pictures_seen"]
    assert kept(run)["global_step"] > before["global_step"]


def test_steps_that_are_typed_count_beside_the_minutes_of_a_recipe(timed: Run, tmp_path: Path):
    run = copy(timed, tmp_path)
    steps = kept(run)["global_step"] + 3
    (tmp_path / "recipe.yaml").write_text("minutes: 1\n")
    words = going_on(run)
    train.main([words[0], f"--config={tmp_path / 'recipe.yaml'}", *words[1:], *PLAIN, f"--trainer.max_steps={steps}"])
    assert kept(run)["global_step"] == steps


@pytest.mark.parametrize(("seconds", "most"), [(0.01, 10), (1, 10), (3, 4), (20, 1)])
def test_validations_take_a_twentieth_of_the_time_or_there_are_two(seconds, most):
    budget, asked = TimeBudget(5), []
    budget._start, budget._seconds_per_batch = time.monotonic(), 0.1
    strategy = SimpleNamespace(broadcast=lambda chosen: chosen)
    trainer = SimpleNamespace(strategy=strategy, check_val_every_n_epoch=None, val_check_batch=0)
    order = SimpleNamespace(pictures_per_batch=8, count=80)
    module = SimpleNamespace(vae=SimpleNamespace(flow=None), batch_start=0, order=order, print=asked.append)
    budget._plan(trainer, module, seconds)
    batches = module.pictures_planned / 8
    assert -(-batches // trainer.val_check_batch) == most
    assert (most + 1) * seconds <= 0.05 * 300 or most == 1
    assert batches * 0.1 + most * seconds == pytest.approx(300, abs=0.5)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_training_lasts_some_minutes(minutes):
    with pytest.raises(UserError, match="more than 0"):
        TimeBudget(minutes)
