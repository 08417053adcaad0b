"""Laws of caches that are built by several processes, some of which die: the bytes are those of one that does not."""

import os
import random
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import count_of, data_of, fill, scene

from data import cache_build
from data.image_files.decode_worker import FileDecoder
from data.system import shared_work
from data.system.errors import UserError

pytestmark = pytest.mark.usefixtures("in_process", "small_parts")
ITEMS, FILES = 4, 26
answer = FileDecoder.answer


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_build, "ITEMS", ITEMS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, of which one has several and one is broken."""
    place = fill(tmp_path / "pictures", FILES - 2)
    scene(50).save(place / "moving.gif", save_all=True, append_images=[scene(51), scene(52)])
    (place / "broken.png").write_bytes((place / "0.png").read_bytes()[:99])
    return place


def contents(place: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def build(root: Path, folder: Path, **options) -> None:
    data_of(root, folder, **options).prepare_data()


def whole(tmp_path: Path, folder: Path, **options) -> dict[str, bytes]:
    """The files of a cache that was built without interruption."""
    build(tmp_path / "whole", folder, **options)
    return contents(tmp_path / "whole" / "cache")


def fork(work: Callable[[], object]) -> int:
    """Starts a process that does a work, and whose exit code says whether it was done."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which here are those that draw bars
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def end(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def log_requests(path: Path, patch: pytest.MonkeyPatch, pause: float = 0.0) -> None:
    """Has all processes append to a file of which picture they were asked for what."""

    def logged(decoder, request: bytes):
        with path.open("ab") as file:
            file.write(request + b"\n")
        time.sleep(pause)
        return answer(decoder, request)

    patch.setattr(FileDecoder, "answer", logged)


def kill_at(moment: int, patch: pytest.MonkeyPatch) -> None:
    """Has this process killed when it is about to decode, sync, move or remove for so many a time."""
    left = [moment]

    def counted(function):
        def call(*words, **more):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*words, **more)

        return call

    patch.setattr(FileDecoder, "answer", counted(answer))
    patch.setattr(os, "fsync", counted(os.fsync))
    for name in ("rename", "replace", "unlink", "mkdir"):
        patch.setattr(Path, name, counted(getattr(Path, name)))


@pytest.mark.parametrize("options", [{}, {"all_frames": True, "limit": 20}], ids=["first", "all"])
def test_a_build_that_is_killed_at_any_moment_and_resumed_gives_the_same_bytes(options, tmp_path, folder, monkeypatch):
    expected = whole(tmp_path, folder, **options)
    for first in random.Random(0).sample(range(150), 4):
        root = tmp_path / str(first)
        killed, moment = 0, first
        while True:  # each a little later than the one before
            with monkeypatch.context() as patch:
                kill_at(moment, patch)
                pid = fork(lambda: build(root, folder, **options))  # noqa: B023
            if (code := end(pid)) == 0:
                break
            assert code == -signal.SIGKILL
            killed, moment = killed + 1, moment + 13
        assert killed
        left = contents(root / "cache")
        assert {name: left[name] for name in left if not name.startswith(".")} == expected, first
        assert not any(left[name] for name in left.keys() - expected.keys() if name.endswith(cache_build.IMAGES))


def test_a_cache_that_is_removed_is_built_again_whatever_a_killed_build_has_left(tmp_path, folder, monkeypatch):
    expected = whole(tmp_path, folder)
    with monkeypatch.context() as patch:
        patch.setattr(cache_build, "remove_folder", lambda _: None)  # killed before it
        build(tmp_path, folder)
    (cache,) = {path.parent for path in (tmp_path / "cache").glob("[!.]*/*")}
    shutil.rmtree(cache)
    build(tmp_path, folder)
    left = contents(tmp_path / "cache")
    assert {name: left[name] for name in left if not name.startswith(".")} == expected


def test_a_resumed_build_looks_into_and_decodes_what_was_missing_alone(tmp_path, folder, monkeypatch):
    expected, log = whole(tmp_path, folder), tmp_path / "log"
    calls = [0]

    def interrupt(decoder, request: bytes):
        calls[0] += 1
        if calls[0] > FILES + 3 * ITEMS - 2:
            raise KeyboardInterrupt
        return answer(decoder, request)

    bars: list[cache_build.Bar] = []

    class Bar(cache_build.Bar):
        def __init__(self, *words, **more) -> None:
            super().__init__(*words, **more)
            bars.append(self)

        def update(self, n: float | None = 1) -> bool | None:
            self.rate_from = getattr(self, "rate_from", self.last_print_n)
            return super().update(n)

    with monkeypatch.context() as patch:
        patch.setattr(FileDecoder, "answer", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, folder)
    (place,) = (tmp_path / "cache").iterdir()
    parts = {path.name for path in place.iterdir()}
    assert parts == {f"findings-{part}.json" for part in range(-(-FILES // ITEMS))} | {"0", "1"}
    monkeypatch.setattr(cache_build, "Bar", Bar)
    log_requests(log, monkeypatch)
    build(tmp_path, folder)
    assert contents(tmp_path / "cache") == expected
    requests = log.read_text().splitlines()
    assert len(requests) == FILES - 2 * ITEMS
    assert all(request.startswith('["read"') for request in requests)
    assert [(bar.initial, bar.n, bar.total) for bar in bars[:2]] == [(FILES, FILES, FILES), (2 * ITEMS, FILES, FILES)]
    assert bars[1].rate_from == 2 * ITEMS


@pytest.mark.parametrize("dies", [False, True])
def test_processes_that_build_one_cache_share_the_work_and_outlive_each_other(dies, tmp_path, folder, monkeypatch):
    expected, log = whole(tmp_path, folder), tmp_path / "log"
    log_requests(log, monkeypatch, pause=0.005)
    pids = [fork(lambda: build(tmp_path, folder)) for _ in range(3)]
    if dies:
        while not log.is_file() or len(log.read_text().splitlines()) < FILES + 6:
            time.sleep(0.002)
        os.kill(pids[0], signal.SIGKILL)
    codes = [end(pid) for pid in pids]
    assert codes[1:] == [0, 0]
    assert contents(tmp_path / "cache") == expected
    assert len(list((tmp_path / "cache").iterdir())) == 1
    twice = len(requests := log.read_text().splitlines()) - len(set(requests))
    assert twice <= ITEMS if dies else not twice


def test_what_a_build_left_goes_when_the_folder_changes_unless_another_one_is_at_it(tmp_path, folder, monkeypatch):
    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    def stop() -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(cache_build._Build, "_make", interrupt)
            with pytest.raises(KeyboardInterrupt):
                build(tmp_path, folder)
        (place,) = (tmp_path / "cache").glob(".*")
        return place

    before = stop()
    scene(60).save(folder / "3.png")
    assert stop() != before
    other = data_of(tmp_path, folder, background="black")
    other.prepare_data()
    (left,) = (tmp_path / "cache").glob(".*")  # that of other options is no reason
    (left / "lives.lock").touch()
    lease = shared_work._claim(left, "lives")
    (left / "lives.lock").unlink()
    lease.acquire()
    scene(61).save(folder / "3.png")
    build(tmp_path, folder)
    assert left.exists()
    lease.release()
    scene(62).save(folder / "3.png")
    build(tmp_path, folder)
    assert not list((tmp_path / "cache").glob(".*"))


def test_a_file_that_had_changed_when_a_build_was_stopped_is_read_once_it_is_back(tmp_path, folder, monkeypatch):
    path = folder / "1.png"
    content, status = path.read_bytes(), path.stat()

    def vanish(decoder, request: bytes):
        path.unlink(missing_ok=True)
        if b'["read"' in request and b"/9.png" in request:
            raise KeyboardInterrupt
        return answer(decoder, request)

    with monkeypatch.context() as patch:
        patch.setattr(FileDecoder, "answer", vanish)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, folder)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert count_of(data_of(tmp_path, folder)) == FILES - 1


def test_a_folder_of_broken_pictures_leaves_nothing(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2 * ITEMS):
        (folder / f"{number}.png").write_bytes(b"none")
    with pytest.raises(UserError, match="none of 8 pictures could be read"):
        build(tmp_path, folder)
    assert not (tmp_path / "cache").exists()
