import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import get_args

import av
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import VIDEO, Run, heed, scene
from PIL import Image

import render
from data.synthetic.patterns import patterns
from data.transforms import to_tensor, to_uint8
from vae import checkpoint
from vae.generator import prior_latents, seeded_latents
from vae.inference import decode_all, encode_means
from vae.latent import route
from vae.latent.keyframes import parse_keyframe
from vae.model.likelihoods import LikelihoodName
from vae.model.vae import VAE
from vae.render import models
from vae.render.formats.format import FORMATS
from vae.render.models import SHIPPED, default_checkpoint
from vae.render.report import PathNumbers

LINES = SHIPPED.with_name("lines.ckpt")
SUFFIXES = [*FORMATS, ""]


load_once = cache(checkpoint.load_vae)


@pytest.fixture
def shot(run: Run, tmp_path: Path, monkeypatch):
    """Renders from the trained checkpoint into an empty folder, and returns the file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "load_vae", load_once)

    def take(command: str, out: str, *words: str) -> Path:
        source = str(run.checkpoints / "last.ckpt")
        render.main([command, "--checkpoint", source, "--size=32", "--out", out, *words])
        return tmp_path / out

    return take


def frames_of(path: Path) -> tuple[list[np.ndarray], float]:
    """The frames of an animation and its duration in seconds."""
    if path.is_dir():
        files = sorted(path.iterdir())
        return [iio.imread(file) for file in files], float("nan")
    if path.suffix in VIDEO:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            return frames, len(frames) / float(container.streams.video[0].average_rate)
    with Image.open(path) as image:
        frames, duration = [], 0.0
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            frames.append(np.asarray(image.convert("RGB")))
            duration += image.info["duration"] / 1000
    return frames, duration


COMMANDS = {
    "linear": (["--frames=9"], 9),
    "slerp": (["--frames=5", "--count=3"], 9),
    "loop": (["--frames=3", "--count=4"], 12),
    "compare": (["--frames=9", "--paths", "slerp", "linear", "spline"], 9),
}
USUAL = {("slerp", suffix) for suffix in SUFFIXES} | {(command, ".gif") for command in COMMANDS}


@pytest.mark.parametrize(
    ("command", "suffix"),
    [
        pytest.param(*case, id=" ".join(case), marks=[] if case in USUAL else [pytest.mark.slow])
        for case in product(COMMANDS, SUFFIXES)
    ],
)
def test_every_command_writes_every_format(shot, command, suffix):
    words, count = COMMANDS[command]
    frames, duration = frames_of(shot(command, f"morph{suffix}", "--fps=12", "--easing=linear", *words))
    assert len(frames) == count
    assert suffix == "" or duration == pytest.approx(count / 12, abs=0.011)
    height, width, _ = frames[0].shape
    assert width == (32 if command != "compare" else 64)
    assert height == 32 if command != "compare" else height > 64
    assert not np.array_equal(frames[0], frames[-1])


def test_paths_start_and_end_at_their_keyframes(run: Run, shot):
    vae = load_once(run.checkpoints / "last.ckpt")
    keyframes = prior_latents(vae, 5, 2)
    with torch.inference_mode():
        expected = ((vae.decode(keyframes) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    for command in ("linear", "slerp"):
        frames, _ = frames_of(shot(command, command, "--seed=5", "--frames=6"))
        assert abs(frames[0].astype(int) - expected[0]).max() <= 1
        assert abs(frames[-1].astype(int) - expected[1]).max() <= 1


@pytest.mark.parametrize("easing", ["linear", "cubic-bezier(0.1,0.2,0.3,0.4)"])
def test_a_loop_has_no_duplicate_frame_and_no_seam(run: Run, shot, easing):
    frames, _ = frames_of(shot("loop", "frames.png", "--count=4", "--frames=15", f"--easing={easing}", "--size=64"))
    assert len(frames) == 60
    assert len({frame.tobytes() for frame in frames}) == 60
    if easing == "linear":
        cyclic = [*frames, frames[0]]
        steps = [np.abs(b.astype(float) - a).mean() for a, b in pairwise(cyclic)]
        assert steps[-1] < 3 * np.median(steps)


@pytest.mark.parametrize(
    "suffix",
    [pytest.param(suffix, marks=[] if suffix in ("", ".gif", ".mp4") else pytest.mark.slow) for suffix in SUFFIXES],
)
def test_the_same_seed_gives_the_same_bytes(shot, suffix):
    def content(out: str, seed: int) -> bytes:
        path = shot("slerp", out + suffix, "--frames=3", f"--seed={seed}")
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return b"".join(file.read_bytes() for file in files)

    assert content("a", 1) == content("b", 1) != content("c", 2)


def test_a_frame_does_not_depend_on_how_many_there_are(shot):
    few, _ = frames_of(shot("linear", "few", "--frames=5", "--easing=linear"))
    many, _ = frames_of(shot("linear", "many.png", "--frames=21", "--easing=linear"))
    for index, frame in enumerate(few):
        assert np.array_equal(frame, many[5 * index])


def test_more_keyframes_do_not_change_the_first():
    assert torch.equal(seeded_latents(3, 5, 16)[:2], seeded_latents(3, 2, 16))


def test_keyframes_are_seeds_and_pictures_which_the_plain_model_draws_as_it_can(run: Run, shot, tmp_path):
    scene(1).save(tmp_path / "cat.png")
    scene(2).convert("CMYK").save(tmp_path / "dog.jpg")
    frames, _ = frames_of(
        shot("slerp", "morph", "--keyframes", "cat.png", "7", "dog.jpg", "--frames=4", "--pace=latent", "--tune=0")
    )
    vae = load_once(run.checkpoints / "last.ckpt")
    with torch.inference_mode():
        z = torch.stack([parse_keyframe(vae, str(tmp_path / "cat.png")).z, prior_latents(vae, 7, 1)[0]])
        expected = ((vae.decode(z) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert abs(frames[0].astype(int) - expected[0]).max() <= 1
    assert abs(frames[3].astype(int) - expected[1]).max() <= 1
    assert len(frames) == 7


def test_latents_far_beyond_the_prior_are_refused(shot, tmp_path):
    np.savez(tmp_path / "far.npz", latents=np.full((2, 4), 1e30, np.float32))
    with pytest.raises(SystemExit):
        shot("slerp", "far.gif", "--keyframes", "far.npz:0", "3")
    assert not (tmp_path / "far.gif").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes among its files")
def test_keyframes_that_could_wait_for_ever_are_not_opened(tmp_path, one_line_error, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pipe.png", "pipe.npz"):
        os.mkfifo(name)
        assert name in one_line_error(render.main, "slerp", f"--checkpoint={LINES}", "--keyframes", name, "3")


@pytest.mark.parametrize("path", ["slerp", pytest.param("route", marks=pytest.mark.slow)])
def test_flat_pictures_have_no_sharpness_to_lose(shot, tmp_path, path):
    for name, colour in (("red", "#c01010"), ("blue", "#1010c0")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{name}.png")
    words = ["--keyframes", "red.png", "blue.png", "--frames=5", "--report=r.json"]
    shot(path, "flat.gif", *words)
    (found,) = json.loads((tmp_path / "r.json").read_text())["trajectories"].values()
    assert found["sharp_mid"] is None
    assert found["cycle"] < 1000


def test_nearest_keeps_hard_pixels_and_odd_sizes_work(shot):
    (frame, *_), _ = frames_of(shot("linear", "big", "--size=96", "--resample=nearest", "--frames=2"))
    assert np.array_equal(frame, frame[::3, ::3].repeat(3, 0).repeat(3, 1))
    (frame, *_), _ = frames_of(shot("linear", "odd.mp4", "--size=45", "--frames=3"))
    assert frame.shape == (46, 46, 3)


@pytest.mark.parametrize("pace", ["latent", pytest.param("image", marks=pytest.mark.slow)])
def test_compare_shows_its_paths_in_step_with_a_mark_that_moves(shot, pace, capsys):
    words = ["--frames=5", "--seed=3", f"--pace={pace}"]
    both, _ = frames_of(shot("compare", "both", *words, "--paths", "slerp", "linear"))
    above, _ = frames_of(shot("slerp", "above", *words))
    below, _ = frames_of(shot("linear", "below", *words))
    tile = 32 + 20
    charts = [frame[2 * tile :] for frame in both]
    assert len({chart.tobytes() for chart in charts}) == 5
    for k in (0, -1):
        assert np.array_equal(both[k][:32], above[k])
        assert np.array_equal(both[k][tile : tile + 32], below[k])
    if pace == "latent":
        assert all(np.array_equal(frame[:32], alone) for frame, alone in zip(both, above, strict=True))
    told = capsys.readouterr().out
    assert re.search(r"^slerp +\d", told, re.MULTILINE)
    assert "sharp_mid" in told


def test_compare_takes_several_checkpoints(run: Run, shot, capsys):
    best = str(run.checkpoints / "best.ckpt")
    last = str(run.checkpoints / "last.ckpt")
    words = ["--frames=2", "--pace=latent", "--checkpoint", best, last, "--paths", "linear", "slerp", "spline"]
    frames, _ = frames_of(shot("compare", "rows", *words))
    assert frames[0].shape[1] == 3 * 32, "a row for each checkpoint"
    capsys.readouterr()
    frames, _ = frames_of(shot("compare", "two", "--frames=3", "--pace=latent", "--checkpoint", best, last))
    assert len(frames) == 3
    assert {"best.ckpt", "last.ckpt"} <= {line.split(" ")[0] for line in capsys.readouterr().out.splitlines()}


def test_a_route_tells_which_stretches_it_bent_and_reports_its_numbers(shot, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(route, "_ITERATIONS", 3)
    frames, _ = frames_of(shot("route", "way", "--frames=9", "--report=numbers.json"))
    assert len(frames) == 9
    assert re.search(r"bent \d of 1 stretches", capsys.readouterr().out)
    content = json.loads((tmp_path / "numbers.json").read_text())
    assert tuple(content["trajectories"]["route"]) == PathNumbers._fields
    assert len(content["bent"]["route"]) == 1
    assert content["frames"] == 9
    assert content["seams"] == []
    assert content["easing"] == "ease-in-out"
    assert content["options"]["size"] == 32
    assert Path(content["options"]["checkpoint"][0]).name == "last.ckpt"


@pytest.mark.parametrize("words", [[], ["--style=circle"], ["--style=noise", "--count=6"]], ids=str)
def test_a_loop_proves_that_it_closes(shot, capsys, words):
    frames, _ = frames_of(shot("loop", "round.png", "--frames=6", "--size=64", *words))
    told = re.search(r"is (\d+\.\d+) of the median step; (\d+) frames shown twice", capsys.readouterr().out)
    assert told
    assert 0.5 < float(told[1]) < 2
    assert int(told[2]) == 0
    steps = [np.abs(b.astype(float) - a).mean() for a, b in pairwise([*frames, frames[0]])]
    assert steps[-1] < 2.5 * np.median(steps)


def test_frames_rest_on_keyframes(shot):
    _, duration = frames_of(shot("linear", "rest.gif", "--frames=4", "--count=3", "--hold=5", "--fps=10"))
    assert duration == pytest.approx((7 + 3 * 5) / 10)
    folder, _ = frames_of(shot("linear", "rest", "--frames=4", "--count=3", "--hold=5"))
    assert len(folder) == 22
    assert all(np.array_equal(folder[0], frame) for frame in folder[:6])
    assert not np.array_equal(folder[5], folder[6])


def test_saved_latents_come_back_as_keyframes(shot):
    way, _ = frames_of(shot("slerp", "way", "--frames=5", "--seed=4", "--save-latents=walk.npz"))
    again, _ = frames_of(shot("slerp", "again", "--frames=2", "--keyframes", "walk.npz:2", "walk.npz:-1"))
    assert np.array_equal(again[0], way[2])
    assert np.array_equal(again[1], way[4])


def test_a_grid_shows_walks_of_their_own_in_step(shot):
    frames, _ = frames_of(shot("slerp", "tiles", "--grid=3x2", "--frames=4", "--pace=latent"))
    assert frames[0].shape == (64, 96, 3)
    tiles = [frames[0][y : y + 32, x : x + 32].tobytes() for y in (0, 32) for x in (0, 32, 64)]
    assert len(set(tiles)) == 6
    alone, _ = frames_of(shot("slerp", "alone", "--frames=4", "--pace=latent"))
    assert all(np.array_equal(frame[:32, :32], one) for frame, one in zip(frames, alone, strict=True))


def test_truncation_moves_seeds_towards_the_mean(shot, run: Run):
    mean = load_once(run.checkpoints / "last.ckpt").decode(torch.zeros(1, 4))
    expected = to_uint8(mean)[0].numpy()
    (frame, *_), _ = frames_of(shot("slerp", "mean", "--truncation=0", "--frames=2"))
    assert abs(frame.astype(int) - expected).max() <= 1


def test_stills_of_latents_and_of_the_prior(shot, capsys):
    sheet = iio.imread(shot("traverse", "traverse.png", "--steps=5", "--rows=3"))
    assert sheet.shape[1] == 5 * 32
    assert sheet.shape[0] == 3 * (32 + 20)
    assert "3 latents" in capsys.readouterr().out
    assert iio.imread(shot("samples", "samples.png", "--grid=4x3")).shape == (96, 128, 3)


def test_a_strip_shows_several_paths_below_each_other(shot):
    sheet = iio.imread(shot("strip", "paths.png", "--steps=5", "--paths", "slerp", "linear"))
    slerp, linear = sheet[:32], sheet[len(sheet) // 2 :][:32]
    assert np.array_equal(slerp[:, :32], linear[:, :32])
    assert not np.array_equal(slerp[:, 64:96], linear[:, 64:96])
    assert np.array_equal(slerp, iio.imread(shot("strip", "slerp.png", "--steps=5"))[:32])


def test_inactive_latents_are_left_out_of_a_traverse(tmp_path, capsys):
    out = tmp_path / "lines.png"
    render.main(["traverse", f"--checkpoint={LINES}", "--size=32", "--steps=2", "--rows=8", f"--out={out}"])
    assert iio.imread(out).shape[0] < 4 * (32 + 20)
    assert re.search(r"2 latents \(nats: z\d.*\); the others do nothing", capsys.readouterr().out)


def test_a_frame_that_rests_is_drawn_once_and_shown_long(shot):
    frames, duration = frames_of(shot("slerp", "rest.gif", "--frames=3", "--hold=20", "--fps=10", "--pace=latent"))
    assert len(frames) == 3
    assert duration == pytest.approx(4.3)


def test_a_strip_has_as_many_captioned_pictures_as_steps(shot):
    steps = 8
    strip = iio.imread(shot("strip", "strip.png", f"--steps={steps}"))
    assert strip.shape[1] == 32 * steps
    assert strip.shape[0] > 32
    captions = strip[34:]
    assert captions.max() == 255
    for step in range(steps):
        assert captions[:, 32 * step : 32 * (step + 1)].min() < 120


def test_no_arguments_run_the_four_commands_on_the_newest_training(run: Run, monkeypatch, capsys):
    monkeypatch.chdir(run.root)
    monkeypatch.setattr(
        "vae.render.cli.main.run_command", lambda command, arguments: print(command) or Path(f"renders/{command}.gif")
    )
    render.main([])
    assert capsys.readouterr().out.splitlines()[:4] == ["linear", "slerp", "loop", "compare"]
    assert default_checkpoint() == Path("checkpoints/pictures/version_0/last.ckpt")


def test_without_any_training_the_shipped_checkpoint_is_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    render.main(["samples", "--grid=1x1", "--size=16", "--out=one.png"])
    assert str(SHIPPED) in capsys.readouterr().out.splitlines()[0]


def test_the_shipped_checkpoint_is_small_and_plain():
    assert SHIPPED.stat().st_size < 10_000_000
    content = torch.load(SHIPPED, weights_only=True)
    assert content.keys() <= {
        "state_dict", "hyper_parameters", "datamodule_hyper_parameters", "pytorch-lightning_version",
    }  # fmt: skip
    assert (checkpoint.load_vae(SHIPPED).image_size, content["state_dict"] != {}) == (64, True)


def test_the_shipped_checkpoint_draws_fresh_patterns_again():
    x = to_tensor(patterns(123, torch.arange(128), 64))
    vae = checkpoint.load_vae(SHIPPED)
    assert (decode_all(vae, encode_means(vae, x)) - x).square().mean().sqrt() < 0.08


@pytest.fixture
def errors(tmp_path_factory):
    """What the program says on standard error, and what it imports, which is more than a pipe holds."""
    return tmp_path_factory.mktemp("told") / "errors"


@pytest.fixture
def program(run: Run, tmp_path, errors):
    """Starts the renderer as a program of its own, with an animation that takes long."""
    words = ["linear", "--checkpoint", str(run.checkpoints / "last.ckpt"), "--frames=60000", "--pace=latent"]
    file = errors.open("w")
    started = subprocess.Popen(
        [sys.executable, "-X", "importtime", render.__file__, *words, "--out=long.gif"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=file,
        text=True,
        preexec_fn=heed,
    )
    file.close()
    yield started
    started.kill()
    started.wait()
    started.stdout.close()


def check_imported(found: set[str]) -> None:
    """What only trainings need is not in it, nor torch's compiler.

    Importing that takes longer than all the rest, and Ctrl-C within it is an abort.
    """
    assert "vae.model.vae" in found
    assert not found & {"lightning", "pytorch_lightning", "torchvision", "tensorboard"}
    assert not found & {"onnx", "onnxscript", "onnxruntime", "safetensors", "IPython"}
    assert not found & {"torch._dynamo", "torch._inductor", "sympy", "triton"}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
        (signal.SIGINT, 130),
    ],
)
def test_who_is_told_to_stop_leaves_nothing_behind_and_what_only_trainings_need_is_not_imported(
    program, errors, tmp_path, sent, code
):
    while not list(tmp_path.iterdir()):
        time.sleep(0.05)
        assert program.poll() is None
    program.send_signal(sent)
    program.communicate(timeout=60)
    told = errors.read_text()
    assert program.returncode == code
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []
    check_imported(set(re.findall(r"^import time:.*\| *(\S+)$", told, re.MULTILINE)))


@pytest.mark.slow
def test_a_reader_who_leaves_early_is_no_fault(program, errors):
    program.stdout.close()
    assert program.wait(120) == 1
    assert not [line for line in errors.read_text().splitlines() if not line.startswith("import time:")]


def imported_by(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(sorted(sys.modules))"
    here = Path(render.__file__).parent
    done = subprocess.run([sys.executable, "-c", script], cwd=here, capture_output=True, text=True, check=True)
    return set(ast.literal_eval(done.stdout))


@pytest.mark.slow
def test_the_renderer_loads_a_checkpoint_without_what_only_trainings_need_and_without_the_compiler(tmp_path):
    for likelihood in get_args(LikelihoodName):
        options = {
            "image_size": 32,
            "width": 8,
            "latent_dim": 4,
            "palette": 2,
            "likelihood": likelihood,
            "prior": "flow",
        }
        weights = {"vae." + name: weight for name, weight in VAE(**options).state_dict().items()}
        torch.save(
            {"format": checkpoint.FORMAT, "state_dict": weights, "hyper_parameters": options},
            tmp_path / f"{likelihood}.ckpt",
        )
    paths = [str(path) for path in tmp_path.glob("*.ckpt")]
    found = imported_by(f"import render; from vae.checkpoint import load_vae; [load_vae(path) for path in {paths!r}]")
    check_imported(found)


@pytest.mark.slow
def test_the_check_of_imports_can_fail():
    found = imported_by("import vae.model.vae, torch._dynamo")
    assert {"torch._dynamo", "sympy"} <= found
    with pytest.raises(AssertionError):
        check_imported(found)


@pytest.mark.parametrize("command", ["slerp", "compare", "lines"])
def test_a_device_that_is_not_there_is_refused(command, one_line_error, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("vae.render.cli.commands.echo", pytest.fail)  # nothing is announced that will not come
    line = one_line_error(render.main, command, f"--checkpoint={LINES}", "--device=cuda")
    assert line == "render.py: --device cuda: there is none that torch can use; leave it out, or take --device cpu"


def test_help_texts_are_the_docstrings(capsys):
    with pytest.raises(SystemExit):
        render.main(["linear", "--help", "all"])
    told = " ".join(capsys.readouterr().out.split())
    assert "whose suffix picks the format" in told
    assert "frames from one keyframe to the next" in told


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (["spline", "--count=3", "--durations", "0.4", "0.9"], 1.3),
        (["slerp", "--grid=2x1", "--count=3", "--durations", "0.4", "0.9", "--hold=1"], 1.6),
        (["loop", "--style=circle", "--durations", "0.2", "0.3", "0.2", "0.5"], 1.2),
        (["loop", "--style=noise", "--durations", "0.2", "0.3", "0.2", "0.5", "--max-size=9MB"], 1.2),
        (["compare", "--paths", "linear", "slerp", "--durations", "1"], 1),
    ],
    ids=["path", "grid", "circle", "noise", "comparison"],
)
def test_a_film_lasts_the_seconds_of_its_stretches(shot, words, seconds):
    command, *more = words
    frames, lasted = frames_of(shot(command, "film.gif", "--fps=10", *more))
    assert lasted == pytest.approx(seconds + 0.1 * (command != "loop"), abs=0.011)
    assert len(frames) <= round(10 * lasted)
