"""Places that are full or read-only, readers who leave, interrupts: one line, nothing half-written, nothing lost."""

import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

import jsonargparse
import pytest
from conftest import EPOCHS, TOGETHER, Run, events, faults_in, heed
from forked import start
from parsers import short_start  # noqa: F401
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from test_resume import learnt, same

import render
import train
from vae import checkpoint
from vae.render.formats.format import FORMATS
from vae.training.module import VAETraining
from vae.training.runs.checkpointing import LastCheckpoint
from vae.training.runs.lock import LOCK_NAME
from vae.training.tensorboard.logger import EventFile

SUFFIXES = [*FORMATS, ""]
PAGE = 4096
QUIET = "--watch.every_n_epochs=0"


def mounted(folder: Path, size: int) -> bool:
    """Whether a small file system could be mounted there."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def may_mount() -> bool:
    """Whether this process may mount."""
    here = Path(os.devnull).parent / "shm"
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(here)]
    return sys.platform == "linux" and subprocess.run(probe, capture_output=True).returncode == 0


MAY_MOUNT = may_mount()

if not MAY_MOUNT:

    @pytest.mark.parametrize("kind", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
    def test_the_laws_of_this_file_hold_in_a_namespace_of_their_own(kind):
        if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
            pytest.skip("neither mounting nor user namespaces are allowed here")
        inside = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        inside += ["-k", "not namespace", "-m", kind, __file__]
        done = subprocess.run(inside, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stdout[-3000:]
        assert "skipped" not in done.stdout


@pytest.fixture
def small(tmp_path: Path):
    """Mounts small file systems, which are gone when the test ends."""
    if not MAY_MOUNT:
        pytest.skip("mounting is not allowed here; all is tried again in a namespace where it is")
    mounts: list[Path] = []

    def mount(size: int, folder: Path = tmp_path / "small") -> Path:
        assert mounted(folder, size)
        mounts.append(folder)
        return folder

    yield mount
    for folder in reversed(mounts):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Lets a file grow that leaves so much room."""
    filler = folder / "filler"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with suppress(OSError), filler.open("ab", buffering=0) as file:  # others may be writing too
        file.write(bytes(max(0, free - leave)))
    return filler


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def cover(folder: Path) -> None:
    """Makes a place read-only in which a file is open to be written, as a fault of its disk would."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)


def uncover(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def pages(path: Path) -> int:
    """How many a file or folder takes."""
    return sum(-(-file.stat().st_size // PAGE) for file in (path.iterdir() if path.is_dir() else [path]))


def words(run: Run, command: str, out: Path, *more: str) -> list[str]:
    return [command, "--checkpoint", str(run.checkpoints / "last.ckpt"), "--out", str(out), *more]


SMALL = ["--size=64", "--frames=2", "--pace=latent"]
FILM = ["--size=64", "--frames=12", "--pace=latent", "--fps=10"]


def some(cases: Iterable, default: Collection) -> list:
    """All cases, of which only some are not slow."""
    return [pytest.param(case, marks=[] if case in default else pytest.mark.slow) for case in cases]


@pytest.mark.parametrize("suffix", some(SUFFIXES, [".gif", ""]))
def test_an_animation_that_finds_no_room_leaves_nothing(suffix, run: Run, small, tmp_path, one_line_error):
    enough = tmp_path / f"enough{suffix}"
    render.main(words(run, "slerp", enough, *FILM))
    needed = pages(enough)
    for room in sorted({1, needed // 2, needed - 1} - {0, needed}):
        place = small(room * PAGE, tmp_path / f"{room}")
        line = one_line_error(render.main, *words(run, "slerp", place / f"new/film{suffix}", *FILM))
        assert f"new/film{suffix}" in line
        assert "No space left" in line
        assert "free space" in line
        assert files(place) == []
    place = small(needed * PAGE, tmp_path / "just enough")
    render.main(words(run, "slerp", place / f"film{suffix}", *FILM))
    assert pages(place / f"film{suffix}") == needed


@pytest.mark.parametrize("suffix", some(SUFFIXES, [".mp4"]))
def test_what_was_there_before_stays_where_there_is_no_room_for_the_new(suffix, run: Run, small, one_line_error):
    place = small(40 * PAGE)
    old = place / f"film{suffix}"
    render.main(words(run, "slerp", old, *SMALL))
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    filler = fill(place)
    one_line_error(render.main, *words(run, "slerp", old, *FILM, "--size=128"))
    filler.unlink()
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


MORE = {
    "strip.png": ["strip", "--steps=4", "--size=64"],
    "samples.webp": ["samples", "--grid=6x6", "--size=64"],
    "page.html": ["explore", "--sets=1"],
    "small.gif": ["slerp", *SMALL, "--max-size=100kB"],
    "few.gif": ["slerp", *SMALL, "--report={}/report.json"],
    "two.gif": ["slerp", *SMALL, "--save-latents={}/latents.npz"],
}


@pytest.mark.parametrize("place_is", some(["full", "read-only"], ["full"]))
@pytest.mark.parametrize("name", some(MORE, ["strip.png", "page.html", "few.gif"]))
def test_whatever_is_written_beside_animations_is_whole_or_not_there(
    name, place_is, run: Run, small, tmp_path, one_line_error
):
    command, *more = MORE[name]
    place = small(PAGE)
    beside = any("{}" in word for word in more)
    out = (tmp_path if beside else place) / name
    fill(place)
    if place_is == "read-only":
        remount(place, "ro")
    line = one_line_error(render.main, *words(run, command, out, *(word.format(place) for word in more)))
    assert "No space left" in line if place_is == "full" else "read-only" in line
    assert str(place) in line
    assert files(place) == ["filler"]
    assert not out.exists() or beside


@pytest.mark.parametrize("suffix", some(SUFFIXES, [".gif"]))
def test_no_animation_is_begun_for_a_read_only_place(suffix, run: Run, small, one_line_error):
    place = small(PAGE)
    remount(place, "ro")
    assert "read-only" in one_line_error(render.main, *words(run, "slerp", place / f"new/film{suffix}", *FILM))


def test_a_checkpoint_is_stripped_whole_or_not_at_all(run: Run, small, one_line_error):
    place = small(8 * PAGE)
    line = one_line_error(checkpoint.main, str(run.checkpoints / "last.ckpt"), str(place / "stripped.ckpt"))
    assert "stripped.ckpt: cannot be written (No space left" in line
    assert files(place) == []


def test_an_event_is_written_whole_or_not_at_all(small):
    place = small(4 * PAGE)

    def event(step: int, size: int) -> Event:
        value = Summary.Value(tag="note", simple_value=step, node_name="n" * size)
        return Event(step=step, summary=Summary(value=[value]))

    kept = EventFile(place / "logs")
    for step, size in enumerate([10, PAGE, 5 * PAGE, 10]):
        kept.add_event(event(step, size))
        assert (kept.fault is not None) == (step >= 2)
    assert [found.step for found in events(place / "logs").Scalars("note")] == [0, 1, 3]
    fill(place)
    none = EventFile(place / "none")
    none.add_event(event(0, PAGE))
    assert "No space left" in str(none.fault)
    assert files(place / "none") == []


def on(run: Run, root: Path) -> Run:
    """The same training elsewhere."""
    return Run(root, run.pictures, run.cache, "", "")


def after(step: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Acts once, when a checkpoint of that step, or of a later one, has been kept."""
    save, acted = LastCheckpoint._save, []

    def save_and_act(self, trainer):
        save(self, trainer)
        if trainer.global_step >= step and not acted:
            acted.append(act())

    monkeypatch.setattr(LastCheckpoint, "_save", save_and_act)


def check_resumed(again: Run, run: Run) -> None:
    """Goes on to the same end as a training that had room; what a killed write has left is swept away."""
    (again.checkpoints / ".last.ckpt-left_0ver").write_bytes(b"half of it")
    (again.checkpoints / ".config.yaml-0123").write_bytes(b"half of it")
    (again.checkpoints / ".last.notes").write_text("mine")
    train.main(
        ["fit", f"--trainer.default_root_dir={again.root}", f"--data.cache_dir={run.cache}", "--ckpt_path=last", QUIET]
    )
    assert same(learnt(again), learnt(run))
    assert files(again.checkpoints) == [".last.notes", "best.ckpt", "config.yaml", "last.ckpt"]
    assert [scalar.step for scalar in events(again.logs).Scalars("val/elbo")] == [
        scalar.step for scalar in events(run.logs).Scalars("val/elbo")
    ]


MOMENTS = [(1, 5, 30 * PAGE), (1000, 1, 30 * PAGE), (1, 3, None)]


@pytest.mark.parametrize(
    ("often", "step", "room"),
    [(1, 2, 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in MOMENTS)],
    ids=["full of logs", "full at last", "full at best", "read-only"],
)
def test_a_training_whose_place_fails_keeps_its_last_checkpoint_and_goes_on_from_it(
    often, step, room, run: Run, small, one_line_error, monkeypatch
):
    again = on(run, small(60_000_000))
    kept = {}

    def act():
        if room is None:
            cover(again.root)
        else:
            fill(again.root, room)
        kept["last"] = (again.checkpoints / "last.ckpt").read_bytes()

    with monkeypatch.context() as patch:
        after(step, act, patch)
        line = one_line_error(train.main, *again.arguments(QUIET, f"--checkpoint_every_n_steps={often}"))
    last = again.checkpoints / "last.ckpt"
    assert ("Read-only file system" if room is None else "No space left on device") in line
    assert line.endswith(f"go on with python train.py fit --ckpt_path {last} --trainer.default_root_dir {again.root}")
    assert last.read_bytes() == kept["last"]
    assert not [name for name in files(again.checkpoints) if name.startswith(".")]
    if room is None:
        uncover(again.root)
        (again.checkpoints / LOCK_NAME).unlink()  # it could not be given back, and its process has not ended here
    remount(again.root, "size=100m")
    check_resumed(again, run)


def test_a_training_that_is_told_to_stop_and_cannot_keep_its_step_says_so(
    run: Run, small, one_line_error, monkeypatch, request
):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs in the background ignore
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    again = on(run, small(60_000_000))

    def act():
        fill(again.root)  # but for what is left of the logs' last page
        signal.raise_signal(signal.SIGINT)

    after(2, act, monkeypatch)
    line = one_line_error(train.main, *again.arguments(QUIET, "--checkpoint_every_n_steps=2"))
    assert "last.ckpt: cannot be written (No space left on device)" in line
    assert checkpoint.read(again.checkpoints / "last.ckpt")["global_step"] == 2


@pytest.mark.slow
def test_a_training_that_cannot_write_its_logs_keeps_its_step_and_stops(run: Run, small, tmp_path, one_line_error):
    again = on(run, tmp_path / "again")
    small(2 * PAGE, again.root / "logs")
    line = one_line_error(train.main, *again.arguments(QUIET))
    assert "events.out.tfevents" in line
    assert "--ckpt_path" in line
    steps = checkpoint.read(again.checkpoints / "last.ckpt")["global_step"]
    assert 0 < steps < checkpoint.read(run.checkpoints / "last.ckpt")["global_step"]
    remount(again.root / "logs", f"size={1000 * PAGE}")
    check_resumed(again, run)


@pytest.mark.parametrize("epoch", some(range(EPOCHS), [0]))
def test_a_validation_whose_numbers_find_no_room_is_done_again(epoch, run: Run, tmp_path, one_line_error, monkeypatch):
    again = on(run, tmp_path / "again")
    validated = VAETraining.on_validation_epoch_end

    def refuse(self, record):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:

        def without_room(self):
            if self.current_epoch == epoch:
                patch.setattr(EventFile, "_append", refuse)
            validated(self)

        patch.setattr(VAETraining, "on_validation_epoch_end", without_room)
        line = one_line_error(train.main, *again.arguments(QUIET))
    assert "No space left on device" in line
    assert ("--ckpt_path" if epoch else "fit again") in line
    if epoch:
        check_resumed(again, run)


@pytest.mark.slow
def test_a_picture_that_finds_no_room_in_the_logs_stops_nothing(run: Run, small, tmp_path, caplog):
    again = on(run, tmp_path / "again")
    small(20 * PAGE, again.root / "logs")
    train.main(again.arguments())
    assert [record.message[:25] for record in caplog.records] == ["No morphs can be shown (/"]
    assert same(learnt(again), learnt(run))
    assert len(events(again.logs).Scalars("val/elbo")) == 2


NAMED = {1: "config.yaml", 30: "best.ckpt", 300: "last.ckpt"}


@pytest.mark.parametrize("room", some(NAMED, [30]))
def test_a_training_that_can_keep_nothing_says_so(room, run: Run, small, one_line_error):
    again = on(run, small(60_000_000))
    fill(again.root, room * PAGE)
    line = one_line_error(train.main, *again.arguments(QUIET))
    named = NAMED[room]
    assert f"{named}: cannot be written (No space left on device)" in line
    assert line.endswith("fit again: nothing was kept yet")
    left = [name for name in files(again.root) if (again.root / name).is_file() and "tfevents" not in name]
    assert {Path(name).name for name in left} <= {"filler", "config.yaml", "best.ckpt"} - {named}


def test_a_training_that_finds_no_room_for_its_lock_leaves_nothing(run: Run, small, one_line_error):
    again = on(run, small(60_000_000))
    fill(again.root)
    line = one_line_error(train.main, *again.arguments(QUIET))
    assert f"{LOCK_NAME}: cannot be written (No space left on device)" in line
    assert files(again.root) == ["filler"]


def test_a_training_is_not_begun_in_a_read_only_place(run: Run, small, one_line_error):
    again = on(run, small(PAGE))
    remount(again.root, "ro")
    assert "Read-only file system" in one_line_error(train.main, *again.arguments())


def test_a_full_cache_is_told_of_and_left_without_what_no_resume_uses(run: Run, small, tmp_path, one_line_error):
    again = Run(tmp_path / "again", run.pictures, small(10 * PAGE), "", "")
    assert "--data.cache_dir" in one_line_error(train.main, *again.arguments())
    assert {path.name for path in again.cache.rglob("*") if path.is_file()} <= {"findings-0.json"}
    assert files(again.root) == []


def program(script: str, *words: str, **options) -> subprocess.Popen:
    """A program of its own."""
    command = [sys.executable, str(Path(render.__file__).with_name(script)), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stderr=pipe, text=True, preexec_fn=heed, **{"stdout": pipe} | options)


@pytest.mark.slow
def test_a_training_whose_place_fills_up_says_no_more_than_one_line_to_its_very_end(run: Run, small, tmp_path):
    again = on(run, small(60_000_000))
    started = program("train.py", *again.arguments(QUIET, "--trainer.max_epochs=200"), cwd=tmp_path)
    while not (again.checkpoints / "last.ckpt").is_file():
        assert started.poll() is None
        time.sleep(0.02)
    while started.poll() is None:
        fill(again.root)
        time.sleep(0.05)
    _, told = started.communicate(timeout=60)
    assert started.returncode == 2
    assert len(faults_in(told)) == 1, told
    checkpoint.load_vae(again.checkpoints / "last.ckpt")


@pytest.mark.slow
def test_a_training_whose_reader_leaves_is_completed(run: Run, tmp_path):
    again = on(run, tmp_path / "again")
    bar = "--trainer.enable_progress_bar=true"
    started = program("train.py", *again.arguments(QUIET, bar, f"--trainer.max_epochs={EPOCHS + 2}"), cwd=tmp_path)
    while not (again.checkpoints / "last.ckpt").is_file():
        assert started.poll() is None
        time.sleep(0.02)
    started.stdout.close()
    assert faults_in(started.stderr.read()) == []
    assert started.wait() == 1
    assert checkpoint.read(again.checkpoints / "last.ckpt")["epoch"] == EPOCHS + 1
    started.stderr.close()


@pytest.fixture
def nowhere(monkeypatch):
    """Standard output that is full, or whose reader has gone."""
    streams = []

    def put(kind: str):
        if kind == "full":
            stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
        else:
            reader, writer = os.pipe()
            os.close(reader)
            stream = os.fdopen(writer, "w")
        streams.append(stream)
        monkeypatch.setattr(sys, "stdout", stream)

    yield put
    monkeypatch.undo()
    for stream in streams:
        stream.close()


def test_words_that_cannot_be_written_are_told_of(nowhere, run: Run, tmp_path, one_line_error):
    again = on(run, tmp_path / "again")
    nowhere("full")
    assert "standard output: No space left" in one_line_error(
        render.main, *words(run, "slerp", tmp_path / "a.gif", *FILM)
    )
    nowhere("full")
    assert "standard output: No space left" in one_line_error(train.main, *again.arguments())
    nowhere("closed")
    assert "standard output: its reader has gone; fit again" in one_line_error(train.main, *again.arguments())
    assert files(tmp_path) == ["again"]


def test_a_program_without_standard_output_does_its_work(run: Run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it where the descriptor is closed
    render.main(words(run, "slerp", tmp_path / "film.gif", *SMALL))
    assert files(tmp_path) == ["film.gif"]


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("script", some(["render.py", "train.py"], ["render.py"]))
def test_an_interrupt_while_a_program_starts_is_one_line(script, tmp_path):
    started = program(script, cwd=tmp_path)
    while not catches(started, signal.SIGTERM):  # which Python itself does not
        assert started.poll() is None
        time.sleep(0.005)
    started.send_signal(signal.SIGINT)
    _, told = started.communicate(timeout=60)
    assert started.returncode == 130
    assert told.split("\n") == ["", f"{script}: interrupted; nothing was begun", ""]
    assert files(tmp_path) == []


@pytest.mark.parametrize("script", [render, train], ids=["render.py", "train.py"])
def test_an_interrupt_while_options_are_read_is_one_line(script, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(jsonargparse.ArgumentParser, "parse_args", interrupt)
    with pytest.raises(SystemExit, match="130"):
        script.main([])
    assert capsys.readouterr().err == f"\n{script.__name__}.py: interrupted; nothing is half-written\n"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".gif", ".mp4", ""])
def test_an_interrupt_at_any_moment_of_a_rendering_leaves_nothing_or_all_of_it(suffix, run: Run, tmp_path):
    chance, whole = random.Random(suffix), None
    film = ["--size=128", "--frames=150", "--pace=latent"]
    for moment in range(5):
        out = tmp_path / str(moment) / f"film{suffix}"
        said = tmp_path / f"{moment}.txt"
        before = time.monotonic()
        started = start(words(run, "slerp", out, *film), tmp_path, said, script="render.py")
        if whole is not None:
            time.sleep(0.05 + chance.random() * whole)
            started.send_signal(signal.SIGINT)
        code, told = started.wait(), said.read_text()
        whole = whole or time.monotonic() - before
        last = [line.split("\r")[-1].strip() for line in told.splitlines()]
        if code == 130:
            assert [line for line in last if line.startswith("render.py: interrupted")] == last[-1:], told
            assert not out.parent.exists()
        else:
            assert code == 0, told
            assert files(out.parent)[0] == out.name
            assert len(list(out.parent.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 700])
def test_two_processes_whose_place_is_full_end_with_one_line(room, run: Run, small, tmp_path):
    again = on(run, small(60_000_000))
    fill(again.root, room * PAGE)
    started = program("train.py", *again.arguments(QUIET, *TOGETHER), cwd=tmp_path)
    _, told = started.communicate(timeout=200)
    assert started.returncode == 2
    assert len(faults_in(told)) == 1, told
    assert "No space left on device" in told
