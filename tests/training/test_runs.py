"""One training at a time in a run, and `--ckpt_path last` is the newest run that fits what was given."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import forked
import lightning.pytorch as pl
import pytest
import torch
import yaml
from conftest import EPOCHS, QUICK, Run, copy
from forked import Forked
from parsers import short_start  # noqa: F401
from readme import ROOT

import train
from data.system.errors import UserError
from vae import checkpoint
from vae.training.runs import lock as run_lock
from vae.training.runs.lock import LOCK_NAME, RunLock

QUIET = ["--trainer.enable_progress_bar=false", *QUICK]
LONG = ["--trainer.max_epochs=500", "--checkpoint_every_n_steps=1", *QUIET]


def job(number: int, restarts: int = 0) -> dict[str, str]:
    """What SLURM says to the only process of a job."""
    names = {"NTASKS": "1", "NNODES": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "STEP_ID": "0"}
    names |= {"JOB_NAME": "train", "JOB_ID": str(number), "RESTART_COUNT": str(restarts)}
    return {f"SLURM_{name}": value for name, value in names.items()}


@pytest.fixture
def started():
    """Starts trainings in processes of their own, which end with the test."""
    processes = []

    def start(root: Path, *words: str, **more: str) -> Forked:
        processes.append(forked.start(list(words), root, root / "log.txt", **more))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def holder():
    """Starts processes that hold the lock of a run, which end with the test."""
    with contextlib.ExitStack() as stack:

        def hold(run: Path) -> subprocess.Popen:
            command = [sys.executable, "-c", HOLD, str(run)]
            process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            return process

        yield hold


def wait_for(found, process: Forked, log: Path, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_of_a_lock_is_left_by_a_training_that_has_ended(run: Run):
    assert files(run.checkpoints) == ["best.ckpt", "config.yaml", "last.ckpt"]


HOLD = """
import sys, time
from pathlib import Path
from vae.training.runs.lock import RunLock

lock = RunLock()
lock.acquire(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("trains", [False, pytest.param(True, marks=pytest.mark.slow)])  # or holds the lock alone
def test_a_run_in_which_a_process_trains_is_left_alone_until_that_is_killed(
    trains, run: Run, tmp_path, started, holder, one_line_error
):
    again = copy(run, tmp_path)
    last, log = again.checkpoints / "last.ckpt", again.root / "log.txt"
    before = last.stat().st_mtime_ns
    if trains:
        process = started(again.root, "fit", f"--ckpt_path={last}", *LONG)
        wait_for(lambda: last.stat().st_mtime_ns != before, process, log)
    else:
        process = holder(again.checkpoints)
    for word in (str(last), "last"):
        line = one_line_error(
            train.main, "fit", f"--trainer.default_root_dir={again.root}", f"--ckpt_path={word}", *QUIET
        )
        assert str(again.checkpoints) in line
        assert f"process {process.pid} on {socket.gethostname()}" in line
        assert "without --ckpt_path" in line
    assert files(again.checkpoints.parent) == ["version_0"]
    assert LOCK_NAME in files(again.checkpoints)
    process.kill()
    process.wait()
    assert LOCK_NAME in files(again.checkpoints)
    epoch = checkpoint.read(last)["epoch"]
    began = time.monotonic()
    train.main(
        [
            "fit",
            f"--trainer.default_root_dir={again.root}",
            "--ckpt_path=last",
            f"--trainer.max_epochs={epoch + 2}",
            *([] if trains else ["--trainer.limit_train_batches=1"]),
            *QUIET,
        ]
    )
    assert time.monotonic() - began < 30  # a dead process of this machine is found out at once
    assert checkpoint.read(last)["epoch"] == epoch + 1
    assert files(again.checkpoints) == ["best.ckpt", "config.yaml", "last.ckpt"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")  # it ends within an epoch
def test_two_jobs_of_one_line_train_two_runs_and_each_goes_on_with_its_own(run: Run, tmp_path, started, monkeypatch):
    """The README's line with two seeds, started at once; then both are queued again."""
    both = Run(tmp_path, run.pictures, run.cache, "", "")
    log, runs = tmp_path / "log.txt", both.checkpoints.parent
    seeds = {70: 5, 71: 6}
    words = {
        number: both.arguments("--ckpt_path=last", f"--seed_everything={seed}", *LONG) for number, seed in seeds.items()
    }
    processes = {number: started(tmp_path, *words[number], **job(number)) for number in seeds}
    lasts = [runs / f"version_{index}" / "last.ckpt" for index in (0, 1)]
    wait_for(lambda: all(last.is_file() for last in lasts), processes[70], log)
    for process in processes.values():
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == 128 + signal.SIGUSR1, log.read_text()
    assert not list(runs.rglob(LOCK_NAME))
    stopped = [checkpoint.read(last) for last in lasts]
    assert sorted(content["plan"]["seed"] for content in stopped) == [5, 6]
    for content in stopped:  # the one that was written last is not the second one's to take
        number = next(number for number, seed in seeds.items() if seed == content["plan"]["seed"])
        with monkeypatch.context() as patch:
            for name, value in job(number, restarts=1).items():
                patch.setenv(name, value)
            train.main([*words[number], f"--trainer.max_steps={content['global_step'] + 1}"])
    for before, last in zip(stopped, lasts, strict=True):
        after = checkpoint.read(last)
        assert after["global_step"] == before["global_step"] + 1
        assert after["plan"]["seed"] == before["plan"]["seed"]
    assert files(runs) == ["version_0", "version_1"]


def test_a_run_continues_with_the_config_that_an_earlier_version_wrote(run: Run, tmp_path, one_line_error):
    again = copy(run, tmp_path)
    config = again.checkpoints / "config.yaml"
    options = yaml.safe_load(config.read_text())
    for old, new in checkpoint.RENAMED_OPTIONS.items():
        options["model"][old] = options["model"].pop(new)
    words = ["fit", f"--trainer.default_root_dir={again.root}", "--ckpt_path=last", *QUIET]
    config.write_text(yaml.safe_dump(options))
    assert f"has trained {EPOCHS} epochs, and {EPOCHS} are planned" in one_line_error(train.main, *words)
    options["model"]["prune"] += 1
    config.write_text(yaml.safe_dump(options))
    assert "config.yaml: the config of another run" in one_line_error(train.main, *words)


def test_what_was_written_until_the_lock_was_taken_is_what_goes_on(run: Run, tmp_path, monkeypatch, one_line_error):
    again, acquire = copy(run, tmp_path), RunLock.acquire
    last = again.checkpoints / "last.ckpt"

    def write_and_acquire(self, folder: Path) -> None:
        content = checkpoint.read(last)
        content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] = 7
        torch.save(content, last)
        acquire(self, folder)

    monkeypatch.setattr(RunLock, "acquire", write_and_acquire)
    words = again.arguments("--ckpt_path=last", *QUIET)
    assert f"{last}: has trained 7 epochs" in one_line_error(train.main, *words)


@pytest.fixture
def kept(run: Run, tmp_path):
    """Makes finished runs that differ in what their checkpoints say; the later ones are newer."""
    whole = checkpoint.read(run.checkpoints / "last.ckpt")
    whole |= {"optimizer_states": [{"state": {}}], "current_model_state": {}}  # not looked at so early
    whole["state_dict"] = {name: value for name, value in whole["state_dict"].items() if name.startswith("vae.")}
    count = 0

    def keep(name: str, seed: int = 0, job: str = "", **options) -> Path:
        nonlocal count
        count += 1
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        groups = {
            group: whole[group] | {key: value for key, value in options.items() if key in whole[group]}
            for group in ("hyper_parameters", "datamodule_hyper_parameters")
        }
        path = folder / "last.ckpt"
        torch.save(whole | groups | {"plan": whole["plan"] | {"seed": seed}}, path)
        (folder / "config.yaml").write_bytes((run.checkpoints / "config.yaml").read_bytes())
        if job:
            (folder / "job.txt").write_text(job)
        os.utime(path, (1_000_000 + count, 1_000_000 + count))
        return path

    return keep


@pytest.fixture
def chosen(tmp_path, capsys):
    """Which checkpoint a training would go on from; all are done, so that none does. None where one starts afresh."""

    def choose(*words: str) -> str | None:
        where = [f"--trainer.default_root_dir={tmp_path}", f"--trainer.max_epochs={EPOCHS}", *QUIET]
        with pytest.raises(SystemExit) as caught:  # or for want of pictures, afresh
            train.main(["fit", "--ckpt_path=last", *where, *words])
        assert caught.value.code == 2
        printed = capsys.readouterr()
        assert len(printed.err.splitlines()) == 1
        if "afresh" in printed.out:
            return None
        path = printed.err.removeprefix("train.py: ").partition(": ")[0]
        return str(Path(path).parent.relative_to(tmp_path / "checkpoints"))

    return choose


def test_last_is_the_newest_run_that_fits(run: Run, tmp_path, kept, chosen, one_line_error):
    for place in ("a/cats", "b/cats", "c/dogs"):
        (tmp_path / place).mkdir(parents=True)  # no picture in it, so that what starts afresh ends soon
    (tmp_path / "link").symlink_to(tmp_path / "a" / "cats")
    kept("cats/version_0", source=str(tmp_path / "a" / "cats"))
    kept("cats/version_1", source=str(tmp_path / "a" / "cats"), seed=1)
    kept("cats/version_2", source=str(tmp_path / "b" / "cats"))
    kept("patterns/version_0", source="patterns", latent_dim=4)
    cats = f"--data.source={tmp_path / 'a' / 'cats'}"
    assert chosen() == "patterns/version_0"
    assert chosen(cats) == "cats/version_1"
    assert chosen(f"--data.source={tmp_path / 'link'}") == "cats/version_1"
    assert chosen(cats, "--seed_everything=0") == "cats/version_0"
    assert chosen(cats, "--seed_everything=2") is None
    assert chosen(f"--data.source={tmp_path / 'b' / 'cats'}") == "cats/version_2"
    assert chosen(f"--data.source={tmp_path / 'c' / 'dogs'}") is None
    assert chosen(cats, "--model.latent_dim=5") is None
    assert chosen(cats, "--data.val_fraction=0.2", "--data.batch_size=3") == "cats/version_1"
    assert chosen(cats, "--data.val_fraction=0.3") is None
    assert files(tmp_path / "checkpoints" / "cats") == ["version_0", "version_1", "version_2"]
    words = ["validate", f"--trainer.default_root_dir={tmp_path}", "--ckpt_path=last"]
    assert "data.source is patterns" in one_line_error(train.main, *words, f"--data.source={tmp_path / 'c' / 'dogs'}")
    assert "latent_dim is 4" in one_line_error(train.main, *words, "--model.latent_dim=5")


def test_a_job_goes_on_with_its_own_run_or_with_the_newest(tmp_path, kept, chosen, monkeypatch):
    (tmp_path / "cats").mkdir()
    cats = f"--data.source={tmp_path / 'cats'}"
    for number, owner in enumerate(("7_1", "7_2", "8", "", "9")):
        kept(f"cats/version_{number}", source=str(tmp_path / "cats"), job=owner)

    def by_job(number: int, restarts: int = 0, **more: str) -> str | None:
        with monkeypatch.context() as patch:
            for name, value in (job(number, restarts) | more).items():
                patch.setenv(name, value)
            return chosen(cats)

    for task in "12":
        array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": task}
        assert by_job(int(task), 1, **array) == f"cats/version_{int(task) - 1}"
    another = {"SLURM_ARRAY_JOB_ID": "11", "SLURM_ARRAY_TASK_ID": "1"}
    assert by_job(1, **another) is None  # tasks of an array may differ in any option
    assert by_job(8, 1) == by_job(8) == "cats/version_2"
    for odd in (b"", b"8" * 1000, b"\xff"):
        (tmp_path / "checkpoints" / "cats" / "version_4" / "job.txt").write_bytes(odd)
        assert chosen(cats) == by_job(10) == "cats/version_4"
    assert by_job(10, restarts=1) is None  # its own was stopped before anything was kept


def foreign(run: Path, **changed: str) -> Path:
    """A lock file that says something else than the one which this process would write."""
    lock = RunLock()
    lock.acquire(run)
    lines = (run / LOCK_NAME).read_text().splitlines()
    lock.release()
    fields = [line.partition("=") for line in lines]
    path = run / LOCK_NAME
    path.write_text("".join(f"{name}{sign}{changed.get(name, value)}\n" for name, sign, value in fields))
    return path


def test_the_lock_of_another_machine_holds_as_long_as_it_is_refreshed_by_whatever_clock(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_lock, "_LEASE", 1.5)
    monkeypatch.setattr(run_lock, "_HEARTBEAT", 0.3)
    path, stop = foreign(tmp_path, host="elsewhere", pid="1"), threading.Event()

    def refresh() -> None:
        clock = 1_000.0  # decades ago
        while not stop.wait(0.3):
            clock += 0.3
            os.utime(path, (clock, clock))

    alive = threading.Thread(target=refresh)
    alive.start()
    try:
        for _ in range(4):
            with pytest.raises(UserError, match="process 1 on elsewhere"):
                RunLock().acquire(tmp_path)
    finally:
        stop.set()
        alive.join()
    os.utime(path, (2**33, 2**33))  # in some centuries
    began = time.monotonic()
    lock = RunLock()
    lock.acquire(tmp_path)
    assert time.monotonic() - began >= 1.5
    assert "elsewhere" in capsys.readouterr().out
    lock.check()
    lock.release()
    assert files(tmp_path) == []


def test_the_lock_of_a_process_whose_number_another_one_has_by_now_is_none(tmp_path):
    foreign(tmp_path, start="1")
    began = time.monotonic()
    lock = RunLock()
    lock.acquire(tmp_path)
    assert time.monotonic() - began < 1
    lock.release()


def test_what_is_no_lock_file_holds_until_it_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "_LEASE", 0.5)
    monkeypatch.setattr(run_lock, "_HEARTBEAT", 0.1)
    (tmp_path / LOCK_NAME).mkdir()
    with pytest.raises(ValueError, match=LOCK_NAME):
        RunLock().acquire(tmp_path)


class Taken(pl.Callback):
    """Another process takes the run, as it may when this one has been standing still."""

    def __init__(self, run: str):
        self.run = Path(run)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 2:
            foreign_lock = (self.run / LOCK_NAME).read_text().replace("token=", "token=0").replace("host=", "host=else")
            (self.run / "new").write_text(foreign_lock)
            (self.run / "new").replace(self.run / LOCK_NAME)


def test_a_training_whose_run_was_taken_stops_and_writes_nothing_there(run: Run, tmp_path, one_line_error):
    again = copy(run, tmp_path)
    kept = (again.checkpoints / "last.ckpt").read_bytes()
    words = again.arguments("--ckpt_path=last", f"--trainer.max_epochs={EPOCHS + 1}", *QUIET)
    taken = ["--trainer.callbacks=test_runs.Taken", f"--trainer.callbacks.run={again.checkpoints}"]
    line = one_line_error(train.main, *words, *taken)
    assert f"on else{socket.gethostname()}" in line
    assert (again.checkpoints / "last.ckpt").read_bytes() == kept
    assert LOCK_NAME in files(again.checkpoints)  # that is the other one's


@pytest.mark.parametrize("fault", ["an exception", "Ctrl-C", "a mistake"])
def test_the_lock_is_given_back_whatever_ends_a_training(fault, run: Run, tmp_path, monkeypatch):
    again = copy(run, tmp_path)
    words = again.arguments("--ckpt_path=last", f"--trainer.max_epochs={EPOCHS + 1}", *QUIET)

    def fail(self, *arguments):
        assert LOCK_NAME in files(again.checkpoints)
        raise KeyboardInterrupt if fault == "Ctrl-C" else RuntimeError("no such thing")

    if fault == "a mistake":
        words.append("--trainer.accelerator=abacus")
    else:
        monkeypatch.setattr("vae.training.module.VAETraining.training_step", fail)
    with pytest.raises((SystemExit, RuntimeError)):
        train.main(words)
    assert files(again.checkpoints) == ["best.ckpt", "config.yaml", "last.ckpt"]
