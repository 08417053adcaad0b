"""Data sets by name: no pickle is loaded for them but the published ones; damaged files get one line."""

import inspect
import os
import pickle
import sys
from http.client import IncompleteRead
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from test_data import write_mnist

from data.picture_source import PictureReport, PictureSpec
from data.sources import PROCEDURAL, SOURCES
from data.system.errors import UserError

DATA_SETS = sorted(SOURCES.keys() - PROCEDURAL.keys())
PICKLED = ("CIFAR10", "CIFAR100")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise IncompleteRead(b"")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def pictures(name: str, place: Path) -> np.ndarray:
    source = SOURCES[name](name, PictureSpec(32, 3), place / "downloads")
    return np.stack(list(source.pictures(PictureReport(), range(source.count))))


class Act:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("mark",)


@pytest.mark.parametrize("name", PICKLED)
def test_no_pickle_is_loaded_but_the_published_one(name, tmp_path, monkeypatch, no_network):
    monkeypatch.chdir(tmp_path)
    python = getattr(torchvision.datasets, name)
    folder = Path("downloads", python.base_folder)
    folder.mkdir(parents=True)
    for file in (*(name for name, _ in python.train_list), python.meta["filename"]):
        (folder / file).write_bytes(pickle.dumps(Act()))
    with pytest.raises(UserError, match=f"{name}: cannot be downloaded"):
        pictures(name, tmp_path)
    assert not Path("mark").exists()
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # as if their sums were right
    with pytest.raises(UserError):
        pictures(name, tmp_path)
    assert Path("mark").exists()  # it would have been run


def test_where_torchvision_unpickles_it_compares_sums_first():
    for name in DATA_SETS:
        source = inspect.getsource(sys.modules[getattr(torchvision.datasets, name).__module__])
        assert ("pickle" in source) == (name in PICKLED), name
        assert source.count("torch.load(") == source.count("weights_only=True"), name


def test_a_download_that_breaks_off_gets_one_line(tmp_path, no_network):
    for name in DATA_SETS:
        with pytest.raises(UserError, match=name):
            pictures(name, tmp_path)


def test_files_that_were_cut_short_get_one_line(tmp_path):
    write_mnist(tmp_path / "downloads", "MNIST", "", 200)
    for part in ("images-idx3", "labels-idx1"):
        file = tmp_path / "downloads" / "MNIST" / "raw" / f"train-{part}-ubyte"
        whole = file.read_bytes()
        for length in (0, 3, 100):
            file.write_bytes(whole[:length])
            with pytest.raises(UserError, match=r"MNIST: .* not be read there .*; .* delete"):
                pictures("MNIST", tmp_path)
        file.write_bytes(whole)
