"""A model of classes: what is learnt, drawn and refused, through the two programs."""

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import Run, scene
from test_resume import PLAN, QUIET, going_on, learnt, record, same

import render
import train
from vae import checkpoint, load_vae

CLASSES = ["cat", "dog", "fish"]
SMALL = ["--size=32", "--grid=3x2"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training on three classes; beside it, what a kill after each step would have left."""
    root = tmp_path_factory.mktemp("classes")
    for number, name in enumerate(CLASSES):
        (root / "pictures" / name).mkdir(parents=True)
        for seed in range(11):
            pixels = np.asarray(scene(20 * number + seed)) // 3 + 80 * number
            iio.imwrite(root / "pictures" / name / f"{seed}.png", pixels.astype(np.uint8))
    return record(root, root / "pictures", "--data.labels=folders")


def model_of(run: Run) -> str:
    return f"--checkpoint={run.checkpoints / 'last.ckpt'}"


def drawn(tmp_path: Path, *words: str) -> np.ndarray:
    render.main([*words, f"--out={tmp_path / 'drawn.png'}"])
    return iio.imread(tmp_path / "drawn.png")


def test_the_names_of_classes_are_in_the_checkpoint(labelled):
    vae = load_vae(labelled.checkpoints / "last.ckpt")
    assert vae.config.classes == tuple(CLASSES)
    assert vae.flow.class_vectors.shape[0] == len(CLASSES)
    assert vae.flow.class_vectors.abs().sum() > 0
    assert repr(vae.config.classes) in str(vae.config), "the constructor call that export prints"


def test_the_same_seed_and_class_is_the_same_picture_and_classes_differ(labelled, tmp_path):
    words = ["samples", model_of(labelled), *SMALL]
    cat, again, dog, any_class = (drawn(tmp_path, *words, *more) for more in (
        ["--class=cat"], ["--class=cat"], ["--class=dog"], [],
    ))  # fmt: skip
    assert np.array_equal(cat, again)
    assert not np.array_equal(cat, dog)
    assert not np.array_equal(cat, any_class)


def test_several_classes_are_rows_of_the_same_noise(labelled, tmp_path):
    words = ["samples", model_of(labelled), "--size=32"]
    both = drawn(tmp_path, *words, "--grid=3x2", "--class", "cat", "dog")
    rows = [drawn(tmp_path, *words, "--grid=3x1", f"--class={name}") for name in ("cat", "dog")]
    assert np.array_equal(both, np.concatenate(rows))


def test_keyframes_of_several_classes_are_of_one_noise(labelled, tmp_path):
    words = ["strip", model_of(labelled), "--size=32", "--steps=3"]
    strip = drawn(tmp_path, *words, "--class", *CLASSES, "--seed=4")
    ends = drawn(tmp_path, "samples", model_of(labelled), "--size=32", "--grid=1x3", "--class", *CLASSES, "--seed=4")
    for number in range(3):
        assert np.array_equal(strip[:32, 32 * number : 32 * (number + 1)], ends[32 * number : 32 * (number + 1)])
    within = drawn(tmp_path, *words, "--class=cat", "--count=3")
    one = drawn(tmp_path, "samples", model_of(labelled), "--size=32", "--grid=3x1", "--class=cat")
    assert np.array_equal(within[:32, :96], one[:, :96])


def test_the_corners_of_a_morph_pad_are_of_four_classes(labelled, tmp_path):
    render.main(
        ["explore", model_of(labelled), "--sets=2", "--class", *CLASSES, "cat", f"--out={tmp_path / 'pad.html'}"]
    )
    content = re.search(r"= (\{\"sets\".*?\});\n", (tmp_path / "pad.html").read_text(encoding="utf-8"))[1]
    pads = [iio.imread(base64.b64decode(url.split(",")[1]))[..., :3] for url in json.loads(content)["sets"]]
    ends = drawn(tmp_path, "samples", model_of(labelled), "--size=32", "--grid=2x3", "--class", *CLASSES).astype(float)
    for number, pad in enumerate(pads):
        for place, corner in enumerate((pad[:32, :32], pad[:32, -32:], pad[-32:, :32])):
            expected = ends[32 * place : 32 * (place + 1), 32 * number : 32 * (number + 1)]
            assert np.abs(corner - expected).mean() < 8, (number, place)
        assert np.abs(pad[-32:, -32:].astype(float) - pad[:32, :32]).mean() < 8, "the same class and noise again"


@pytest.mark.slow
def test_the_plain_model_is_what_it_was(labelled, tmp_path):
    """Nothing is added to it; and classes change neither the encoder nor what comes before the decoder's phase."""
    plain = replace(labelled, root=tmp_path / "plain")
    train.main(plain.arguments(*PLAN))
    without, with_classes = (checkpoint.read(run.checkpoints / "last.ckpt") for run in (plain, labelled))
    more = with_classes["state_dict"].keys() - without["state_dict"].keys()
    assert more == {"vae.flow.class_vectors"}
    for name, weight in without["state_dict"].items():
        if name.startswith("vae.encoder."):
            assert torch.equal(weight, with_classes["state_dict"][name]), name


@pytest.fixture
def stopped(labelled, tmp_path) -> Run:
    """That training as a kill before the decoder's phase would have left it."""
    root = tmp_path / "3"
    shutil.copytree(labelled.root.with_name("3"), root)
    return replace(labelled, root=root)


@pytest.mark.slow
def test_resuming_is_exact(labelled, stopped):
    train.main([*going_on(stopped), *QUIET])
    assert same(learnt(stopped), learnt(labelled))


def test_a_training_goes_on_with_the_same_classes_alone(stopped, tmp_path, one_line_error):
    moved = tmp_path / "pictures"
    shutil.copytree(stopped.pictures, moved)
    (moved / "fish").rename(moved / "horse")
    last = stopped.checkpoints / "last.ckpt"
    again = ["fit", f"--ckpt_path={last}", f"--data.source={moved}", *QUIET]
    assert "other classes" in (line := one_line_error(train.main, *again))
    assert "(fish, horse)" in line
    plain = f"--data.source={stopped.pictures}"
    assert "contradicts" in one_line_error(
        train.main, "fit", f"--ckpt_path={last}", plain, "--data.labels=null", *QUIET
    )


def test_before_the_flow_is_fitted_there_is_no_class_to_draw_of(stopped, one_line_error):
    line = one_line_error(render.main, "samples", model_of(stopped), "--class=cat")
    assert "train the model further" in line


@pytest.mark.parametrize(
    ("words", "named", "remedy"),
    [
        ("samples --class cats", "--class cats", "cat"),
        ("samples --class bird", "--class bird", "take cat, dog or fish"),
        ("samples --grid 4x4 --class cat dog", "--grid 4x4", "4x2"),
        ("slerp --class cat --keyframes 1 2", "--class", "leave it out"),
        ("slerp --class cat dog --count 3", "--count 3", "leave it out"),
        ("loop --class cat dog", "2 keyframes", "go back"),
        ("traverse --class cat dog", "2 keyframes: give 1 with --class", "around one"),
        ("explore --class cat dog", "2 classes", "name one for all, or four"),
    ],
)
def test_what_cannot_be_drawn_of_classes_is_told(words, named, remedy, labelled, one_line_error):
    command, *more = words.split()
    fault, _, said = one_line_error(render.main, command, model_of(labelled), *more).partition("; ")
    assert named in fault
    assert remedy in said


@pytest.mark.parametrize("names", [["a"], ["a", "a", "b"], "abc", [1, 2, 3], ["a", "b", "c\x1b[2J"], {"a": 1}], ids=str)
def test_classes_in_a_strangers_checkpoint_are_checked(names, labelled, tmp_path, one_line_error):
    content = checkpoint.read(labelled.checkpoints / "last.ckpt")
    content["hyper_parameters"]["classes"] = names
    torch.save(content, tmp_path / "strange.ckpt")
    for main, *words in ((render.main, "samples", "--checkpoint"), (train.main, "validate", "--ckpt_path")):
        assert "classes what cannot be" in one_line_error(main, *words, str(tmp_path / "strange.ckpt"))
