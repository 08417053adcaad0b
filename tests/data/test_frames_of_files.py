"""Laws of files that hold more than one picture: animations, and scans of many pages."""

import io
import json
import struct
import time
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import count_of, data_of, fill, scene, told_lines
from parsers import short_start  # noqa: F401
from PIL import Image

import train
from data.datamodule import ImageData
from data.image_files.decode_pool import DecodeProcess
from data.image_files.reader import PictureFile, read_picture
from data.split import digests, split_rows
from data.system.errors import UserError

pytestmark = pytest.mark.usefixtures("in_process")
KINDS = {".gif": 1, ".webp": 1, ".png": 0, ".tif": 0, ".avif": 1}  # and whether it is lossy


def film(seed: int, count: int) -> list[Image.Image]:
    return [scene(100 * seed + index) for index in range(count)]


def write(path: Path, frames: list[Image.Image]) -> None:
    frames = [frame.copy() for frame in frames]  # a format leaves its options in them
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **lossless)


def album(tmp_path: Path, stills: int = 6, count: int = 5) -> Path:
    """Pictures of their own, and a file with so many for each format."""
    folder = fill(tmp_path / "pictures", stills)
    for seed, suffix in enumerate(KINDS, 1):
        write(folder / f"many{suffix}", film(seed, count))
    return folder


def test_each_picture_of_a_file_is_what_it_would_be_alone(tmp_path):
    frames = film(1, 5)
    alone = []
    for frame in frames:
        frame.save(tmp_path / "alone.png")
        alone.append(read_picture(tmp_path / "alone.png", 32, 3).astype(int))
    for suffix in KINDS:
        write(tmp_path / f"a{suffix}", frames)
        with closing(PictureFile(tmp_path / f"a{suffix}")) as file:
            assert file.probe(True, True).pictures == 5, suffix
        for index in (*range(5), 0, 3, 2):
            far = [abs(read_picture(tmp_path / f"a{suffix}", 32, 3, frame=index) - one).mean() for one in alone]
            assert np.argmin(far) == index, suffix
            assert far[index] < 8, suffix


def test_the_first_is_taken_and_a_line_says_so(tmp_path, capsys):
    folder = album(tmp_path)
    for _ in range(2):
        assert count_of(data_of(tmp_path, folder)) == 11
        assert told_lines(capsys) == [
            "5 files hold more than one picture, of which the first is taken; --data.all_frames true takes all"
        ]
    for suffix in [*KINDS][1:]:
        (folder / f"many{suffix}").unlink()
    assert count_of(data_of(tmp_path, folder)) == 7
    assert told_lines(capsys)[0].startswith("1 file holds more than one picture, ")


def test_all_are_taken_if_asked_for_in_their_order(tmp_path, capsys):
    folder = album(tmp_path)
    data = data_of(tmp_path, folder, all_frames=True)
    assert count_of(data) == 6 + 25
    assert told_lines(capsys) == []
    (place,) = (tmp_path / "cache").iterdir()
    assert json.loads((place / "index.json").read_text())["runs"] == [1] * 6 + [5] * 5
    images = data.train_set.images
    for row in range(21, 26):
        far = [
            abs(images[row].numpy().astype(int) - read_picture(folder / "many.tif", 32, 3, frame=k)).sum()
            for k in range(5)
        ]
        assert np.argmin(far) == row - 21
    again = data_of(tmp_path, folder, all_frames=True)
    assert count_of(again) == 31
    assert again.val_set.rows.tolist() == data.val_set.rows.tolist()
    assert count_of(data_of(tmp_path, folder)) == 11


def test_pictures_of_one_file_are_on_one_side(tmp_path):
    folder = album(tmp_path, 3, 6)
    sides = set()
    for seed in range(4):
        data = data_of(tmp_path, folder, all_frames=True, seed=seed)
        count_of(data)
        held = set(data.val_set.rows.tolist())
        for start in range(3, 33, 6):
            run = set(range(start, start + 6))
            assert held >= run or not held & run
            sides.add(held >= run)
    assert sides == {True, False}


def test_what_files_have_in_common_is_for_training_alone():
    images = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1).repeat(1, 2, 2, 3)
    images[::10] = 99  # each of four files begins with the same picture
    for seed in range(10):
        known = digests(images, seed)
        train, val = (rows.tolist() for rows in split_rows(known, 0.3, [10] * 4))
        assert sorted(train + val) == list(range(40))
        assert not {known[row] for row in train} & {known[row] for row in val}
        assert {0, 10, 20, 30} <= set(train)
        assert len(val) in (9, 18)
    same = digests(images[:10].repeat(3, 1, 1, 1), 0)
    with pytest.raises(UserError, match="1 different files"):
        split_rows(same, 0.3, [10] * 3)
    with pytest.raises(UserError, match="none is left to validate on"):
        split_rows([b"a", b"b", b"a", b"b", b"c"], 0.3, [2, 3])


def test_without_files_of_many_the_split_is_as_it_was():
    images = torch.randint(0, 256, (50, 2, 2, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    known = digests(images, 3)
    assert [rows.tolist() for rows in split_rows(known, 0.2)] == [
        rows.tolist() for rows in split_rows(known, 0.2, [1] * 50)
    ]


def test_a_limit_is_of_pictures_and_each_seed_takes_others(tmp_path):
    folder = album(tmp_path)
    found = set()
    for seed in (0, 1):
        data = data_of(tmp_path, folder, all_frames=True, limit=12, seed=seed)
        assert count_of(data) == 12
        found.add(data.train_set.images.numpy().tobytes())
        assert count_of(data_of(tmp_path, folder, all_frames=True, limit=12, seed=seed)) == 12
    assert len(found) == 2


def test_pictures_that_are_broken_later_in_a_file_are_named(tmp_path, capsys):
    folder = fill(tmp_path / "pictures", 12)
    write(folder / "many.png", film(1, 9))
    content = bytearray((folder / "many.png").read_bytes())
    places = [index for index in range(len(content)) if content[index : index + 4] == b"fdAT"]
    for place in places[4:]:  # of the sixth picture, and of those after it
        content[place + 20 : place + 80] = bytes(60)
    (folder / "many.png").write_bytes(content)
    write(folder / "pages.tif", film(2, 6))
    whole = (folder / "pages.tif").read_bytes()
    (folder / "pages.tif").write_bytes(whole[: len(whole) * 5 // 8])
    assert count_of(data_of(tmp_path, folder, all_frames=True)) > 12
    (output,) = told_lines(capsys)
    assert f"{folder / 'many.png'}, picture 6: not a readable picture" in output
    assert "3 more of its pictures likewise" in output
    assert f"{folder / 'pages.tif'}, picture " in output


def gif_of(count: int) -> bytes:
    """The smallest animation of so many frames."""
    file = io.BytesIO()
    Image.new("P", (1, 1)).save(file, "GIF")
    whole = file.getvalue()
    start = whole.index(b",\0\0\0\0")
    return whole[:start] + count * whole[start:-1] + b";"


def tiff_of(count: int) -> bytes:
    """Pages of one pixel, each with the same strip, linked in a chain."""
    entries = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1)]
    size = 2 + 12 * len(entries) + 4
    pages = [b"II*\0" + struct.pack("<I", 12) + bytes(4)]
    for index in range(count):
        after = 12 + (index + 1) * size if index + 1 < count else 0
        body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        pages.append(struct.pack("<H", len(entries)) + body + struct.pack("<I", after))
    return b"".join(pages)


def png_of(count: int) -> bytes:
    """One frame that claims to be so many."""
    file = io.BytesIO()
    film(1, 1)[0].save(file, "PNG", save_all=True, append_images=film(2, 1))
    content = file.getvalue()
    start = content.index(b"acTL")
    chunk = b"acTL" + struct.pack(">II", count, 0)
    return content[:start] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[start + 16 :]


def test_too_many_pictures_are_refused_in_time_and_the_first_is_still_taken(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("data.image_files.reader.MOST", 3_000)
    folder = fill(tmp_path / "pictures", 4)
    for make in (gif_of, tiff_of, png_of):
        (folder / "many").write_bytes(make(6_000))
        started = time.monotonic()
        assert count_of(data_of(tmp_path, folder)) == 5
        assert "1 file holds more than one" in told_lines(capsys)[0]
        assert count_of(data_of(tmp_path, folder, all_frames=True)) == 4
        (output,) = told_lines(capsys)
        assert output.startswith("Skipped 1 of 5 pictures: ")
        assert f"{folder / 'many'}: holds more than 3,000 pictures; split it" in output
        assert time.monotonic() - started < 10, make


def test_a_claim_of_frames_that_are_not_there_costs_one_name(tmp_path, capsys):
    folder = fill(tmp_path / "pictures", 6)
    (folder / "many.png").write_bytes(png_of(5_000))
    assert count_of(data_of(tmp_path, folder, all_frames=True)) == 8
    (output,) = told_lines(capsys)
    assert "picture 3: " in output
    assert "4,997 more of its pictures likewise" in output


def test_hundreds_of_frames_are_decoded_once(tmp_path):
    folder = fill(tmp_path / "pictures", 4)
    frames = [Image.fromarray(np.random.default_rng(k).integers(0, 256, (32, 32), dtype=np.uint8)) for k in range(200)]
    frames[0].save(folder / "long.gif", save_all=True, append_images=frames[1:])
    started = time.monotonic()
    data = data_of(tmp_path, folder, all_frames=True)
    assert count_of(data) == 204
    assert time.monotonic() - started < 10
    images = data.train_set.images
    assert images[4 + 199].float().mean() == pytest.approx(float(np.asarray(frames[199]).mean()), abs=2)


def test_the_previews_in_a_photograph_are_not_pictures(tmp_path, capsys):
    folder = fill(tmp_path / "pictures", 4)
    scene(8).save(folder / "photo.jpg", "MPO", save_all=True, append_images=[scene(9).resize((8, 8))])
    with Image.open(folder / "photo.jpg") as photo:
        assert (photo.format, photo.n_frames) == ("MPO", 2)
    assert count_of(data_of(tmp_path, folder)) == 5
    assert count_of(data_of(tmp_path, folder, all_frames=True)) == 5
    assert told_lines(capsys) == []


def test_every_picture_of_a_heic_is_taken_once(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    frames = film(3, 4)
    frames[0].save(tmp_path / "a.heic", save_all=True, append_images=frames[1:], primary_index=2, quality=95)
    found = [read_picture(tmp_path / "a.heic", 32, 3, frame=k).astype(int) for k in range(4)]
    for frame, one in zip((2, 0, 1, 3), found, strict=True):
        frames[frame].save(tmp_path / "alone.png")
        assert abs(one - read_picture(tmp_path / "alone.png", 32, 3)).mean() < 8


def test_a_decoder_that_ends_within_a_file_goes_on_there(tmp_path):
    write(tmp_path / "a.gif", film(1, 6))
    requests = [("read", str(tmp_path / "a.gif"), frame, 32, 3, "white", {}) for frame in range(6)]
    decoder = DecodeProcess()
    whole = [decoder.answer(request) for request in requests]
    assert len(set(whole)) == 6
    for request in requests[:3]:
        decoder.answer(request)
    decoder.process.kill()
    assert [decoder.answer(request) for request in requests[3:]] == whole[3:]
    decoder.kill()


@pytest.mark.slow
def test_a_training_takes_all_frames_and_goes_on_with_them(tmp_path):
    folder = album(tmp_path)
    words = [
        "fit",
        f"--trainer.default_root_dir={tmp_path}",
        f"--data.cache_dir={tmp_path / 'cache'}",
        *("--data.image_size=32", "--data.batch_size=8", "--model.latent_dim=4", "--model.width=8"),
        *("--watch.every_n_epochs=0", "--health.pairs=1", "--health.pictures=4", "--trainer.enable_progress_bar=false"),
    ]
    train.main([*words, f"--data.source={folder}", "--trainer.max_epochs=1", "--data.all_frames=true"])
    last = tmp_path / "checkpoints" / "pictures" / "version_0" / "last.ckpt"
    saved = torch.load(last, weights_only=True)["datamodule_hyper_parameters"]
    assert (saved["all_frames"], saved["white"]) == (True, None)
    train.main([*words, f"--ckpt_path={last}", "--trainer.max_epochs=2"])


def test_a_training_goes_on_with_the_same_frames_and_the_same_white(run, tmp_path, one_line_error):
    last = run.checkpoints / "last.ckpt"
    content = torch.load(last, weights_only=True)
    for name in ("all_frames", "white"):  # as of a run from before there were these
        del content["datamodule_hyper_parameters"][name]
    torch.save(content, tmp_path / "old.ckpt")
    for path, option, named in (
        (last, "all_frames=true", "all_frames True"),
        (last, "white=4095", "white 4095.0"),
        (tmp_path / "old.ckpt", "all_frames=true", "all_frames True"),
    ):
        words = run.arguments(f"--ckpt_path={path}", f"--data.{option}")
        assert f"--data.{named}: contradicts" in one_line_error(train.main, *words)


def test_all_frames_is_yes_or_no(one_line_error):
    assert "--data.all_frames maybe" in one_line_error(train.main, "fit", "--data.all_frames=maybe")
    assert ImageData().hparams["all_frames"] is False
