"""A training that was stopped at any moment ends with the very same weights as one that was not."""

import copy as copies
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from conftest import EPOCHS, QUICK, TOGETHER, Run, copy, events, faults_in, fill, heed
from forked import Forked, start, start_two
from parsers import short_start  # noqa: F401

import train
from vae import checkpoint
from vae.training.module import VAETraining
from vae.training.runs.checkpointing import LastCheckpoint

PICTURES = 33  # of which 26 are for training: three batches of 8 in an epoch, and two pictures left out
OFTEN = "--checkpoint_every_n_steps=1"
QUIET = ["--trainer.enable_progress_bar=false", *QUICK]
PLAN = ["--model.decoder_share=0.4", "--model.warmup_steps=2", *QUIET]


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
    return fill(tmp_path_factory.mktemp("few") / "pictures", PICTURES)


def record(root: Path, pictures: Path, *options: str) -> Run:
    """A training that is not interrupted; beside it, what a kill after each step would have left."""
    whole = Run(root / "whole", pictures, pictures.parent / "cache", "", "")
    save = LastCheckpoint._save

    def save_and_copy(self, trainer):
        save(self, trainer)
        if trainer.global_step:
            copy_unlocked(whole, root / str(trainer.global_step))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LastCheckpoint, "_save", save_and_copy)
        train.main(whole.arguments(OFTEN, *PLAN, *options))
    return whole


@pytest.fixture(scope="module")
def recorded(pictures, tmp_path_factory) -> Run:
    return record(tmp_path_factory.mktemp("recorded"), pictures, "--trainer.precision=32-true")


def stopped_at(step: int, whole: Run) -> Run:
    return Run(whole.root.with_name(str(step)), whole.pictures, whole.cache, "", "")


def check_end(whole: Run, stops: Iterable[int]) -> None:
    expected = learnt(whole)
    for step in stops:
        again = stopped_at(step, whole)
        train.main([*going_on(again), *QUIET])
        assert same(learnt(again), expected), step
        check_curves(again, whole)


@pytest.mark.parametrize("stops", [[1, 5], pytest.param([2, 3, 4], marks=pytest.mark.slow)])
def test_from_the_checkpoint_of_every_step_the_end_is_the_same(stops, recorded, tmp_path):
    shutil.copytree(recorded.root.parent, tmp_path, dirs_exist_ok=True)
    whole = Run(tmp_path / "whole", recorded.pictures, recorded.cache, "", "")
    steps = sorted(int(folder.name) for folder in tmp_path.iterdir() if folder.name.isdecimal())
    assert steps == list(range(1, 7))
    check_end(whole, stops)


EPOCHS_2, EPOCHS_3 = "--trainer.max_epochs=2", "--trainer.max_epochs=3"
GATHERED = "--trainer.accumulate_grad_batches=2"
KINDS = {  # the options, and three steps: within an epoch, at its end, within the last one
    "steps": (["--trainer.max_epochs=-1", "--trainer.max_steps=7"], (2, 3, 6)),
    "gathered and validated": (["--trainer.val_check_interval=2", GATHERED, EPOCHS_3], (1, 2, 5)),
    "bfloat16": (["--trainer.precision=bf16-mixed", EPOCHS_2], (2, 3, 5)),
    "workers": (["--data.workers=2", EPOCHS_2], (2, 3, 5)),
    "gathered": ([GATHERED, EPOCHS_3], (1, 2, 5)),
    "often validated": (["--trainer.val_check_interval=0.5", EPOCHS_2], (1, 3, 5)),
    "always validated": (["--trainer.val_check_interval=1", EPOCHS_2], (2, 3, 5)),
}


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")  # a last epoch cut short is not validated
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_however_a_training_steps(kind, pictures, tmp_path):
    options, stops = KINDS[kind]
    check_end(record(tmp_path, pictures, *options), stops)


@pytest.mark.parametrize("steps", [[2], pytest.param([1, 3, 4], marks=pytest.mark.slow)])  # an epoch has three
def test_a_training_that_is_stopped_as_soon_as_it_goes_on_loses_no_step(steps, recorded, tmp_path, monkeypatch):
    begin = LastCheckpoint.on_train_start

    def begin_and_stop(self, *arguments):
        begin(self, *arguments)
        self._note(signal.SIGINT, None)

    for step in steps:
        again = Run(tmp_path / str(step), recorded.pictures, recorded.cache, "", "")
        shutil.copytree(recorded.root.with_name(str(step)), again.root)
        words = [*going_on(again), *QUIET]
        with monkeypatch.context() as patch:
            patch.setattr(LastCheckpoint, "on_train_start", begin_and_stop)
            with pytest.raises(SystemExit, match="130"):
                train.main(words)
        train.main(words)
        assert same(learnt(again), learnt(recorded)), step
        check_curves(again, recorded)


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_within_a_step_ends_the_training_after_it_and_nothing_is_lost(
    sent, code, recorded, tmp_path, monkeypatch
):
    usual = VAETraining.training_step

    def step(self, *arguments):
        if self.global_step == 1:
            os.kill(os.getpid(), sent)
        return usual(self, *arguments)

    run = Run(tmp_path, recorded.pictures, recorded.cache, "", "")
    with monkeypatch.context() as patch:
        patch.setattr(VAETraining, "training_step", step)
        with pytest.raises(SystemExit, match=str(code)):
            train.main(run.arguments(*PLAN, "--trainer.precision=32-true"))
    assert checkpoint.read(run.checkpoints / "last.ckpt")["global_step"] == 2
    train.main([*going_on(run), *QUIET])
    assert same(learnt(run), learnt(recorded))
    check_curves(run, recorded)


def test_a_lost_step_would_be_noticed(recorded):
    assert same(learnt(stopped_at(6, recorded)), learnt(recorded))
    assert not same(learnt(stopped_at(5, recorded)), learnt(recorded))


@pytest.mark.slow
def test_another_seed_or_plan_would_be_noticed(recorded, tmp_path):
    for option in ("--seed_everything=1", "--trainer.max_steps=5"):
        run = Run(tmp_path / option, recorded.pictures, recorded.cache, "", "")
        train.main(run.arguments(OFTEN, *PLAN, "--trainer.precision=32-true", option))
        assert not same(learnt(run), learnt(recorded)), option


@pytest.mark.parametrize("written", [1, 2])
def test_a_training_of_an_earlier_format_does_not_go_on_and_can_be_measured(
    written, recorded, tmp_path, one_line_error, capsys
):
    old = copy(stopped_at(3, recorded), tmp_path)
    last = old.checkpoints / "last.ckpt"
    kept = torch.load(last, weights_only=True)
    options = kept["hyper_parameters"] | {"network": "residual", "whiten": False}
    weights = VAETraining(**options).state_dict() | {"losses.adversarial.discriminator.old": torch.ones(3)}
    plan = {"progress": 0.5, "seed": 0, "steps": 3.0, "epoch": 3, "dealt": 8} if written == 1 else kept["plan"]
    del options["network"], options["whiten"]
    torch.save(kept | {"format": written, "plan": plan, "hyper_parameters": options, "state_dict": weights}, last)
    assert "earlier version" in one_line_error(train.main, *going_on(old), *QUIET)
    train.main(["validate", *going_on(old)[1:], QUIET[0]])
    assert "val/elbo" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")  # it ends within an epoch
def test_a_plan_that_ended_within_an_epoch_goes_on_with_the_next_one(pictures, tmp_path, monkeypatch):
    seen: dict[int, list[bytes]] = {}
    usual = VAETraining.training_step

    def step(self, x, batch_idx):
        epoch = self.batch_start // self.order.count
        seen.setdefault(epoch, []).extend(picture.numpy().tobytes() for picture in x)
        return usual(self, x, batch_idx)

    monkeypatch.setattr(VAETraining, "training_step", step)
    run = Run(tmp_path, pictures, pictures.parent / "cache", "", "")
    train.main(run.arguments(*PLAN, "--trainer.max_epochs=-1", "--trainer.max_steps=4"))
    train.main([*going_on(run), *QUIET, "--trainer.max_steps=8"])
    assert [len(set(epoch)) for epoch in seen.values()] == [len(epoch) for epoch in seen.values()] == [24, 8, 24, 8]
    content = checkpoint.read(run.checkpoints / "last.ckpt")
    assert (content["global_step"], content["plan"]["pictures_seen"], content["plan"]["progress"]) == (8, 4 * 26, 1)


class Program:
    """`train.py` in a process of its own, which can be stopped."""

    def __init__(self, run: Run, log: Path):
        self.run, self.log = run, log

    def start(self, *words: str) -> Forked:
        return start(list(words), self.run.root, self.log)

    def resume(self) -> Forked:
        return self.start(*going_on(self.run), OFTEN, *QUIET[:1])


LONG = ["--trainer.max_epochs=12", "--watch.every_n_epochs=4"]
STEPS = 36


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


def seconds_of_a_step(process: Forked, last: Path, saves: int) -> float:
    """How long the last step took, after the checkpoint was written so often."""
    seen, moments, deadline = last.stat().st_mtime_ns if last.is_file() else 0, [], time.monotonic() + 120
    while len(moments) < saves:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
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


@pytest.mark.slow
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


@pytest.mark.slow
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
def test_a_training_that_is_killed_twelve_times_ends_with_the_same_weights_and_curves(uninterrupted, tmp_path):
    for seed in range(1, 4):
        run = killed_and_resumed(4, uninterrupted, tmp_path / str(seed), seed)
        assert same(learnt(run), learnt(uninterrupted)), seed
        assert not (run.checkpoints.parent / "version_1").exists()
        check_curves(run, uninterrupted)


TWO = [OFTEN, *PLAN, "--data.batch_size=4", "--trainer.max_epochs=12"]


def wait_for_all(processes: list[Forked], log: Path) -> None:
    assert [process.wait() for process in processes] == [0] * len(processes), log.read_text()


@pytest.fixture(scope="module")
def two_uninterrupted(pictures, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("two"), pictures, pictures.parent / "cache", "", "")
    log = run.root / "log.txt"
    wait_for_all(start_two(run.arguments(*TWO), run.root, log), log)
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_two_processes_that_are_stopped_go_on_to_the_same_weights(sent, code, two_uninterrupted, tmp_path):
    """All are killed; of SIGTERM only the first is told, which has started the other."""
    run = Run(tmp_path, two_uninterrupted.pictures, two_uninterrupted.cache, "", "")
    log = tmp_path / "log.txt"
    if sent == signal.SIGKILL:
        processes = start_two(run.arguments(*TWO), run.root, log)
    else:
        command = [sys.executable, train.__file__, *run.arguments(*TWO, *TOGETHER)]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        with log.open("a") as said:
            processes = [subprocess.Popen(command, cwd=run.root, env=alone, stdout=said, stderr=said, preexec_fn=heed)]
    while not (run.checkpoints / "last.ckpt").is_file():
        assert processes[0].poll() is None, log.read_text()
        time.sleep(0.02)
    for process in processes:
        process.send_signal(sent)
    assert [process.wait(60) for process in processes] == [code] * len(processes), log.read_text()
    assert checkpoint.read(run.checkpoints / "last.ckpt")["epoch"] < 11
    wait_for_all(start_two([*going_on(run), *QUIET], run.root, log), log)
    assert same(learnt(run), learnt(two_uninterrupted))
    check_curves(run, two_uninterrupted)
