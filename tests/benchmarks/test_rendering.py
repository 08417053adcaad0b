"""Decoding, and whole runs of the renderer."""

import os
import re
import subprocess
import sys

import pytest
import torch

from benchmarks.films import CHECKPOINT
from vae.checkpoint import load_vae
from vae.frames import decode

pytestmark = pytest.mark.benchmark


@pytest.fixture
def run(root):
    """Runs a Python program as a process of its own."""

    def go(*words):
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(
            [sys.executable, *map(str, words)], cwd=root, env=environment, check=True, capture_output=True
        )

    return go


def test_decoding_in_batches(report, in_turn):
    vae = load_vae(CHECKPOINT)
    plain = load_vae(CHECKPOINT).to(memory_format=torch.contiguous_format)
    z = torch.randn(128, vae.latent_dim)

    @torch.no_grad()
    def one_by_one():
        for latent in z:
            plain.decode(latent[None])

    def in_bfloat16():
        with torch.autocast("cpu", torch.bfloat16):
            list(decode(vae, z))

    theirs, ours, half = in_turn(one_by_one, lambda: list(decode(vae, z)), in_bfloat16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        rough = vae.decode(z).float()
    with torch.inference_mode():
        apart = float((rough - vae.decode(z)).abs().max()) * 127.5
    report("decode, 64 px: times faster than one by one", theirs / ours, 2.5, promise=1.3)
    report("the same in bfloat16", theirs / half, 6, promise=1.3, detail=f"off by {apart:.1f} of 255 at most")


def test_a_whole_run_against_the_lesson(report, in_turn, run, root, tmp_path):
    lesson = root / "tests" / "benchmarks" / "lesson.py"
    words = ["slerp", "--frames", 600, "--size", 64, "--checkpoint", CHECKPOINT, "--out", tmp_path / "ours.gif"]
    ours, theirs = in_turn(
        lambda: run("render.py", *words), lambda: run(lesson, CHECKPOINT, 600, tmp_path / "theirs.gif"), repeats=3
    )
    report(
        "whole process, 600 frames: times faster than the lesson", theirs / ours, 3, promise=1.2, detail=f"{ours:.1f} s"
    )


def test_a_short_run_against_a_script_that_imports_lightning(report, in_turn, run, root, tmp_path):
    lesson = (root / "tests" / "benchmarks" / "lesson.py").read_text()
    heavy = tmp_path / "heavy.py"
    heavy.write_text("import lightning.pytorch\nimport torchvision\n" + lesson.partition('"""\n\n')[2])
    words = ["slerp", "--frames", 60, "--size", 64, "--checkpoint", CHECKPOINT, "--out", tmp_path / "ours.gif"]
    ours, theirs = in_turn(
        lambda: run("render.py", *words), lambda: run(heavy, CHECKPOINT, 60, tmp_path / "theirs.gif"), repeats=3
    )
    report(
        "whole process, 60 frames: times faster than with Lightning",
        theirs / ours,
        2.5,
        promise=1.2,
        detail=f"{ours:.1f} s",
    )


def test_long_animations_need_no_more_memory_or_time_a_frame(report, root, tmp_path):
    def measured(frames):
        words = (
            f"import resource, time, render; start = time.perf_counter(); render.main({_words(frames, tmp_path)!r}); "
        )
        words += "print('took', time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        done = subprocess.run([sys.executable, "-c", words], cwd=root, check=True, capture_output=True, text=True)
        seconds, kilobytes = re.search(r"took (\S+) (\d+)", done.stdout).groups()
        return float(seconds), int(kilobytes)

    (short_time, short_memory), (middle_time, _), (long_time, long_memory) = map(measured, (200, 2_000, 20_000))
    first = (middle_time - short_time) / 1_800  # the start counts for neither
    rest = (long_time - middle_time) / 18_000
    report("memory of 20,000 frames at 256 px to MP4, over that of 200", long_memory / short_memory, 1.15, more=False)
    report(
        "time a frame of the same", rest / first, 1.1, more=False, detail=f"{1e3 * rest:.1f} ms a frame", promise=1.3
    )


def _words(frames, folder):
    return ["slerp", f"--frames={frames}", "--size=256", f"--checkpoint={CHECKPOINT}", f"--out={folder / 'long.mp4'}"]
