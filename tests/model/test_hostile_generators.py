"""Laws of what happens when an ONNX file does not end, wants all memory or ends the process that runs it."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnxruntime
import pytest
import torch
from conftest import heed
from onnx_files import looping, vast
from test_hostile_pictures import gone

import render
from data.system.errors import UserError
from vae import onnx_generator
from vae.onnx_generator import OnnxGenerator

HERE = Path(render.__file__).parent
WORDS = ["compare", f"--checkpoint={HERE / 'checkpoints' / 'lines.ckpt'}", "--frames=2", "--size=32", "--pace=latent"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no memory and have no /proc")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def children(process: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{process}/task").glob("*/children") for child in task.read_text().split()
    ]


def test_a_process_that_runs_a_file_knows_nothing_of_torch():
    code = "import sys, vae.onnx_worker, onnx, onnxruntime; print({'numpy', 'torch'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    assert told.stdout == "{'numpy'}\n"


def test_pictures_are_bit_for_bit_those_of_onnxruntime_in_this_process(place):
    Path("good.onnx").write_bytes(looping(turns=3))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession("good.onnx", options, providers=["CPUExecutionProvider"])
    z = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    (expected,) = session.run(None, {"z": z.numpy()})
    in_range = ((torch.from_numpy(expected) + 1) - 1).clamp(-1, 1)
    assert torch.equal(OnnxGenerator(Path("good.onnx")).decode(z), in_range)


@pytest.mark.parametrize(
    "more_than",
    [pytest.param(0, id="at once", marks=pytest.mark.slow), pytest.param(16, id="where it draws a film")],
)
def test_a_file_that_does_not_end_is_refused_when_its_time_is_over(more_than, place, monkeypatch, one_line_error):
    Path("endless.onnx").write_bytes(looping(more_than))
    monkeypatch.setattr(onnx_generator, "SECONDS", 1.5)
    began = time.monotonic()
    line = one_line_error(render.main, *WORDS, "--generator=endless.onnx")
    assert time.monotonic() - began < 30
    assert line.startswith("render.py: endless.onnx: took longer than 1.5 s to draw ")
    assert [path.name for path in place.iterdir()] == ["endless.onnx"]


EATERS = {"doubles": looping(growing=True), "no memory": vast(10**6), "no picture": vast(5_000)}


@linux
@pytest.mark.parametrize(
    "content",
    [pytest.param(one, id=name, marks=[] if name == "doubles" else pytest.mark.slow) for name, one in EATERS.items()],
)
def test_a_file_that_wants_too_much_memory_is_refused(content, place, monkeypatch, one_line_error):
    Path("eater.onnx").write_bytes(content)
    monkeypatch.setattr(onnx_generator, "MEMORY", 1 << 30)
    line = one_line_error(render.main, *WORDS, "--generator=eater.onnx")
    assert line.startswith("render.py: eater.onnx: cannot be run (wants more than 1 GiB of memory); ")


@pytest.mark.slow
@linux
def test_a_file_that_crashes_its_process_is_refused(place):
    Path("crash.onnx").write_bytes(looping())
    done = threading.Event()

    def crash():
        while not done.wait(1):
            for child in children(os.getpid()):
                if b"vae.onnx_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGSEGV)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(crash)
        try:
            with pytest.raises(UserError, match=r"^crash.onnx: cannot be run \(onnxruntime crashed\); export"):
                OnnxGenerator(Path("crash.onnx"))
        finally:
            done.set()


@pytest.mark.slow
def test_a_generator_is_the_same_for_all_threads(place):
    Path("slow.onnx").write_bytes(looping(turns=100_000))
    generator = OnnxGenerator(Path("slow.onnx"))
    z = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))
    expected = [generator.decode(some) for some in z]
    with ThreadPoolExecutor(3) as pool:
        assert all(map(torch.equal, pool.map(generator.decode, z), expected))


@pytest.mark.slow
def test_a_process_that_was_ended_is_not_asked_again(place, monkeypatch):
    Path("endless.onnx").write_bytes(looping(16))
    generator = OnnxGenerator(Path("endless.onnx"))
    monkeypatch.setattr(onnx_generator, "SECONDS", 0.5)
    for _ in range(2):
        with pytest.raises(UserError, match=r"endless.onnx: took longer than .* s to draw 17 pictures"):
            generator.decode(torch.zeros(17, 4))


STOPS = {  # the signal, the exit code, what is said
    "SIGTERM": (signal.SIGTERM, 143, b""),
    "SIGINT": (signal.SIGINT, 130, b"\nrender.py: interrupted; nothing is half-written\n"),
    "SIGKILL": (signal.SIGKILL, -signal.SIGKILL, b""),
}
PLACES = {"at once": 0, "where it draws a film": 16}  # the number of latents from which on a file does not end
MOMENTS = [("SIGTERM", "at once"), ("SIGINT", "where it draws a film"), *(("SIGKILL", when) for when in PLACES)]
CASES = [pytest.param(*STOPS[name], PLACES[when], id=f"{name} {when}") for name, when in MOMENTS]


@pytest.mark.slow
@linux
@pytest.mark.parametrize(("number", "code", "told", "more_than"), CASES)
def test_who_is_stopped_while_a_file_does_not_end_ends_at_once(number, code, told, more_than, place):
    Path("endless.onnx").write_bytes(looping(more_than))
    words = [sys.executable, render.__file__, *WORDS, "--generator=endless.onnx"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=heed) as program:
        worker = busy(program.pid)
        program.send_signal(number)
        began = time.monotonic()
        errors = program.communicate(timeout=60)[1]
    assert time.monotonic() - began < 10
    assert (program.returncode, errors) == (code, told)
    while not gone(worker):
        assert time.monotonic() - began < 10
        time.sleep(0.05)
    begun = {"renders"} if number == signal.SIGKILL else set()  # which leaves no time to remove it
    assert {path.name for path in place.iterdir()} - begun == {"endless.onnx"}


def busy(program: int) -> int:
    """The process that runs the file, when it has been at it for some time."""
    ticks, deadline = os.sysconf("SC_CLK_TCK"), time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.1)
        for child in children(program):
            fields = Path(f"/proc/{child}/stat").read_text().rsplit(")")[-1].split()
            if int(fields[11]) > ticks:  # starting takes less than one
                return child
    raise AssertionError("nothing is run")
