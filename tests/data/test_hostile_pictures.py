"""Laws of what happens to a run when pictures, their names or their folders are not what they should be."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import count_of, data_of, fill, heed, scene
from hypothesis import given
from hypothesis import strategies as st
from parsers import short_start  # noqa: F401
from PIL import Image
from test_data import png_of_size

import render
import train
from data.image_files import decode_pool, reader
from data.image_files.decode_pool import DecodePool, DecodeProcess, Part
from data.image_files.listing import find_pictures
from data.image_files.reader import read_picture
from data.sources import normalize_source
from data.system.errors import UserError, escape_unprintable
from data.system.worker_process import WorkerProcess

HERE = Path(train.__file__).parent
HOSTILE = "a\nb\x1b[2J\udcff.png"


@cache
def endless_picture(repeats: int = 20_000) -> bytes:
    """A progressive JPEG whose last scan comes over and over again: small, and decoded for most of a minute."""
    file = io.BytesIO()
    Image.new("RGB", (2048, 2048), (200, 10, 30)).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + repeats * scan + whole[-2:]


@pytest.fixture
def decoder() -> Iterator[DecodeProcess]:
    decoder = DecodeProcess()
    yield decoder
    decoder.kill()


def answers(decoder: DecodeProcess, *paths: Path) -> list[bytes | str]:
    return [decoder.answer(("read", str(path), 0, 32, 3, "white", {})) for path in paths]


def test_a_process_that_decodes_knows_nothing_of_torch():
    code = "import sys, data.image_files.decode_worker; print({'PIL', 'torch'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    assert output.stdout == "{'PIL'}\n"


def test_processes_read_what_this_one_reads_and_keep_the_order(tmp_path):
    paths = sorted(fill(tmp_path, 40).iterdir())
    with DecodePool() as pool:
        found = list(pool.decode(list(map(Part, paths)), 32, 3, "white"))
    assert all(np.array_equal(ours, read_picture(path, 32, 3)) for path, ours in zip(paths, found, strict=True))


def test_a_picture_that_takes_too_long_is_skipped(tmp_path, monkeypatch, capsys):
    folder = fill(tmp_path / "pictures", 6)
    (folder / "3a.jpg").write_bytes(endless_picture())
    monkeypatch.setattr(decode_pool, "SECONDS", 0.5)
    started = time.monotonic()
    assert count_of(data_of(tmp_path, folder)) == 6
    assert time.monotonic() - started < 10
    output = capsys.readouterr().err.strip()
    assert output.endswith(f"Skipped 1 of 7 pictures: {folder / '3a.jpg'}: took longer than 0.5 s to decode")


def test_a_picture_whose_process_ends_is_tried_again_and_then_skipped(tmp_path, decoder, monkeypatch):
    fill(tmp_path, 2)
    (tmp_path / "hostile.jpg").write_bytes(endless_picture())
    first, hostile, last = tmp_path / "0.png", tmp_path / "hostile.jpg", tmp_path / "1.png"
    assert isinstance(answers(decoder, first)[0], bytes)
    decoder.process.kill()
    assert isinstance(answers(decoder, first)[0], bytes)
    ended, ask = [], WorkerProcess.ask

    def ask_and_kill(process, request, *rest):
        if b"hostile" in request:
            ended.append(process.pid)
            threading.Timer(0.3, process.kill).start()
        return ask(process, request, *rest)

    monkeypatch.setattr(WorkerProcess, "ask", ask_and_kill)
    found = answers(decoder, first, hostile, last)
    assert [isinstance(one, str) for one in found] == [False, True, False]
    assert found[1] == f"{hostile}: its decoder crashed"
    assert len(set(ended)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no memory")
def test_a_picture_that_wants_too_much_memory_is_skipped(tmp_path, decoder, monkeypatch):
    fill(tmp_path, 1)
    (tmp_path / "eater.png").write_bytes(png_of_size(9_000))
    monkeypatch.setattr(decode_pool, "MEMORY", 128 << 20)
    eater, other = answers(decoder, tmp_path / "eater.png", tmp_path / "0.png")
    assert "more memory" in eater
    assert not isinstance(other, str)


def test_where_no_process_can_be_started_one_line_says_so(tmp_path, monkeypatch):
    folder = fill(tmp_path / "pictures", 2)
    for program in ("/nowhere/python", "/bin/false"):
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(UserError, match=program):
            data_of(tmp_path, folder).prepare_data()
    assert not (tmp_path / "cache").exists()


DECODE = """
import sys
from pathlib import Path
from data.image_files import decode_pool
from data.system.errors import one_line_errors

class Named(decode_pool.WorkerProcess):
    def __init__(self, *words):
        super().__init__(*words)
        print(self.pid, flush=True)

decode_pool.WorkerProcess, decode_pool.SECONDS = Named, 20.0
with one_line_errors("decode"), decode_pool.DecodePool() as pool:
    list(pool.decode([decode_pool.Part(path) for path in sorted(Path(sys.argv[1]).iterdir())], 32, 3, "white"))
"""


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_who_is_interrupted_or_killed_leaves_no_process(tmp_path, number):
    (tmp_path / "0.jpg").write_bytes(endless_picture())
    words, pipe = [sys.executable, "-c", DECODE, str(tmp_path)], subprocess.PIPE
    with subprocess.Popen(
        words, cwd=HERE, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=heed
    ) as decoding:
        worker = int(decoding.stdout.readline())
        time.sleep(0.2)
        if number == signal.SIGINT:
            os.killpg(decoding.pid, number)  # as a terminal does
        else:
            decoding.kill()
        output = decoding.communicate()[1]
    if number == signal.SIGINT:
        assert (decoding.returncode, output) == (130, "\ndecode: interrupted; nothing is half-written\n")
        assert gone(worker)
    deadline = time.monotonic() + 10
    while not gone(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("in_process")
def test_what_cannot_be_looked_into_is_counted_and_named(tmp_path, monkeypatch, capsys):
    folder = fill(tmp_path / "pictures", 12)
    (folder / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (folder / "holiday").symlink_to(tmp_path / "unplugged")
    (folder / "notes.txt").symlink_to(tmp_path / "gone.txt")
    (folder / "here.png").symlink_to(folder / "there.png")
    (folder / "there.png").symlink_to(folder / "here.png")
    (folder / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as plug:
        monkeypatch.chdir(folder)
        plug.bind("socket.png")
    fill(folder / "closed", 1)
    scandir = os.scandir

    def refuse(place):
        if str(place).endswith("/closed"):  # as chmod would, if root obeyed it
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    assert count_of(data_of(tmp_path, folder)) == 12
    output = capsys.readouterr().err
    assert "Skipped 5 of 17" in output
    assert "1 unreadable folder" in output
    for name in ("nowhere.png", "here.png", "there.png", "pipe.png", "socket.png"):
        assert f"{folder / name}:" in output
    data = data_of(tmp_path, folder)
    monkeypatch.setattr(os, "scandir", scandir)
    assert count_of(data) == 13


def test_folders_may_be_nested_a_thousand_deep(tmp_path):
    deepest = tmp_path
    for _ in range(1200):
        deepest /= "a"
        deepest.mkdir()
    scene(0).save(deepest / "b.png")
    try:
        assert [*find_pictures(tmp_path).pictures] == [str(deepest / "b.png")]
    finally:
        (deepest / "b.png").unlink()
        while deepest != tmp_path:  # what pytest would remove by recursion
            deepest.rmdir()
            deepest = deepest.parent


def test_a_source_that_is_a_link_in_circles_ends_with_one_line(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="no such folder"):
        data_of(tmp_path, tmp_path / "loop").prepare_data()
    with pytest.raises(UserError, match="no name"):
        normalize_source("a\0b")


@given(st.text(st.characters(codec=None)))
def test_whatever_is_printed_is_one_line_that_a_terminal_only_shows(text):
    output = escape_unprintable(text)
    assert output.isprintable()
    assert output.encode().decode() == output
    if text.isprintable():
        assert output == text


@pytest.mark.usefixtures("in_process")
def test_names_are_printed_in_one_line_whatever_they_are(tmp_path, capsys):
    folder = fill(tmp_path / "pictures", 4)
    (folder / HOSTILE).write_text("no picture")
    scene(5).save(folder / "fine\n\udcfe.png")
    assert count_of(data_of(tmp_path, folder)) == 5
    output = capsys.readouterr().err
    assert r"Skipped 1 of 6" in output
    assert r"a\nb\x1b[2J\xff.png: not a readable picture" in output.splitlines()[-1]


def test_a_keyframe_and_an_output_of_any_name_are_printed_in_one_line(tmp_path, one_line_error, capsys):
    words = [
        "slerp",
        f"--checkpoint={HERE / 'checkpoints' / 'patterns.ckpt'}",
        "--frames=2",
        "--size=16",
        "--tune=2",
        "--keyframes",
    ]
    keyframe = str(tmp_path / HOSTILE)
    assert r"a\nb\x1b[2J\xff.png: no such file" in one_line_error(render.main, *words, keyframe, "1")
    scene(0).save(keyframe)
    out = tmp_path / "out\n\udcff.gif"
    render.main([*words, keyframe, "1", f"--out={out}"])
    output = capsys.readouterr().out
    assert len(output.splitlines()) == 5
    assert r"out\n\xff.gif: 2 frames" in output
    assert out.stat().st_size > 0


def test_a_source_that_is_not_utf8_is_refused_before_anything_is_written(tmp_path, one_line_error):
    cafe = fill(tmp_path / "caf\udce9", 4)
    words = ["fit", f"--trainer.default_root_dir={tmp_path / 'root'}", f"--data.cache_dir={tmp_path / 'cache'}"]
    assert r"caf\xe9: " in one_line_error(train.main, *words, f"--data.source={cafe}")
    words[1] = f"--trainer.default_root_dir={cafe}"
    assert r"caf\xe9: " in one_line_error(train.main, *words)
    assert list(tmp_path.iterdir()) == [cafe]


def test_too_few_pictures_are_told_with_their_folder(tmp_path, one_line_error):
    one = fill(tmp_path / "one", 1)
    words = ["fit", f"--trainer.default_root_dir={tmp_path / 'root'}", f"--data.cache_dir={tmp_path / 'cache'}"]
    line = one_line_error(train.main, *words, f"--data.source={one}")
    assert f"{one}: 1 picture: too few to train and to validate on; add others" in line
    assert not list((tmp_path / "root").rglob("*.*"))


def test_a_jpeg_of_200_megapixels_is_read_and_a_progressive_one_refused_by_its_size(tmp_path, monkeypatch):
    Image.new("L", (14_000, 14_000), 99).save(tmp_path / "a.jpg")
    limit = Image.MAX_IMAGE_PIXELS
    assert np.unique(read_picture(tmp_path / "a.jpg", 32, 1)).tolist() == [99]
    monkeypatch.setattr(reader, "LARGEST", 100_000)
    for progressive, refused in ((False, False), (True, True)):
        scene(0, 800, 600).save(tmp_path / "b.jpg", progressive=progressive)
        if refused:
            with pytest.raises(UserError, match="800×600 pixels are too many"):
                read_picture(tmp_path / "b.jpg", 32, 3)
        else:
            assert read_picture(tmp_path / "b.jpg", 32, 3).shape == (32, 32, 3)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    file = io.BytesIO()
    scene(0).save(file, "EPS")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    with pytest.raises(UserError, match="no known format"):
        read_picture(tmp_path / "a.png", 32, 3)
