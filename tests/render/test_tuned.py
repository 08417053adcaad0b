"""Keyframes that are pictures are shown as they were given, by every command."""

import json
import re
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import Run, scene
from PIL import Image

import render
import train
from data.image_files.reader import read_picture
from data.system.errors import UserError
from data.transforms import to_tensor
from vae import checkpoint
from vae.generator import prior_latents, seeded_latents
from vae.inference import decode_all, decode_batches
from vae.latent.keyframes import latents_of, parse_keyframe
from vae.latent.paths import slerp
from vae.metrics.perceptual import visible_change
from vae.onnx_generator import OnnxGenerator
from vae.render.formats.frame import resize
from vae.render.frames import render_frames
from vae.render.models import SHIPPED, SHIPPED_FOR_PICTURES, default_checkpoint
from vae.render.notebook import morph
from vae.tuning import keyframe_tuning
from vae.tuning.keyframe_tuning import tuned_to_pictures
from vae.tuning.pivotal import parse_budget

NAMES = ("cat.png", "dog.png", "cow.png", "fox.png")
TOLD = r"tuned to (a picture|\d pictures): (\d+\.\d) dB, \d+ s"


@pytest.fixture
def words(run: Run, tmp_path: Path, monkeypatch) -> list[str]:
    """Options of a command in a folder of four pictures."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        scene(number).resize((32, 32)).save(name)
    return ["--checkpoint", str(run.checkpoints / "last.ckpt"), "--tune=120"]


def decibels(frame: np.ndarray, picture: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((frame.astype(float) - picture) ** 2))


def given(name: str) -> np.ndarray:
    return np.asarray(Image.open(name).convert("RGB"))


def shown(folder: str) -> list[np.ndarray]:
    return [iio.imread(file) for file in sorted(Path(folder).iterdir())]


@pytest.mark.parametrize("command", ["linear", "slerp", "spline", pytest.param("route", marks=pytest.mark.slow)])
def test_a_path_begins_and_ends_with_the_pictures(words, command, capsys):
    paced = ["--size=32", "--frames=4", "--pace=latent"]
    render.main([command, *words, *paced, "--out=film", "--keyframes", *NAMES[:3], "--report=r.json"])
    printed = capsys.readouterr().out
    frames = shown("film")
    for k in range(3):
        assert np.array_equal(frames[3 * k], given(NAMES[k]))
    (numbers,) = json.loads(Path("r.json").read_text())["trajectories"].values()
    assert numbers["end_psnr"] > 20
    assert float(re.search(TOLD, printed)[2]) == pytest.approx(numbers["end_psnr"], abs=0.3)
    render.main([command, *words, *paced, "--out=plain", "--keyframes", *NAMES[:3], "--tune=0"])
    printed, plain = capsys.readouterr().out, shown("plain")
    assert "tuned" not in printed
    assert re.search(r"draws the picture of keyframe [123] at \d+\.\d dB only: leave out --tune 0", printed)
    assert max(decibels(plain[3 * k], given(NAMES[k])) for k in range(3)) < numbers["end_psnr"]


@pytest.mark.parametrize("style", ["keyframes", "circle"])
def test_a_loop_visits_the_pictures(words, style):
    keyframes = NAMES if style == "keyframes" else NAMES[:2]
    options = ["--size=32", "--frames=2", "--pace=latent", f"--style={style}", "--out=film"]
    render.main(["loop", *words, *options, "--keyframes", *keyframes])
    frames = shown("film")
    assert len(frames) == 8
    if style == "circle":
        assert decibels(frames[0], given("cat.png")) > 20
    else:
        assert all(np.array_equal(frames[2 * k], given(name)) for k, name in enumerate(NAMES))


def test_seeds_among_pictures_stay_what_they_were(words, run: Run):
    options = ["--frames=4", "--pace=latent", "--out=film"]
    render.main(["slerp", *words, *options, "--size=64", "--keyframes", "cat.png", "7", "dog.png"])
    assert len(shown("film")) == 7
    render.main(["slerp", *words, *options, "--size=32", "--keyframes", "cat.png", "7", "dog.png"])
    vae = checkpoint.load_vae(run.checkpoints / "last.ckpt")
    (before,) = decode_all(vae, prior_latents(vae, 7, 1)).permute(0, 2, 3, 1).numpy()
    assert decibels(shown("film")[3], (before + 1) * 127.5) > 28


@pytest.mark.slow
def test_stills_comparisons_and_the_pad_show_the_pictures(words, capsys):
    size = ["--size=32"]
    render.main(["strip", *words, *size, "--steps=3", "--out=strip.png", "--keyframes", *NAMES[:2]])
    strip = iio.imread("strip.png")
    assert np.array_equal(strip[:32, :32], given("cat.png"))
    assert np.array_equal(strip[:32, -32:], given("dog.png"))
    render.main(["traverse", *words, *size, "--steps=3", "--rows=1", "--out=traverse.png", "--keyframes", "cat.png"])
    render.main(["explore", *words, "--sets=2", "--out=pad.html", "--keyframes", *NAMES])
    paths = ["--paths", "slerp", "linear"]
    render.main(["compare", *words, *size, *paths, "--frames=3", "--out=film", "--keyframes", *NAMES[:2]])
    printed = capsys.readouterr().out
    assert [found[0] for found in re.findall(TOLD, printed)] == ["2 pictures", "a picture", "4 pictures", "2 pictures"]
    assert np.array_equal(shown("film")[0][:32, :32], given("cat.png"))
    traverse = iio.imread("traverse.png")
    assert traverse.shape[1] == 3 * 32
    assert "end_psnr" in printed


@pytest.mark.parametrize("resample", ["lanczos", "nearest"])
@pytest.mark.parametrize("side", [16, 75, 128])
def test_pictures_are_shown_exactly_at_any_size_and_half_way_nothing_of_them_is_added(words, side, resample, run: Run):
    noise = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    for name, picture in zip(NAMES, noise, strict=False):
        Image.fromarray(picture).save(name)
    size = [f"--size={side}", f"--resample={resample}", "--tune=5", "--frames=5", "--pace=latent", "--easing=linear"]
    for between in ("pictures", "model"):
        render.main(["slerp", *words, *size, f"--between={between}", "--out=film", "--keyframes", *NAMES[:2]])
        frames = shown("film")
        for frame, name in ((frames[0], "cat.png"), (frames[-1], "dog.png")):
            assert np.array_equal(frame, read_picture(Path(name), side, 3))
    vae = checkpoint.load_vae(run.checkpoints / "last.ckpt")
    named = [parse_keyframe(vae, name) for name in NAMES[:2]]
    copied = tuned_to_pictures(vae, named, parse_budget("5"))
    (middle,) = render_frames(decode_batches(copied, slerp(latents_of(named), torch.tensor([0.5]))))
    assert np.array_equal(frames[2], resize(middle, side, resample))


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_pictures_that_are_not_square_are_shown_whole_at_any_size(words, fit):
    for name, size in zip(NAMES, ((90, 30), (50, 80)), strict=False):
        scene(len(name) + size[0], *size).save(name)
    options = [f"--fit={fit}", "--tune=5", "--frames=3", "--out=film", "--keyframes", *NAMES[:2]]
    for command, side, between in (("slerp", 32, "pictures"), ("slerp", 75, "pictures"), ("compare", 48, "model")):
        paths = ["--paths=slerp"] * (command == "compare")
        render.main([command, *words, f"--size={side}", f"--between={between}", *paths, *options])
        frames = shown("film")
        for frame, name in ((frames[0], "cat.png"), (frames[-1], "dog.png")):
            expected = read_picture(Path(name), side, 3, fit=fit)
            assert np.array_equal(frame[:side, :side], expected), (command, side)
            assert not np.array_equal(expected, read_picture(Path(name), side, 3))
    vae = checkpoint.load_vae(Path(words[1]))
    first = next(morph(vae, NAMES[:2], frames=3, tune=5, fit=fit))
    assert np.array_equal(first, read_picture(Path("cat.png"), 32, 3, fit=fit))
    pages = []
    for chosen in ("crop", fit):
        page = ["--tune=5", "--sets=1", "--out=a.html", f"--fit={chosen}", "--keyframes", *NAMES]
        render.main(["explore", *words, *page])
        pages.append(Path("a.html").read_bytes())
    assert pages[0] != pages[1]


def test_hard_pixels_are_moved_whole_at_the_models_size(words):
    for name, place in (("left.png", 6), ("right.png", 14)):
        pixels = np.full((32, 32, 3), 255, np.uint8)
        pixels[8:24, place : place + 12] = 0
        Image.fromarray(pixels).save(name)
    options = ["--pace=latent", "--easing=linear", "--frames=8", "--resample=nearest", "--size=32"]
    render.main(["slerp", *words, *options, "--out=film", "--keyframes", "left.png", "right.png"])
    first, second, *_ = shown("film")
    assert set(np.unique(second)) == {0, 255}
    assert not np.array_equal(first, second)


def test_an_interrupted_tuning_leaves_nothing(words, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(keyframe_tuning, "tune", interrupted)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        render.main(["slerp", *words, "--out=film.gif", "--report=r.json", "--keyframes", *NAMES[:2]])
    assert sorted(path.name for path in Path().iterdir()) == sorted(NAMES)


def test_a_budget_is_checked_before_any_work(words, one_line_error):
    for command in ("slerp", "strip", "explore"):
        keyframes = ["--keyframes", *NAMES] if command == "explore" else ["--keyframes", *NAMES[:2]]
        assert "tune" in one_line_error(render.main, command, *words, "--tune=-3", *keyframes)
    assert sorted(path.name for path in Path().iterdir()) == sorted(NAMES)


def test_without_a_training_the_shipped_model_of_pictures_draws_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in NAMES[:2]:
        scene(len(name)).save(name)
    render.main(["strip", "--steps=2", "--size=64", "--tune=2", "--out=a.png", "--keyframes", *NAMES[:2]])
    assert str(SHIPPED_FOR_PICTURES) in capsys.readouterr().out.splitlines()[0]


def test_from_python_pictures_are_shown_as_they_were_given(words):
    vae = checkpoint.load_vae(Path(words[1]))
    frames = list(morph(vae, [Path("cat.png"), "7", "dog.png"], frames=3, tune=120))
    assert len(frames) == 5
    assert np.array_equal(frames[0], given("cat.png"))
    assert np.array_equal(frames[-1], given("dog.png"))
    for wrong in ([], "cat.png", Path("cat.png"), iter(["cat.png"])):
        with pytest.raises(UserError, match=r"0 keyframes:|1 keyframe:"):
            morph(vae, wrong)
    with pytest.raises(UserError, match="must be latents as one tensor"):
        morph(vae, [np.zeros(4), np.zeros(4)])


def test_a_picture_beside_its_own_latent_is_shown_exactly(words):
    options = ["--size=32", "--frames=3", "--pace=latent"]
    render.main(["slerp", *words, *options, "--tune=0", "--save-latents=w.npz", "--keyframes", *NAMES[:2]])
    render.main(["slerp", *words, *options, "--out=film", "--keyframes", "cat.png", "w.npz:0", "3"])
    assert np.array_equal(shown("film")[0], given("cat.png"))


def test_what_cannot_be_is_refused_before_tuning(words, one_line_error, monkeypatch):
    monkeypatch.setattr(keyframe_tuning, "tune", None)
    assert "alike" in one_line_error(render.main, "loop", "--style=circle", *words, "--keyframes", *["cat.png"] * 2)
    assert "through two" in one_line_error(render.main, "loop", "--style=circle", *words, "--keyframes", *NAMES[:3])
    assert "GB" in one_line_error(render.main, "strip", *words, "--steps=64", "--size=4096", "--keyframes", *NAMES[:2])


def test_saved_latents_are_drawn_by_the_model_that_they_are_of_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_checkpoint(["cat.png", "3"]) == SHIPPED_FOR_PICTURES
    assert default_checkpoint(["cat.png", "walk.npz:3"]) == default_checkpoint(["3"]) == SHIPPED


def test_a_fitted_model_is_kept_and_starts_at_once(words, monkeypatch, capsys):
    render.main(["slerp", *words, "--size=32", "--frames=3", "--out=first", "--keyframes", *NAMES[:2]])
    monkeypatch.setattr(keyframe_tuning, "tune", None)
    render.main(["slerp", *words, "--size=32", "--frames=3", "--out=again", "--keyframes", *NAMES[:2]])
    once, again = re.findall(TOLD, capsys.readouterr().out)
    assert once == again
    assert all(np.array_equal(*frames) for frames in zip(shown("first"), shown("again"), strict=True))
    for other in (["--tune=121"], ["--keyframes", *NAMES[1:3]]):
        with pytest.raises(TypeError):
            render.main(["slerp", *words, "--size=32", "--frames=3", "--keyframes", *NAMES[:2], *other])


@pytest.mark.slow
def test_the_cache_keeps_few_models_and_a_broken_one_is_made_anew(words, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(keyframe_tuning, "CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(keyframe_tuning, "_KEPT", 2)
    for steps in (1, 2, 3):
        render.main(["strip", *words, f"--tune={steps}", "--out=a.png", "--keyframes", *NAMES[:2]])
    assert len(list((tmp_path / "kept").iterdir())) == 2
    for file in (tmp_path / "kept").iterdir():
        file.write_bytes(b"broken")
    render.main(["strip", *words, "--tune=3", "--out=a.png", "--keyframes", *NAMES[:2]])
    assert len(re.findall(TOLD, capsys.readouterr().out)) == 4
    assert max(file.stat().st_size for file in (tmp_path / "kept").iterdir()) > 10_000


@pytest.mark.slow
def test_a_fitted_model_is_a_checkpoint_for_every_command(words, tmp_path, monkeypatch, capsys, one_line_error):
    film = ["--frames=3", "--size=32", "--pace=latent", "--between=model"]
    render.main(["slerp", *words, *film, "--out=one", "--save-tuned=film.ckpt", "--keyframes", *NAMES[:2]])
    monkeypatch.setattr(keyframe_tuning, "tune", None)
    named = ["--checkpoint=film.ckpt"]
    render.main(["slerp", *named, *film, "--out=other", "--keyframes", *NAMES[:2]])
    assert all(np.array_equal(*frames) for frames in zip(shown("one"), shown("other"), strict=True))
    render.main(["samples", *named, "--out=samples.png", "--size=32"])
    render.main(["export", *named, "--out=film.onnx"])
    vae = checkpoint.load_vae("film.ckpt")
    z = latents_of([parse_keyframe(vae, name) for name in NAMES[:2]])
    network = OnnxGenerator(Path("film.onnx"))
    for latents in (z, seeded_latents(0, 3, vae.latent_dim)):
        assert torch.allclose(decode_all(network, latents), decode_all(vae, latents), atol=1e-4)
    render.main(["slerp", *named, *film, "--out=plain", "--tune=0", "--keyframes", *NAMES[:2]])
    assert 20 < decibels(shown("plain")[0], given("cat.png")) < 60, "as it draws it, without the picture's detail"
    render.main(["slerp", *named, *film[:3], "--out=seeds", "--keyframes", "1", "2"])
    render.main(["slerp", *named, *film, "--out=model", "--keyframes", "1", "2"])
    assert all(np.array_equal(*frames) for frames in zip(shown("seeds"), shown("model"), strict=True))
    assert torch.load("film.ckpt", weights_only=True)["format"] == 4
    assert "fitted to pictures" in one_line_error(train.main, "fit", "--ckpt_path=film.ckpt")


def test_nothing_is_saved_where_no_model_is_fitted(words, one_line_error):
    save = ["--save-tuned=film.ckpt"]
    for more in (["--keyframes", "1", "2"], ["--keyframes", *NAMES[:2], "--tune=0"], ["--seed=3"]):
        assert "leave --save-tuned out" in one_line_error(render.main, "slerp", *words, *save, *more)
    assert "film.ckpt" in one_line_error(
        render.main, "slerp", *words, "--save-tuned=film.pth", "--keyframes", *NAMES[:2]
    )
    assert sorted(path.name for path in Path().iterdir()) == sorted(NAMES)


def test_a_fitted_model_with_another_basis_is_refused(words, one_line_error):
    render.main(["strip", *words, "--out=a.png", "--save-tuned=film.ckpt", "--keyframes", *NAMES[:2]])
    content = torch.load("film.ckpt", weights_only=True)
    for basis in (None, torch.zeros(3), torch.zeros(8, 10**6), torch.full((8, 2), torch.nan)):
        content["state_dict"]["vae.decoder.basis"] = basis
        torch.save(content, "bad.ckpt")
        assert "bad.ckpt" in one_line_error(render.main, "samples", "--checkpoint=bad.ckpt")


def test_no_other_checkpoint_is_lost(words, run: Run, one_line_error):
    own = Path("own.ckpt")
    own.write_bytes((run.checkpoints / "last.ckpt").read_bytes())
    before = own.read_bytes()
    told = one_line_error(
        render.main, "slerp", "--checkpoint=own.ckpt", "--save-tuned=own.ckpt", "--keyframes", *NAMES[:2]
    )
    assert "own.ckpt: is a checkpoint that would be lost" in told
    assert own.read_bytes() == before


def test_a_model_that_was_fitted_to_other_pictures_or_less_exactly_is_fitted_again(words, capsys):
    size = ["--size=32", "--steps=2", "--out=a.png", "--keyframes"]
    render.main(["strip", *words[:2], "--tune=1", "--save-tuned=film.ckpt", *size, *NAMES[:2]])
    render.main(["strip", "--checkpoint=film.ckpt", "--tune=60", *size, *NAMES[:2]])
    render.main(["strip", "--checkpoint=film.ckpt", "--tune=60", *size, *NAMES[2:]])
    first, again, other = (float(found[1]) for found in re.findall(TOLD, capsys.readouterr().out))
    assert again > first + 3
    assert other > first + 3


@pytest.mark.slow
def test_a_fitted_model_is_more_than_a_plain_one_in_python_and_in_trainings(words, run: Run, capsys, one_line_error):
    render.main(["strip", *words, "--out=a.png", "--save-tuned=film.ckpt", "--keyframes", *NAMES[:2]])
    render.main(["export", "--checkpoint=film.ckpt", "--out=film.pth"])
    assert "load_vae" in capsys.readouterr().out.splitlines()[-1]
    assert "fitted to pictures" in one_line_error(train.main, "validate", "--ckpt_path=film.ckpt")
    random = [word for word in run.arguments() if "default_root_dir" not in word]
    train.main([*random, "--init=film.ckpt", "--trainer.default_root_dir=."])
    assert "do not fit" not in capsys.readouterr().out


def test_latents_in_python_are_checked(run: Run):
    vae = checkpoint.load_vae(run.checkpoints / "last.ckpt")
    for count, told in enumerate(("0 keyframes:", "1 keyframe:")):
        with pytest.raises(UserError, match=told):
            morph(vae, torch.zeros(count, vae.latent_dim))


def test_a_short_tuning_leaves_no_bar(words, capsys):
    render.main(["strip", *words, "--tune=2", "--out=a.png", "--keyframes", *NAMES[:2]])
    assert "Tuning" not in capsys.readouterr().err


def test_a_strip_of_pictures_changes_as_much_from_each_to_the_next(words):
    render.main(["strip", *words, "--keyframes", *NAMES[:2], "--size=32", "--steps=6", "--out=strip.png"])
    tiles = np.split(iio.imread("strip.png")[:32, :, :3], 6, axis=1)
    assert np.array_equal(tiles[0], given(NAMES[0]))
    assert np.array_equal(tiles[-1], given(NAMES[1]))
    steps = visible_change([to_tensor(torch.from_numpy(np.stack(tiles)))])
    assert steps.max() < 1.5 * steps.mean(), steps
