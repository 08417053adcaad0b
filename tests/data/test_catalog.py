"""Data sets by name: no pickle is loaded for them; archives and files that are not what they should be get one line."""

import hashlib
import inspect
import io
import os
import pickle
import sys
import tarfile
import threading
import tracemalloc
from functools import partial
from http.client import IncompleteRead
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from test_data import write_mnist

from data import cifar
from data.picture_source import PictureReport, PictureSpec
from data.sources import PROCEDURAL, SOURCES
from data.system.errors import UserError

COUNT = 4  # pictures in a file
DATA_SETS = sorted(SOURCES.keys() - PROCEDURAL.keys())


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """A folder, served in the place of the one site that archives come from."""
    (tmp_path / "site").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "site")) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        monkeypatch.setattr(cifar, "_SITE", f"http://127.0.0.1:{server.server_port}/")
        yield tmp_path / "site"
        server.shutdown()
        serving.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        """Says nothing."""


def records(archive: cifar.Archive, number: int) -> tuple[bytes, np.ndarray]:
    """A file of an archive, and the pictures in it."""
    rng = np.random.default_rng(number)
    planes = rng.integers(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, (COUNT, archive.labels), dtype=np.uint8)
    return np.concatenate([labels, planes.reshape(COUNT, -1)], 1).tobytes(), planes.transpose(0, 2, 3, 1)


def member(name: str, content: bytes = b"", **kind) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in kind.items():
        setattr(info, key, value)
    return info, content


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def publish(monkeypatch, site: Path, name: str, content: bytes) -> None:
    """Makes that archive the one that was published."""
    monkeypatch.setitem(cifar.ARCHIVES, name, whole := cifar.ARCHIVES[name]._replace(pictures=COUNT))
    monkeypatch.setitem(cifar.ARCHIVES, name, whole._replace(md5=hashlib.md5(content).hexdigest()))
    (site / whole.file).write_bytes(content)


def good(name: str) -> list[tuple[tarfile.TarInfo, bytes]]:
    archive = cifar.ARCHIVES[name]
    files = [member(file, records(archive, number)[0]) for number, file in enumerate(archive.members)]
    return [member("readme.html", b"<h1>"), *reversed(files)]  # in any order


def pictures(name: str, place: Path, **options) -> np.ndarray:
    return np.stack(
        list(SOURCES[name](name, PictureSpec(32, 3, **options), place / "downloads").pictures(PictureReport()))
    )


@pytest.mark.parametrize("name", cifar.ARCHIVES)
def test_cifar_comes_from_its_binary_version_in_its_order(name, site, tmp_path, monkeypatch):
    archive = cifar.ARCHIVES[name]
    expected = np.concatenate([records(archive, number)[1] for number in range(len(archive.members))])
    publish(monkeypatch, site, name, packed(*good(name)))
    np.testing.assert_array_equal(pictures(name, tmp_path), expected)
    few = pictures(name, tmp_path, limit=3, seed=1)
    assert [any(np.array_equal(one, other) for other in expected) for one in few] == [True] * 3
    (site / archive.file).unlink()  # it is downloaded once
    assert len(pictures(name, tmp_path)) == len(expected)
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [archive.file]


def test_both_are_as_large_as_they_were_published():
    assert all(len(archive.members) * archive.pictures == 50_000 for archive in cifar.ARCHIVES.values())


class Act:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("mark",)


@pytest.mark.parametrize("name", cifar.ARCHIVES)
def test_no_pickle_of_a_data_set_is_ever_loaded(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # as if their sums were right
    python = getattr(torchvision.datasets, name)
    folder = Path("downloads", python.base_folder)
    folder.mkdir(parents=True)
    for file in (*(name for name, _ in python.train_list), python.meta["filename"]):
        (folder / file).write_bytes(pickle.dumps(Act()))
    with pytest.raises(UserError, match=f"{name}: cannot be downloaded"):
        pictures(name, tmp_path)
    assert not Path("mark").exists()
    with pytest.raises(TypeError):  # a folder is made, and nothing comes back
        python("downloads")
    assert Path("mark").exists()  # it would have been run


def test_where_torchvision_unpickles_it_is_not_asked():
    for name in DATA_SETS:
        source = inspect.getsource(sys.modules[getattr(torchvision.datasets, name).__module__])
        assert ("pickle" in source) == (name in cifar.ARCHIVES), name
        assert source.count("torch.load(") == source.count("weights_only=True"), name


def hostile_archives() -> dict[str, bytes]:
    first, *others = cifar.ARCHIVES["CIFAR10"].members
    whole = records(cifar.ARCHIVES["CIFAR10"], 0)[0]
    rest = [member(name, whole) for name in others]
    link = {"type": tarfile.SYMTYPE, "linkname": "../../secret"}
    return {
        "a file is missing": packed(*rest),
        "a file is short": packed(member(first, whole[:-1]), *rest),
        "a file is long": packed(member(first, whole + b"0"), *rest),
        "a folder": packed(member(first, type=tarfile.DIRTYPE), *rest),
        "a folder of the right size": packed(member(first, whole, type=tarfile.DIRTYPE)),
        "a device": packed(member(first, type=tarfile.CHRTYPE), *rest),
        "a link out of the archive": packed(member(first, **link), *rest),
        "a hard link": packed(member(first, **link | {"type": tarfile.LNKTYPE}), *rest),
        "a link within": packed(member(first, **link | {"linkname": "data_batch_2.bin"}), *rest),
        "other places": packed(member("../../evil", whole), member("/tmp/../evil", whole), *rest),
        "cut short": packed(member(first, whole), *rest)[:-5000],
        "damaged": (archive := packed(member(first, whole), *rest))[:9000] + bytes(9000) + archive[18_000:],
        "not packed": b"Dear reader",
        "packed twice": packed(member("a.tar.gz", packed(member(first, whole), *rest))),
        "empty": b"",
    }


@pytest.mark.parametrize("content", hostile_archives().values(), ids=hostile_archives())
def test_an_archive_of_something_else_gets_one_line_and_writes_nothing(content, site, tmp_path, monkeypatch):
    publish(monkeypatch, site, "CIFAR10", content)
    (tmp_path / "secret").write_bytes(records(cifar.ARCHIVES["CIFAR10"], 0)[0])
    with pytest.raises(UserError, match=r"does not hold the pictures of cifar-10-binary\.tar\.gz; delete it") as caught:
        pictures("CIFAR10", tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == ["cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz", "downloads", "secret", "site"]


def test_a_file_that_is_too_long_is_not_read(site, tmp_path, monkeypatch):
    publish(monkeypatch, site, "CIFAR100", packed(member(cifar.ARCHIVES["CIFAR100"].members[0], bytes(50_000_000))))
    tracemalloc.start()
    with pytest.raises(UserError, match="does not hold"):
        pictures("CIFAR100", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_an_archive_that_is_not_the_published_one_is_refused(site, tmp_path, monkeypatch):
    publish(monkeypatch, site, "CIFAR10", packed(*good("CIFAR10")))
    (site / "cifar-10-binary.tar.gz").write_bytes(packed(member("other", b"")))
    with pytest.raises(UserError, match="CIFAR10: cannot be downloaded"):
        pictures("CIFAR10", tmp_path)


def test_a_download_that_breaks_off_gets_one_line(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise IncompleteRead(b"")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
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
