"""Laws of what is kept of pictures, and when it is trusted."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import count_of, data_of, fill, scene

import train
from data import cache
from data.datamodule import ImageData
from data.image_files import decode_pool as decoders
from data.source import Source
from data.system.errors import UserError

HERE = Path(train.__file__).parent


GOOD = {"shape": [6, 32, 32, 3], "tried": 6, "skipped": {}, "remarks": [], "runs": []}
TWO = """
import sys, time
from pathlib import Path
from data import cache
from data.image_files.folder import folder
from data.source import Wish

place, shape = Path(sys.argv[2]), (32, 32, 3)
print("here", flush=True)
for line in sys.stdin:
    key = place / line.strip()
    found = cache.build(key, folder(Path(sys.argv[1]), Wish(32, 3)), "pictures", shape)
    print(found.folder == key, len(found.images), int(found.images.sum()), flush=True)
"""


def test_two_processes_that_build_one_cache_at_once_end_with_a_good_one(tmp_path):
    folder, place = fill(tmp_path / "pictures", 5), tmp_path / "cache"
    (folder / "broken.png").write_text("no picture")
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", TWO, str(folder), str(place)]
    both = [subprocess.Popen(command, cwd=HERE, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        assert [one.stdout.readline() for one in both] == ["here\n"] * 2
        for turn in range(4):
            key = place / f"key{turn}"
            if turn % 2:
                key.mkdir(parents=True)
                (key / "index.json").write_text(json.dumps({**GOOD, "shape": [5, 32, 32, 3]}))
                (key / "images.u8").write_bytes(b"cut short")
            for one in both:
                one.stdin.write(f"{key.name}\n")
                one.stdin.flush()
            told = {one.stdout.readline() for one in both}
            found = cache.load(key, (32, 32, 3))
            assert told == {f"True 5 {int(found.images.sum())}\n"}
        assert sorted(path.name for path in place.iterdir()) == [f"key{turn}" for turn in range(4)]
    finally:
        for one in both:
            one.stdin.close()
            one.wait()
            one.stdout.close()


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
            {**GOOD, "shape": [10**30, 32, 32, 3], "tried": 10**30},
            {**GOOD, "shape": [6.0, 32, 32, 3], "tried": 6.0},
            {**GOOD, "shape": None},
            {**GOOD, "tried": 5},
            {**GOOD, "tried": True},
            {**GOOD, "skipped": []},
            {**GOOD, "skipped": {"a.png": 1}, "tried": 7},
            {"shape": GOOD["shape"]},
            {**GOOD, "remarks": {}},
            {**GOOD, "remarks": [1]},
            {**GOOD, "runs": {}},
            {**GOOD, "runs": [5]},
            {**GOOD, "runs": [7, -1]},
            {**GOOD, "runs": [6.0]},
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
        assert cache.load(place, (32, 32, 3)) is None, index
    assert count_of(data_of(tmp_path, folder)) == 6
    for content in (b"", (place / "images.u8").read_bytes()[:-1], (place / "images.u8").read_bytes() + b"a"):
        (place / "images.u8").write_bytes(content)
        assert count_of(data_of(tmp_path, folder)) == 6
    for name in ("images.u8", "index.json"):
        (place / name).unlink()
        (place / name).mkdir()
        assert count_of(data_of(tmp_path, folder)) == 6
    assert list((tmp_path / "cache").iterdir()) == [place]


def test_a_fault_of_the_source_is_not_blamed_on_the_cache(tmp_path):
    def pictures():
        yield np.zeros((32, 32, 3), np.uint8)
        raise OSError(5, "Input/output error")

    with pytest.raises(UserError, match=r"^disk: cannot be read") as caught:
        cache.build(tmp_path / "key", Source({}, 2, pictures), "disk", (32, 32, 3))
    assert str(tmp_path) not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        cache.build(tmp_path / "file" / "key", Source({}, 2, pictures), "disk", (32, 32, 3))


def test_what_a_killed_process_was_building_is_removed_after_a_day(tmp_path):
    folder, place = fill(tmp_path / "pictures", 6), tmp_path / "cache"
    for name, age in (("old", 90_000), ("new", 80_000), ("slow", 90_000)):
        (place / f".building-{name}").mkdir(parents=True)
        (place / f".building-{name}" / "images.u8").write_bytes(b"some")
        when = time.time() - age
        os.utime(place / f".building-{name}" / "images.u8", (when, time.time() if name == "slow" else when))
        os.utime(place / f".building-{name}", (when, when))
    assert count_of(data_of(tmp_path, folder)) == 6
    assert sorted(path.name for path in place.glob(".*")) == [".building-new", ".building-slow"]


def test_files_that_change_or_vanish_while_they_are_read_are_skipped_and_looked_into_again(
    tmp_path, monkeypatch, capsys
):
    folder = fill(tmp_path / "pictures", 9)
    (folder / "empty.png").write_bytes(b"")
    states = {path: path.stat() for path in folder.iterdir()}
    vanished = (folder / "8.png").read_bytes()

    def meanwhile(paths, *rest):
        (folder / "7.png").write_bytes((folder / "2.png").read_bytes())
        (folder / "8.png").unlink()
        yield from decoders.decoded(paths, *rest)
        scene(77).save(folder / "1.png")

    with monkeypatch.context() as patch:
        patch.setattr("data.image_files.folder.decoded", meanwhile)
        data = data_of(tmp_path, folder)
        assert count_of(data) == 7
    told = capsys.readouterr().err
    assert "Skipped 3 of 10" in told
    assert all(f"{folder / name}: " in told for name in ("7.png", "8.png", "empty.png"))
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
    data.trainer = SimpleNamespace(strategy=rank, world_size=2)
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
    ranked(second, (None, first._fault))
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
        *("--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp"),
    ]
    done = subprocess.run(
        [sys.executable, HERE / "train.py", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert torch.load(tmp_path / "checkpoints" / "pictures" / "version_0" / "last.ckpt", weights_only=True)
