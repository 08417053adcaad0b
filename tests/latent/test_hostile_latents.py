"""Files of latents come from strangers too: they are read or refused in one line, whatever is in them."""

import io
import os
import random
import struct
import time
import tracemalloc
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import mutated

import render
from data.system.errors import UserError
from vae.latent.keyframes import parse_keyframe
from vae.latent.latent_file import write_latents

LINES = Path(render.__file__).parent / "checkpoints" / "lines.ckpt"
WORDS = ["slerp", f"--checkpoint={LINES}", "--frames=2", "--size=16", "--out=a.gif", "--keyframes", "odd.npz:1", "3"]
GOOD = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)


class Eight:
    """As much of a model as a file of latents has to fit."""

    latent_dim, device = 8, torch.device("cpu")

    def zero_inactive(self, values: torch.Tensor) -> torch.Tensor:
        return values


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def npz(member: bytes, name: str = "latents.npy", how: int = zipfile.ZIP_STORED, more: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as parts:
        parts.writestr(name, member)
        for index in range(more):
            parts.writestr(f"{index}", b"")
    return file.getvalue()


def with_one(value: float) -> np.ndarray:
    array = GOOD.copy()
    array[2, 7] = value  # of another latent than the one that is asked for
    return array


def said_size(size: int) -> bytes:
    """A file whose directory says so many bytes of its array."""
    content = npz(npy(GOOD))
    at = content.rindex(b"PK\x01\x02") + 20
    return content[:at] + struct.pack("<2I", size, size) + content[at + 8 :]


def encrypted() -> bytes:
    content = bytearray(npz(npy(GOOD)))
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def headed(shape: str) -> bytes:
    """An array whose header says of its shape what it likes."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


HOSTILE = {
    "a huge shape": npz(headed("(1099511627776, 16)}")),
    "a shape beyond 64 bits": npz(headed(f"(1{'0' * 40}, 4)}}")),
    "a header that does not end": npz(headed("(2, 4")),
    "a header of brackets": npz(headed("(" * 70)),
    "no numbers": npz(npy(np.zeros((3, 0), np.float32))),
    "no latents": npz(npy(np.zeros((0, 8), np.float32))),
    "a number": npz(npy(np.float32(3))),
    "one dimension": npz(npy(GOOD[0])),
    "three dimensions": npz(npy(GOOD[None])),
    "float64": npz(npy(GOOD.astype(np.float64))),
    "big-endian": npz(npy(GOOD.astype(">f4"))),
    "records": npz(npy(np.zeros((3, 8), [("a", np.float32)]))),
    "text": npz(npy(np.full((3, 8), "Dear reader"))),
    "NaN": npz(npy(with_one(np.nan))),
    "infinity": npz(npy(with_one(-np.inf))),
    "far beyond": npz(npy(with_one(-1e30))),
    "less than it says": npz(npy(GOOD)[:-4]),
    "more than it says": npz(npy(GOOD) + bytes(4)),
    "an old header": npz(npy(GOOD).replace(b"(3, 8), }  ", b"(3L, 8L), }")),
    "another name": npz(npy(GOOD), "z.npy"),
    "bzip2": npz(npy(GOOD), how=zipfile.ZIP_BZIP2),
    "LZMA": npz(npy(GOOD), how=zipfile.ZIP_LZMA),
    "encrypted": encrypted(),
    "small in its directory": said_size(16),
    "huge in its directory": said_size(2**32 - 2),
    "ten thousand members": npz(npy(GOOD), more=10_000),
    "an array alone": npy(GOOD),
    "a comment": npz(npy(GOOD))[:-2] + b"\x05\x00Hello",
}


@pytest.mark.filterwarnings("ignore")  # which would be refusals here, and lines of their own elsewhere
def test_a_file_that_holds_no_latents_gets_one_line():
    for name, content in HOSTILE.items():
        Path("odd.npz").write_bytes(content)
        with pytest.raises(UserError) as refusal:
            parse_keyframe(Eight(), "odd.npz:1")
        assert str(refusal.value).startswith("odd.npz: "), name
        assert len(str(refusal.value).splitlines()) == 1, name


def test_the_renderer_says_so_and_leaves_nothing_behind(place, one_line_error):
    Path("odd.npz").write_bytes(HOSTILE["NaN"])
    assert one_line_error(render.main, *WORDS).startswith("render.py: odd.npz: ")
    assert [path.name for path in place.iterdir()] == ["odd.npz"]


def test_the_hostile_files_differ_by_one_fault_from_one_that_is_read():
    saved, compressed = npz(npy(GOOD)), npz(npy(GOOD), how=zipfile.ZIP_DEFLATED)
    for content, index in product((saved, compressed, npz(npy(np.asfortranarray(GOOD)))), (0, 2, -1)):
        Path("odd.npz").write_bytes(content)
        np.testing.assert_array_equal(parse_keyframe(Eight(), f"odd.npz:{index}").z, GOOD[index])


class Act:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("mark",)


def test_a_pickled_object_is_refused_and_never_run():
    for shape in ((3, 8), ()):
        np.savez("odd.npz", latents=np.full(shape, Act(), object))
        with pytest.raises(UserError, match=r"odd\.npz"):
            parse_keyframe(Eight(), "odd.npz:1")
        assert not Path("mark").exists()
    np.load("odd.npz", allow_pickle=True)["latents"]
    assert Path("mark").exists()  # it would have been run


def test_a_file_that_unpacks_to_more_than_a_film_has_is_refused_before_it_is_unpacked():
    head = np.lib.format.header_data_from_array_1_0(np.broadcast_to(np.float32(0), (2**23 + 1, 8)))
    with zipfile.ZipFile("odd.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as parts:
        member = parts.open("latents.npy", "w")
        np.lib.format.write_array_header_1_0(member, head)
        for _ in range(256):
            member.write(bytes(2**20))
        member.write(bytes(32))
        member.close()
    assert Path("odd.npz").stat().st_size < 2_000_000
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(UserError, match=r"odd\.npz: holds more than 67,108,864 numbers"):
        parse_keyframe(Eight(), "odd.npz:1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert time.monotonic() - began < 1


def test_what_could_not_be_read_is_not_written():
    with pytest.raises(UserError, match=r"odd\.npz: holds more than 67,108,864 numbers"):
        write_latents(Path("odd.npz"), np.broadcast_to(np.float32(0), (2**23 + 1, 8)))
    assert not Path("odd.npz").exists()


def test_mutated_files_are_read_to_finite_numbers_or_refused_in_one_line():
    chance, told = random.Random(0), []
    for how in [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED] * 100:
        Path("odd.npz").write_bytes(mutated(npz(npy(GOOD), how=how), chance))
        try:
            assert parse_keyframe(Eight(), "odd.npz:1").z.isfinite().all()
        except UserError as error:
            told.append(str(error))
    assert 0 < len(told) < 200
    assert all(message.startswith("odd.npz: ") and len(message.splitlines()) == 1 for message in told)
