"""A training that was stopped at any moment ends with the very same weights as one that was not."""

import copy as copies
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import EPOCHS, TOGETHER, Run, copy, events, faults_in, heed, scene

import train
from vae import checkpoint
from vae.training.runs.checkpointing import LastCheckpoint

PICTURES = 50  # five batches in an epoch
OFTEN = "--checkpoint_every_n_steps=1"
PLAN = ["--model.decoder_share=0.4", "--model.warmup_steps=2", "--health.pictures=4"]
QUIET = ["--trainer.enable_progress_bar=false", "--watch.every_n_epochs=0"]


def learnt(run: Run) -> dict[str, torch.Tensor]:
    """All tensors of the last checkpoint by their names: weights, their average, the optimizers' moments."""
    found: dict[str, torch.Tensor] = {}

    def gather(value, name):
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, (dict, list, tuple)):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                gather(part, f"{name}.{key}")

    content = checkpoint.read(run.checkpoints / "last.ckpt")
    for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers"):
        gather(content[part], part)
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def copy_unlocked(run: Run, folder: Path) -> None:
    """What a run has kept so far, as if its process had died."""
    shutil.copytree(run.root, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run.lock"))


def going_on(run: Run) -> list[str]:
    return ["fit", f"--trainer.default_root_dir={run.root}", "--ckpt_path=last", f"--data.cache_dir={run.cache}"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few") / "pictures"
    folder.mkdir()
    for seed in range(PICTURES):
        scene(seed).save(folder / f"{seed}.png")
    return folder


VARIANTS = {
    "float32": ["--trainer.precision=32-true", "--trainer.max_epochs=3"],
    "bfloat16": ["--trainer.precision=bf16-mixed", "--trainer.max_epochs=2"],
    "workers": ["--data.workers=2", "--trainer.max_epochs=2"],
    "steps": ["--trainer.max_epochs=-1", "--trainer.max_steps=12"],
    "gathered": ["--trainer.accumulate_grad_batches=2", "--trainer.max_epochs=3"],
    "often validated": ["--trainer.val_check_interval=0.5", "--trainer.max_epochs=2"],
    "always validated": ["--trainer.val_check_interval=1", "--trainer.max_epochs=2"],
    "gathered and validated": [
        "--trainer.val_check_interval=2",
        "--trainer.accumulate_grad_batches=2",
        "--trainer.max_epochs=2",
    ],
}


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")  # a last epoch cut short is not validated
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_from_the_checkpoint_of_any_step_the_end_is_the_same(options, pictures, tmp_path, monkeypatch):
    cache = pictures.parent / "cache"
    whole = Run(tmp_path / "whole", pictures, cache, "", "")
    days = tmp_path / "days"
    save = LastCheckpoint._save

    def save_and_copy(self, trainer):
        save(self, trainer)
        if trainer.global_step:
            copy_unlocked(whole, days / str(trainer.global_step))

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "_save", save_and_copy)
        train.main(whole.arguments(OFTEN, *PLAN, *QUIET, *options))
    expected = learnt(whole)
    steps = sorted(int(day.name) for day in days.iterdir())
    epoch = 3 if "--trainer.accumulate_grad_batches=2" in options else 5
    end = checkpoint.read(whole.checkpoints / "last.ckpt")["global_step"]
    assert steps == [step for step in range(1, end + 1) if step % epoch != epoch - 1]  # an epoch's end is near enough
    for step in steps[:-1]:
        again = Run(days / str(step), pictures, cache, "", "")
        train.main([*going_on(again), *QUIET])
        assert same(learnt(again), expected), step


def test_a_training_that_is_stopped_as_soon_as_it_goes_on_loses_no_step(pictures, tmp_path, monkeypatch):
    cache = pictures.parent / "cache"
    whole = Run(tmp_path / "whole", pictures, cache, "", "")
    save, begin = LastCheckpoint._save, LastCheckpoint.on_train_start

    def save_and_copy(self, trainer):
        save(self, trainer)
        copy_unlocked(whole, tmp_path / str(trainer.global_step))

    def begin_and_stop(self, *arguments):
        begin(self, *arguments)
        self._note(signal.SIGINT, None)

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "_save", save_and_copy)
        train.main(whole.arguments(OFTEN, *PLAN, *QUIET, "--trainer.max_epochs=3"))
    for step in ("3", "5", "6"):  # an epoch has five
        again = Run(tmp_path / step, pictures, cache, "", "")
        words = [*going_on(again), *QUIET]
        with monkeypatch.context() as patch:
            patch.setattr(LastCheckpoint, "on_train_start", begin_and_stop)
            with pytest.raises(SystemExit, match="130"):
                train.main(words)
        train.main(words)
        assert same(learnt(again), learnt(whole)), step
        check_curves(again, whole)


def test_another_seed_or_a_lost_step_would_be_noticed(pictures, tmp_path):
    ends = []
    for name, options in {"a": [], "b": [], "seed": ["--seed_everything=1"], "step": ["--trainer.max_steps=9"]}.items():
        run = Run(tmp_path / name, pictures, pictures.parent / "cache", "", "")
        train.main(run.arguments(OFTEN, *PLAN, *QUIET, *options))
        ends.append(learnt(run))
    first, again, *others = ends
    assert same(first, again)
    assert not any(same(first, other) for other in others)


class Program:
    """`train.py` as a process of its own, which can be stopped."""

    def __init__(self, run: Run, log: Path):
        self.run, self.log = run, log

    def start(self, *words: str) -> subprocess.Popen:
        command = [sys.executable, train.__file__, *words]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        with self.log.open("a") as log:
            return subprocess.Popen(
                command, cwd=self.run.root, env=alone, stdout=log, stderr=log, preexec_fn=heed, start_new_session=True
            )

    def resume(self) -> subprocess.Popen:
        return self.start(*going_on(self.run), OFTEN, *QUIET[:1])


LONG = ["--trainer.max_epochs=12", "--watch.every_n_epochs=3"]
STEPS = 60


@pytest.fixture(scope="module")
def uninterrupted(pictures, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("whole"), pictures, pictures.parent / "cache", "", "")
    program = Program(run, run.root / "log.txt")
    assert program.start(*run.arguments(OFTEN, *PLAN, *LONG)).wait() == 0
    return run


def killed_and_resumed(kills: int, uninterrupted: Run, folder: Path, seed: int) -> Run:
    """A run of the same plan that was killed so often, at random moments, and then let go to its end."""
    folder.mkdir(exist_ok=True)
    chance = random.Random(seed)
    run = Run(folder, uninterrupted.pictures, uninterrupted.cache, "", "")
    program, last = Program(run, folder / "log.txt"), run.checkpoints / "last.ckpt"
    for _ in range(kills):
        process = program.resume() if last.is_file() else program.start(*run.arguments(OFTEN, *PLAN, *LONG))
        step = seconds_of_a_step(process, last, chance.randint(2, STEPS // kills // 2))
        time.sleep(chance.uniform(0, 3 * step))  # in a step, in a write, in validation, in a GIF
        process.kill()
        assert process.wait() == -signal.SIGKILL, program.log.read_text()[-2000:]
    assert program.resume().wait() == 0, program.log.read_text()[-2000:]
    return run


def seconds_of_a_step(process: subprocess.Popen, last: Path, saves: int) -> float:
    """How long the last step took, after the checkpoint was written so often."""
    seen, moments, deadline = last.stat().st_mtime_ns if last.is_file() else 0, [], time.monotonic() + 120
    while len(moments) < saves:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
        if last.is_file() and (found := last.stat().st_mtime_ns) != seen:
            seen = found
            moments.append(time.monotonic())
    return moments[-1] - moments[-2]


def check_curves(run: Run, uninterrupted: Run) -> None:
    """No step of the curves is doubled or missing."""
    for tag in ("train/elbo", "val/elbo", "train/lr"):
        found, expected = (scalars(each.logs, tag) for each in (run, uninterrupted))
        assert [step for step, _ in found] == [step for step, _ in expected], tag
        assert [value for _, value in found] == pytest.approx([value for _, value in expected]), tag


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(folder).Scalars(tag)]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_training_that_is_told_to_stop_keeps_its_step_and_can_go_on(sent, code, uninterrupted, tmp_path):
    run = Run(tmp_path, uninterrupted.pictures, uninterrupted.cache, "", "")
    program = Program(run, tmp_path / "log.txt")
    process = program.start(*run.arguments(*PLAN, *LONG))
    while not (run.checkpoints / "last.ckpt").is_file():
        assert process.poll() is None, program.log.read_text()
        time.sleep(0.02)
    process.send_signal(sent)
    assert process.wait(60) == code, program.log.read_text()[-2000:]
    assert "--ckpt_path" in program.log.read_text().splitlines()[-1]
    assert program.resume().wait() == 0
    assert same(learnt(run), learnt(uninterrupted))
    check_curves(run, uninterrupted)


def exit_code(words: list[str]) -> int | str | None:
    try:
        train.main(words)
    except SystemExit as stop:
        return stop.code
    return 0


PARTS = {"gone": None, "a number": 7}


@pytest.mark.filterwarnings("ignore")  # of what Lightning thinks of such checkpoints
@pytest.mark.parametrize("part", PARTS)
def test_a_checkpoint_with_a_part_that_is_wrong_goes_on_or_is_refused_in_one_line(part, run, tmp_path, capfd):
    again = copy(run, tmp_path)
    last = again.checkpoints / "last.ckpt"
    whole, told = checkpoint.read(last), 0
    more = [f"--ckpt_path={last}", f"--trainer.max_epochs={EPOCHS + 1}", "--trainer.limit_train_batches=1", *QUIET]
    for place in (*((name,) for name in whole), ("loops", "fit_loop"), ("optimizer_states", 0, "state")):
        wrong = copies.deepcopy(whole)
        inner = wrong
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = PARTS[part]
        if part == "gone":
            del inner[place[-1]]
        torch.save(wrong, last)
        kept = last.read_bytes()
        code = exit_code(again.arguments(*more))
        faults = faults_in(capfd.readouterr().err)
        assert code in (0, 2), place
        if code:
            assert len(faults) == 1, (place, faults)
            assert str(last) in faults[0], place
            assert last.read_bytes() == kept
            told += 1
        assert not (again.checkpoints.parent / "version_1").exists()
    assert told >= 6


@pytest.mark.parametrize("command", ["validate", "fit"])
def test_a_checkpoint_that_will_not_do_leaves_nothing_behind(command, run, tmp_path, one_line_error, monkeypatch):
    whole = checkpoint.read(run.checkpoints / "last.ckpt")
    monkeypatch.chdir(tmp_path)
    for part in ("optimizer_states", "loops") if command == "fit" else ("state_dict",):
        wrong = whole | {part: whole[part] | {"vae.more": torch.ones(3)} if command == "validate" else "Dear reader"}
        torch.save(wrong, tmp_path / "odd.ckpt")
        more = [f"--trainer.max_epochs={EPOCHS + 1}", *QUIET] if command == "fit" else QUIET[:1]
        assert "odd.ckpt" in one_line_error(train.main, command, "--ckpt_path=odd.ckpt", *more)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.ckpt"]


@pytest.mark.slow
def test_a_training_that_is_killed_twenty_times_ends_with_the_same_weights_and_curves(uninterrupted, tmp_path):
    for seed in range(1, 6):
        run = killed_and_resumed(4, uninterrupted, tmp_path / str(seed), seed)
        assert same(learnt(run), learnt(uninterrupted)), seed
        assert not (run.checkpoints.parent / "version_1").exists()
        check_curves(run, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_two_processes_that_are_stopped_go_on_to_the_same_weights(sent, code, pictures, tmp_path):
    """All are killed; of SIGTERM only the first is told."""
    plan = [OFTEN, *PLAN, "--data.batch_size=4", "--trainer.max_epochs=4", *QUIET, *TOGETHER]
    whole, killed = (Run(tmp_path / name, pictures, pictures.parent / "cache", "", "") for name in ("whole", "killed"))
    for run in (whole, killed):
        run.root.mkdir()
    assert Program(whole, tmp_path / "whole.txt").start(*whole.arguments(*plan)).wait(120) == 0
    program = Program(killed, tmp_path / "killed.txt")
    process = program.start(*killed.arguments(*plan))
    while not (killed.checkpoints / "last.ckpt").is_file():
        assert process.poll() is None, program.log.read_text()
        time.sleep(0.02)
    (os.killpg if sent == signal.SIGKILL else os.kill)(process.pid, sent)
    assert process.wait(60) == code
    assert checkpoint.read(killed.checkpoints / "last.ckpt")["epoch"] < 3
    words = [*going_on(killed), *QUIET, *TOGETHER]
    assert program.start(*words).wait(120) == 0, program.log.read_text()
    assert same(learnt(killed), learnt(whole))
    check_curves(killed, whole)
