"""Decoding, and whole runs of the renderer."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ALL, on_all_and_one
from benchmarks.films import CHECKPOINT
from vae.checkpoint import load_vae
from vae.inference import decode_batches
from vae.render.frames import render_frames

pytestmark = pytest.mark.benchmark


@pytest.fixture
def run(root, threads):
    """Runs a Python program as a process of its own."""

    def go(*words):
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(threads or ALL)}
        return subprocess.run(
            [sys.executable, *map(str, words)], cwd=root, env=environment, check=True, capture_output=True
        )

    return go


@on_all_and_one
def test_decoding_in_batches(report, in_turn, matrix_rate):
    vae = load_vae(CHECKPOINT)
    plain = load_vae(CHECKPOINT).to(memory_format=torch.contiguous_format)
    z = torch.randn(128, vae.latent_dim)

    @torch.no_grad()
    def one_by_one():
        for latent in z:
            plain.decode(latent[None])

    theirs, ours, half = in_turn(
        one_by_one,
        lambda: list(render_frames(decode_batches(vae, z))),
        lambda: list(render_frames(decode_batches(vae, z, torch.bfloat16))),
        repeats=9,
    )
    apart = np.abs(
        np.stack(list(render_frames(decode_batches(vae, z))))
        - np.stack(list(render_frames(decode_batches(vae, z, torch.bfloat16)))).astype(int)
    ).max()
    with FlopCounterMode(display=False) as counter:
        plain.decode(z)
    for what, seconds, target, dtype, detail in (
        ("", ours, 2.5, torch.float32, f"{1e3 * ours / len(z):.2f} ms a frame"),
        (" in bfloat16", half, 6, torch.bfloat16, f"off by {apart} of 255 at most"),
    ):
        limit = theirs / (counter.get_total_flops() / matrix_rate(dtype))
        what = f"decoding, 64 px{what}: times faster than one by one"
        report(what, theirs / seconds, target, promise=1.3, detail=detail, limit=limit)


@on_all_and_one
@pytest.mark.parametrize(
    ("count", "target", "imports"), [(600, 3, ""), (60, 2.5, "import lightning.pytorch\nimport torchvision\n")]
)
def test_a_whole_run_against_the_lesson(count, target, imports, report, in_turn, run, root, tmp_path):
    lesson = tmp_path / "lesson.py"
    lesson.write_text(imports + (root / "tests" / "benchmarks" / "lesson.py").read_text())
    words = ["slerp", "--frames", count, "--size", 64, "--checkpoint", CHECKPOINT, "--out", tmp_path / "ours.gif"]
    ours, theirs, start = in_turn(
        lambda: run("render.py", *words),
        lambda: run(lesson, CHECKPOINT, count, tmp_path / "theirs.gif"),
        lambda: run("-c", "import gc; gc.disable(); import torch; gc.freeze()"),
    )
    other = "a script that imports Lightning" if imports else "the lesson"
    report(
        f"whole process, {count} frames: times faster than {other}",
        theirs / ours,
        target,
        promise=1.2,
        detail=f"{ours:.2f} s, of which torch's import is {start:.2f}",
        limit=theirs / start,
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
