"""Laws of which files of a folder are taken: all that are pictures, whatever they are called; the rest is counted."""

import io
import os
import socket
import sys
from pathlib import Path

import pytest
from conftest import Run, count_of, data_of, fill, scene, told_lines
from PIL import Image

import render
from data.image_files import formats, listing
from data.image_files.formats import FORMATS
from data.image_files.listing import find_pictures
from data.image_files.reader import read_picture
from data.system.errors import UserError

pytestmark = pytest.mark.usefixtures("in_process")
SHIPPED = f"--checkpoint={Path(render.__file__).parent / 'checkpoints' / 'patterns.ckpt'}"
HOW = {  # Pillow's name of a format: how it is saved
    "JPEG2000": {"quality_mode": "rates", "quality_layers": [4]},
    "ICO": {"sizes": [(48, 48)]},
    "JPEG": {"quality": 95},
}


def saved(name: str, seed: int = 0) -> bytes:
    file = io.BytesIO()
    if name == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    scene(seed).save(file, name, **HOW.get(name, {}))
    return file.getvalue()


def errors_of(tmp_path: Path, folder: Path, capsys, **options) -> tuple[int, list[str]]:
    """How many pictures a folder gives, and the lines on standard error."""
    data = data_of(tmp_path, folder, **options)
    count = count_of(data)
    return count, told_lines(capsys)


def test_every_format_is_taken_by_each_of_its_suffixes(tmp_path, capsys):
    folder = fill(tmp_path / "pictures", 4)
    scene(9).save(tmp_path / "same.png")
    same = read_picture(tmp_path / "same.png", 32, 3).astype(int)
    for suffix, name in FORMATS.items():
        (folder / f"a{suffix}").write_bytes(saved(name, 9))
        (folder / f"B{suffix.upper()}").write_bytes(saved(name, 8))
        assert abs(read_picture(folder / f"a{suffix}", 32, 3) - same).mean() < 6
    assert abs(read_picture(folder / "0.png", 32, 3) - same).mean() > 20
    assert errors_of(tmp_path, folder, capsys) == (4 + 2 * len(FORMATS), [])


def test_a_picture_is_known_by_its_content(tmp_path, capsys):
    folder, calls = fill(tmp_path / "pictures", 4), ["", ".2020", ".jpg_large", ".png", ".JPG"]
    names = sorted(set(FORMATS.values()) - {"TGA", "ICO"})
    for name in names:
        for suffix in calls:
            (folder / f"{name}{suffix}").write_bytes(saved(name, 9))
    assert errors_of(tmp_path, folder, capsys) == (4 + len(calls) * len(names), [])


def test_the_rest_is_counted_by_kind_in_one_line(tmp_path, capsys):
    folder = fill(tmp_path / "pictures", 4)
    (folder / "deeper").mkdir()
    for name, content in {
        **{f"film{index}.MOV": b"\0\0\0\x14ftypqt  \0\0\0\0qt  " for index in range(3)},
        **{f"deeper/{index}.json": b"{}" for index in range(5)},
        "README": b"Dear reader",
        "BMI and P1 of the report": b"BM and P1 of the report",
        "archive.of many words and letters": b"",
        "raw.NEF": saved("TIFF"),
        ".hidden.mov": b"",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
    }.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(os.path.relpath(folder / "plug"))
    line = "Left out: 5 .json, 5 without a known suffix, 3 .mov, 1 .nef, 1 .db"
    for _ in range(2):  # a cache that is found says it too
        count, (output,) = errors_of(tmp_path, folder, capsys)
        assert count == 4
        assert sorted(output.removeprefix("Left out: ").split(", ")) == sorted(
            line.removeprefix("Left out: ").split(", ")
        )


def test_of_many_kinds_the_most_frequent_are_named(tmp_path):
    fill(tmp_path, 1)
    for kind in range(20):
        for index in range(2 if kind == 7 else 1):
            (tmp_path / f"{index}.kind{kind}").touch()
    output = find_pictures(tmp_path).left_out()
    assert output.startswith("Left out: 2 .kind7, 1 ")
    assert output.endswith(", 12 of other kinds")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").touch()
    with pytest.raises(UserError, match=r"holds no picture, nor do folders in it \(left out: 1 \.txt\); name one"):
        find_pictures(tmp_path / "folder")


def test_heic_without_its_reader_is_left_out_with_the_remedy(tmp_path, monkeypatch, capsys, one_line_error):
    folder = fill(tmp_path / "pictures", 4)
    content = saved("HEIF")
    (folder / "IMG_1.HEIC").write_bytes(content)
    monkeypatch.setattr(listing, "heif_version", lambda: None)
    count, output = errors_of(tmp_path, folder, capsys)
    assert (count, output) == (4, ["Left out: 1 .heic (pip install -e '.[heif]' reads them)"])
    formats.prepare.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.jpg").write_bytes(content)
    output = one_line_error(render.main, "slerp", SHIPPED, "--keyframes", "1", str(tmp_path / "a.jpg"))
    assert output == f"render.py: {tmp_path / 'a.jpg'}: is HEIC; pip install -e '.[heif]'"
    formats.prepare.cache_clear()


def test_heic_comes_upright_and_its_arrival_is_noticed(tmp_path, monkeypatch, capsys):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    folder = fill(tmp_path / "pictures", 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    half = Image.new("RGB", (64, 64), "red")
    half.paste("blue", (0, 32, 64, 64))
    half.save(folder / "a.heic", exif=exif, quality=95)
    pixels = read_picture(folder / "a.heic", 32, 3)
    assert pixels[16, 4, 2] > 200 > 50 > pixels[16, 4, 0], "what was below is on the left"
    monkeypatch.setattr(listing, "heif_version", lambda: None)
    assert errors_of(tmp_path, folder, capsys)[0] == 4
    monkeypatch.undo()
    assert errors_of(tmp_path, folder, capsys) == (5, [])


def test_a_reader_that_is_installed_later_is_noticed_where_names_say_nothing(tmp_path, monkeypatch, capsys):
    folder = fill(tmp_path / "pictures", 4)
    (folder / "a.jpg").write_bytes(saved("HEIF"))
    formats.prepare.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)
        patch.setattr("data.image_files.folder.heif_version", lambda: None)
        count, (output,) = errors_of(tmp_path, folder, capsys)
    assert (count, output) == (
        4,
        f"Skipped 1 of 5 pictures: {folder / 'a.jpg'}: is HEIC; pip install -e '.[heif]'",
    )
    assert errors_of(tmp_path, folder, capsys) == (5, [])


def test_a_pipe_is_never_waited_for(tmp_path):
    for called in ("pipe", "pipe.png"):
        os.mkfifo(tmp_path / called)
        with pytest.raises(OSError, match="no plain file"):
            formats.format_of(tmp_path / called)


def test_formats_without_a_reason_are_not_opened(tmp_path):
    for name in ("EPS", "PDF", "PCX", "SGI", "DDS", "ICNS", "XBM", "SPIDER", "MSP"):
        file = io.BytesIO()
        mode = {"XBM": "1", "MSP": "1", "SPIDER": "F"}.get(name, "RGB")
        scene(0, 64, 64).convert(mode).save(file, name)
        for called in ("a.png", "a.tga", f"a.{name.lower()}", "a"):
            path = tmp_path / called
            path.write_bytes(file.getvalue())
            if called != "a.tga":
                assert formats.format_of(path) is None, (name, called)
            with pytest.raises(UserError, match=r"not a readable picture.*; name another one") as caught:
                read_picture(path, 32, 3)
            assert len(str(caught.value).splitlines()) == 1


def test_a_training_says_what_it_leaves_out(run: Run):
    assert run.errors.count("Left out: 1 .txt\n") == 1


def test_a_keyframe_may_be_of_any_format(tmp_path):
    names = {"a.ppm": "PPM", "a": "JPEG2000", "a.tga": "TGA"}
    for called, name in names.items():
        (tmp_path / called).write_bytes(saved(name))
    words = ["slerp", SHIPPED, "--frames=2", "--size=16", "--tune=1", f"--out={tmp_path / 'a.gif'}", "--keyframes"]
    render.main([*words, *(str(tmp_path / called) for called in names)])
