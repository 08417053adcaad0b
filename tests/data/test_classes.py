"""Classes from subfolders stay in step with the pictures, whatever is left out and however the cache was built."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import data_of, scene, told_lines
from PIL import Image

from data import cache_build
from data.image_files.classes import check_class_names, class_folders
from data.system.errors import UserError

pytestmark = pytest.mark.usefixtures("in_process")
CLASSES = "blue", "green", "red"  # of pictures whose largest channel is the class


def tinted(seed: int, channel: int) -> Image.Image:
    """A picture unlike any other, and brightest in one channel, or in none of 3."""
    pixels = np.asarray(scene(seed)) // 4
    if channel < len(CLASSES):
        pixels[:, :, 2 - channel] += 150
    return Image.fromarray(pixels)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Nine pictures in each of three subfolders, nested ones among them, and four beside these; two are broken."""
    folder = tmp_path / "pictures"
    (folder / "green" / "deep").mkdir(parents=True)
    for channel, name in enumerate((*CLASSES, "")):
        (folder / name).mkdir(exist_ok=True)
        for number in range(9 if name else 4):
            inside = "deep" if name == "green" and number < 3 else ""
            tinted(10 * channel + number, channel).save(folder / name / inside / f"{number}.png")
    (folder / "blue" / "0.png").write_bytes(b"no picture")
    whole = (folder / "green" / "4.png").read_bytes()
    (folder / "green" / "4.png").write_bytes(whole[: len(whole) // 2])
    (folder / "red" / "notes.txt").write_text("not looked at")
    return folder


def check_in_step(data) -> None:
    assert data.classes == CLASSES
    for picture, number in zip(data.train_set, data.train_classes.tolist(), strict=True):
        brightness = picture.double().mean((0, 1)).flip(0)
        seen = int(brightness.argmax()) if brightness.max() > brightness.sum() / 2 else -1
        assert seen == number


@pytest.mark.parametrize("options", [{}, {"limit": 24}, {"seed": 5}, {"all_frames": True}], ids=str)
@pytest.mark.parametrize("items", [cache_build.ITEMS, 2])
def test_classes_are_in_step_with_pictures(options, items, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_build, "ITEMS", items)
    for _ in range(2):  # built, and then loaded
        data = data_of(tmp_path, pictures, labels="folders", **options)
        data.prepare_data()
        data.setup("fit")
        assert options.get("limit") or len(data.train_set) + len(data.val_set) == 29
        check_in_step(data)


def test_frames_of_a_broken_animation_are_of_its_class(pictures, tmp_path):
    frames = [tinted(90 + number, 1) for number in range(4)]
    frames[0].save(pictures / "green" / "long.tiff", save_all=True, append_images=frames[1:])
    data = data_of(tmp_path, pictures, labels="folders", all_frames=True)
    data.prepare_data()
    data.setup("fit")
    assert len(data.train_set) + len(data.val_set) == 29 + 4
    check_in_step(data)


def test_one_line_says_how_many_each_class_has_and_what_has_none(pictures, tmp_path, capsys):
    data_of(tmp_path, pictures, labels="folders").prepare_data()
    expected = "Classes: blue 8, green 8, red 9; 4 pictures beside the subfolders have none"
    assert expected in told_lines(capsys)


def test_without_labels_the_cache_is_another_and_has_no_classes(pictures, tmp_path, capsys):
    plain = data_of(tmp_path, pictures)
    plain.prepare_data()
    assert not [line for line in told_lines(capsys) if "Classes" in line]
    (index,) = (tmp_path / "cache").glob("*/index.json")
    assert "classes" not in json.loads(index.read_text())
    assert plain.classes == ()
    data_of(tmp_path, pictures, labels="folders").prepare_data()
    assert len(list((tmp_path / "cache").glob("*/index.json"))) == 2


def test_a_class_without_pictures_is_named(pictures, tmp_path):
    (pictures / "violet").mkdir()
    (pictures / "violet" / "broken.png").write_bytes(b"no picture")
    data = data_of(tmp_path, pictures, labels="folders")
    data.prepare_data()
    with pytest.raises(UserError, match=r"no picture of class violet .*; "):
        data.setup("fit")


def test_hidden_folders_and_files_are_no_classes(pictures):
    (pictures / ".thumbnails").mkdir()
    assert class_folders(pictures) == CLASSES


@pytest.mark.parametrize(
    "names",
    [["one"], ["a", "a"], ["a", ""], ["a", "b\x1b"], ["a", "b" * 256], ["a", 3], "ab", [str(n) for n in range(1001)]],
    ids=lambda names: str(names)[:20],
)
def test_names_from_a_stranger_are_checked(names):
    with pytest.raises(UserError, match=r"^class"):
        check_class_names(names)


def test_a_folder_whose_name_will_not_do_is_named_printably(pictures):
    (pictures / "a\nb").mkdir()
    with pytest.raises(UserError, match=r"^class 'a\\nb': .*; rename it$"):
        class_folders(pictures)


def test_processes_with_other_classes_are_not_the_same(pictures, tmp_path):
    class Strategy:
        first: bytes | None = None

        def broadcast(self, mine):
            self.first = self.first or mine
            return self.first

        def reduce_boolean_decision(self, agreed, all):
            return agreed

    strategy, verdicts = Strategy(), []
    for classes in (CLASSES, CLASSES, ("blue", "green")):
        data = data_of(tmp_path, pictures, labels="folders")
        data.classes = classes
        type(data)._strategy, kept = property(lambda _: strategy), type(data)._strategy
        try:
            verdicts.append(data._same_on_all([b"digest"]))
        finally:
            type(data)._strategy = kept
    assert verdicts == [True, True, False]
    assert torch.is_tensor(torch.zeros(1))
