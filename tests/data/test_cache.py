"""Laws of what is kept of pictures, and when it is trusted."""

import json
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import QUICK, count_of, data_of, fill, scene
from forked import start_two

from data.cache import load_cache
from data.cache_build import build_cache
from data.datamodule import ImageData
from data.image_files.decode_pool import DecodePool
from data.picture_source import PictureSource
from data.system.errors import UserError

pytestmark = pytest.mark.usefixtures("in_process")


GOOD = {"shape": [6, 32, 32, 3], "skipped": {}, "remarks": [], "runs": []}


INDEXES = [
    "",
    "{",
    "\udcff",
    "[" * 100_000,
    *map(
        json.dumps,
        [
            [],
            {},
            None,
            6,
            {**GOOD, "shape": [-6, -32, 32, 3]},
            {**GOOD, "shape": [6, 32, 32, 1]},
            {**GOOD, "shape": [6, 32, 32]},
            {**GOOD, "shape": [6 * 32, 1, 32, 3]},
            {**GOOD, "shape": ["6", 32, 32, 3]},
            {**GOOD, "shape": [10**30, 32, 32, 3]},
            {**GOOD, "shape": None},
            {"shape": GOOD["shape"]},
        ],
    ),
]


def test_a_cache_that_is_not_what_was_built_is_built_again(tmp_path):
    folder = fill(tmp_path / "pictures", 6)
    data = data_of(tmp_path, folder)
    assert count_of(data) == 6
    (place,) = (tmp_path / "cache").iterdir()
    assert json.loads((place / "index.json").read_text()) == GOOD
    for index in INDEXES:
        (place / "index.json").write_bytes(os.fsencode(index))
        assert load_cache(place, (32, 32, 3)) is None, index
    assert count_of(data_of(tmp_path, folder)) == 6
    for content in (b"", (place / "images.u8").read_bytes()[:-1], (place / "images.u8").read_bytes() + b"a"):
        (place / "images.u8").write_bytes(content)
        assert count_of(data_of(tmp_path, folder)) == 6
    for name in ("images.u8", "index.json"):
        (place / name).unlink()
        (place / name).mkdir()
        assert count_of(data_of(tmp_path, folder)) == 6
    assert list((tmp_path / "cache").iterdir()) == [place]


def test_a_fault_of_the_source_is_not_reported_as_the_caches(tmp_path):
    def pictures(report, items):
        yield np.zeros((32, 32, 3), np.uint8)
        raise OSError(5, "Input/output error")

    with pytest.raises(UserError, match=r"^disk: cannot be read") as caught:
        build_cache(tmp_path / "key", PictureSource({}, 2, pictures), "disk", (32, 32, 3))
    assert str(tmp_path) not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        build_cache(tmp_path / "file" / "key", PictureSource({}, 2, pictures), "disk", (32, 32, 3))


def test_what_a_killed_process_was_building_is_removed_after_a_week(tmp_path):
    folder, place = fill(tmp_path / "pictures", 6), tmp_path / "cache"
    names = [f".{'0' * 32}-{letter * 8}" for letter in "abc"]
    for name, age in ((names[0], 8 * 86_400), (f".{names[1]}-{'0' * 32}", 8 * 86_400), (names[2], 6 * 86_400)):
        unfinished = place / name
        unfinished.mkdir(parents=True)
        (unfinished / "images.u8").write_bytes(b"some")
        os.utime(unfinished, (time.time() - age, time.time() - age))
    assert count_of(data_of(tmp_path, folder)) == 6
    assert [path.name for path in place.glob(".*")] == [names[2]]


def test_files_that_change_or_vanish_while_they_are_read_are_skipped_and_looked_into_again(
    tmp_path, monkeypatch, capsys
):
    folder = fill(tmp_path / "pictures", 9)
    (folder / "empty.png").write_bytes(b"")
    states = {path: path.stat() for path in folder.iterdir()}
    decode = DecodePool.decode
    vanished = (folder / "8.png").read_bytes()

    def meanwhile(pool, paths, *rest):
        (folder / "7.png").write_bytes((folder / "2.png").read_bytes())
        (folder / "8.png").unlink()
        yield from decode(pool, paths, *rest)
        scene(77).save(folder / "1.png")

    with monkeypatch.context() as patch:
        patch.setattr(DecodePool, "decode", meanwhile)
        data = data_of(tmp_path, folder)
        assert count_of(data) == 7
    output = capsys.readouterr().err
    assert "Skipped 3 of 10" in output
    assert all(f"{folder / name}: " in output for name in ("7.png", "8.png", "empty.png"))
    assert count_of(data_of(tmp_path, folder)) == 8
    (folder / "8.png").write_bytes(vanished)
    scene(7).save(folder / "7.png")
    scene(1).save(folder / "1.png")
    for path, status in states.items():  # all is as it was before
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert count_of(data_of(tmp_path, folder)) == 9


def test_permissions_are_part_of_what_a_cache_is_made_for(tmp_path):
    folder = fill(tmp_path / "pictures", 6)
    (folder / "0.png").chmod(0o000)
    count = count_of(data_of(tmp_path, folder))
    assert count == 6 if os.geteuid() == 0 else 5
    (folder / "0.png").chmod(0o644)
    assert count_of(data_of(tmp_path, folder)) == 6
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_what_a_split_needs_is_read_once(tmp_path, monkeypatch):
    folder = fill(tmp_path / "pictures", 6)
    first, again, other = data_of(tmp_path, folder), data_of(tmp_path, folder), data_of(tmp_path, folder, seed=1)
    assert count_of(first) == 6
    (kept,) = (tmp_path / "cache").glob("*/digests-0.u8")
    with monkeypatch.context() as patch:
        patch.setattr("data.cache.digests", lambda *_: pytest.fail("all pictures are read again"))
        assert count_of(again) == 6
    assert torch.equal(first.train_set.rows, again.train_set.rows)
    assert count_of(other) == 6
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    assert count_of(data_of(tmp_path, folder)) == 6
    assert kept.read_bytes() == whole


class Rank:
    """The collective calls of one of two processes, the first of which says `first` in its turn."""

    def __init__(self, first: list, same: bool) -> None:
        self.first, self.same, self.asked = first, same, 0

    def broadcast(self, value, src=0):
        return self.first.pop(0) if self.first else value

    def reduce_boolean_decision(self, decision, all=True):
        self.asked += 1
        return decision and self.same


def ranked(data: ImageData, *first, same: bool = True) -> Rank:
    rank = Rank(list(first), same)
    data.trainer = SimpleNamespace(strategy=rank, world_size=2, is_global_zero=True, progress_bar_callback=None)
    return rank


def test_processes_take_what_the_first_one_prepared_whatever_has_changed_since(tmp_path):
    folder = fill(tmp_path / "pictures", 6)
    first, second = data_of(tmp_path, folder), data_of(tmp_path, folder)
    first.prepare_data()
    scene(9).save(folder / "0.png")
    rank = ranked(second, (first._prepared, None))
    second.setup("fit")
    assert len(second.train_set) + len(second.val_set) == 6
    assert rank.asked == 1


@pytest.mark.parametrize("case", ["theirs differ", "ours differ", "none", "folder gone"])
def test_processes_with_other_pictures_all_refuse_alike(tmp_path, case):
    folder = fill(tmp_path / "pictures", 6)
    data = data_of(tmp_path, folder)
    if case in ("theirs differ", "ours differ"):
        data.prepare_data()
    if case == "folder gone":
        folder.rename(tmp_path / "elsewhere")
    nowhere = tmp_path / "another machine's", None
    rank = ranked(data, nowhere, b"digest of others") if case == "ours differ" else ranked(data, nowhere, same=False)
    with pytest.raises(UserError, match="do not find the same pictures"):
        data.setup("fit")
    assert rank.asked == 1


def test_what_the_first_process_refuses_all_do(tmp_path):
    first, second = data_of(tmp_path, tmp_path), data_of(tmp_path, tmp_path)
    ranked(first)
    first.prepare_data()
    ranked(second, (None, first._error))
    for data in (first, second):
        with pytest.raises(UserError, match="holds no picture"):
            data.setup("fit")


CHANGE = """
import os, time
import lightning.pytorch as pl
from data.datamodule import ImageData
from pathlib import Path

setup = ImageData.setup

def late(self, stage):
    if int(os.environ.get("LOCAL_RANK", 0)):
        for path in Path(self.source).glob("1*.png"):
            path.unlink()
    setup(self, stage)

ImageData.setup = late

class Change(pl.Callback):
    pass
"""


@pytest.mark.slow
def test_two_processes_train_together_though_files_vanish_in_between(tmp_path):
    folder = fill(tmp_path / "pictures", 20)
    (tmp_path / "changes.py").write_text(CHANGE)
    words = [
        *("fit", f"--data.source={folder}", f"--data.cache_dir={tmp_path / 'cache'}", "--data.image_size=32"),
        *("--data.batch_size=4", "--data.val_fraction=0.2", "--model.latent_dim=4", "--model.width=8"),
        *("--trainer.max_epochs=1", "--trainer.callbacks=changes.Change", "--watch.every_n_epochs=0"),
        *QUICK,
    ]
    said = tmp_path / "said.txt"
    processes = start_two(words, tmp_path, said)
    assert [process.wait() for process in processes] == [0, 0], said.read_text()
    assert torch.load(tmp_path / "checkpoints" / "pictures" / "version_0" / "last.ckpt", weights_only=True)
