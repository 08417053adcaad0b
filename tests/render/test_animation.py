"""Animations are read back by other programs' means: Pillow for pictures, PyAV for video."""

import io
import os
import struct
import time
from dataclasses import replace
from fractions import Fraction
from itertools import islice, product
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import VIDEO, film
from PIL import Image

from data.system.errors import UserError
from vae.render.formats.format import FORMATS, Format
from vae.render.formats.frame import frame_durations, frame_rate
from vae.render.formats.size_limit import encode_within
from vae.render.formats.writers import STILL_SUFFIXES, encode_animation, write, write_still

LOSSLESS = (".png", "")
TICK = {".gif": 0.01}  # seconds; all others are held to a millisecond
SIZES = {"even": (32, 32), "odd": (31, 17)}
every_suffix = pytest.mark.parametrize("suffix", [*FORMATS, ""], ids=lambda suffix: suffix or "folder")
every_file = pytest.mark.parametrize("suffix", FORMATS)


def movie(count=12, height=32, width=32):
    y, x = np.mgrid[:height, :width] / 32
    phases = 2 * np.pi * np.arange(count) / 12
    colours = [np.stack([np.sin(3 * x + p), np.cos(3 * y + p), np.sin(2 * x + 2 * y - p)], -1) for p in phases]
    return [(127.5 + 100 * colour).round().astype(np.uint8) for colour in colours]


def read(path):
    """The frames, the seconds that they are shown for, and how often they are (0: for ever)."""
    if path.is_dir():
        return [np.asarray(Image.open(file).convert("RGB")) for file in sorted(path.iterdir())], None, None
    if path.suffix in VIDEO:
        with av.open(path) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            return frames, container.duration / av.time_base, None
    frames, milliseconds = [], 0
    with Image.open(path) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
            milliseconds += image.info.get("duration") or 0
        return frames, milliseconds / 1000, image.info.get("loop")


def everything_below(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def distance(a, b):
    return np.abs(a.astype(int) - b).mean()


@every_suffix
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_animation_comes_back_frame_by_frame(suffix, size, tmp_path):
    path, frames = tmp_path / f"new folder/movie{suffix}", movie(12, *size)
    write(iter(frames), str(path), 30)
    found, _, _ = read(path)
    assert len(found) == 12
    padding = [side % 2 if suffix in VIDEO else 0 for side in size]
    assert {frame.shape for frame in found} == {(size[0] + padding[0], size[1] + padding[1], 3)}
    for index, frame in enumerate(found):
        inside = frame[: size[0], : size[1]]
        far = [distance(inside, other) for other in frames]
        assert np.argmin(far) == index
        assert far[index] <= (0 if suffix in LOSSLESS else 5)
    assert list(path.parent.iterdir()) == [path]
    write(frames[:1], path, 30)
    ((one,), _, _) = read(path)
    assert distance(one[: size[0], : size[1]], frames[0]) <= (0 if suffix in LOSSLESS else 5)


@pytest.mark.parametrize(
    "suffix", [pytest.param(each, marks=pytest.mark.slow) if each in (".avif", ".webm") else each for each in FORMATS]
)
def test_an_animation_lasts_its_frames_over_its_rate(suffix, tmp_path):
    for fps in (30, 24, 7, 50, 29.97, 23.976, 0.5, 12.5):
        write(movie(), tmp_path / f"a{suffix}", fps)
        assert read(tmp_path / f"a{suffix}")[1] == pytest.approx(12 / fps, abs=TICK.get(suffix, 0.001)), fps
    a, b = movie(2)
    write([a] * 5 + [b] * 10 + [a] * 9, tmp_path / f"a{suffix}", 24)
    assert read(tmp_path / f"a{suffix}")[1] == pytest.approx(1, abs=TICK.get(suffix, 0.001)), "with frames that repeat"


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".webm", ".avif"])
def test_frames_that_are_all_alike_last_as_long_as_others(suffix, tmp_path):
    scenes = (movie(1)[0], movie(1, 17, 31)[0], np.zeros((16, 16, 3), np.uint8))
    for frame, quality, count in product(scenes, (None, "draft"), (2, 8)):
        write([frame] * count, tmp_path / f"a{suffix}", 20, quality)
        found, seconds, loop = read(tmp_path / f"a{suffix}")
        case = frame.shape, quality, count
        assert seconds == pytest.approx(count / 20, abs=TICK.get(suffix, 0.001)), case
        assert loop in (0, None), case
        for one in found:
            assert distance(one[: frame.shape[0], : frame.shape[1]], frame) <= 8, case


def test_an_animation_loops_for_ever_and_capital_suffixes_are_suffixes(tmp_path):
    for suffix in FORMATS:
        write(movie(3), tmp_path / f"A{suffix.upper()}", 30)
        (tmp_path / f"A{suffix.upper()}").rename(tmp_path / f"a{suffix}")
        frames, _, loop = read(tmp_path / f"a{suffix}")
        assert len(frames) == 3, suffix
        assert loop == 0 or suffix in (*VIDEO, ".avif"), suffix


def test_durations_are_never_off_by_more_than_half_a_tick_altogether():
    for ticks, fps in product((100, 1000), (0.3, 1, 7, 23.976, 24, 30, 50, 60, 144, 999.9)):
        whole, total = list(islice(frame_durations(fps, ticks), 300)), 0
        assert all(isinstance(duration, int) and duration >= 0 for duration in whole)
        for frames, duration in enumerate(whole, 1):
            total += duration
            assert abs(total - Fraction(ticks) * frames / frame_rate(fps)) <= Fraction(1, 2), (ticks, fps, frames)


def test_no_duration_of_an_allowed_gif_is_one_that_players_slow_down():
    for fps in (*range(1, 51), 33.3, 49.9):
        assert min(islice(frame_durations(fps, 100), 500)) >= 2, fps


BAD = {
    "unknown suffix": ("a.mov", 30),
    "no rate": ("a.gif", 0),
    "negative rate": ("a.mp4", -1),
    "rate not a number": ("a.webp", float("nan")),
    "endless rate": ("a.png", float("inf")),
    "rate above a tick": ("a.avif", 1001),
    "no rate for a folder": ("a", 0),
    "GIF that players slow down": ("a.gif", 50.1),
    "file that is a folder": ("folder.gif", 30),
    "folder that is a file": ("file", 30),
    "folder of other things": ("foreign", 30),
    "folder of other pictures": ("album", 30),
    "below a file": ("file/a.gif", 30),
    "folder below a file": ("file/a", 30),
    "no name": (".gif", 30),
}


def test_a_bad_request_is_refused_in_one_line_and_changes_nothing(tmp_path):
    (tmp_path / "folder.gif").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "0000.png").write_text("mine")
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "holiday.png").write_text("mine")
    before = everything_below(tmp_path)
    for case, (name, fps) in BAD.items():
        with pytest.raises(UserError) as caught:
            write(movie(2), tmp_path / name, fps)
        assert "\n" not in str(caught.value), case
        assert everything_below(tmp_path) == before, case
    (tmp_path / "folder.png").mkdir()
    before = everything_below(tmp_path)
    for name in ("a", "a.mp4", "a.txt", "folder.png", "file/a.png"):
        with pytest.raises(UserError):
            write_still(movie(1)[0], tmp_path / name)
        assert everything_below(tmp_path) == before, name
    with pytest.raises(UserError, match="there are none"):
        write([], tmp_path / "a.gif", 20)
    assert everything_below(tmp_path) == before


@every_file
def test_a_very_slow_animation_lasts_as_long_as_it_should_or_is_refused(suffix, tmp_path):
    for fps in (0.001, 0.00001):
        try:
            write(movie(3), tmp_path / f"a{suffix}", fps)
        except UserError:
            assert not list(tmp_path.iterdir())
        else:
            assert read(tmp_path / f"a{suffix}")[1] == pytest.approx(3 / fps)


@every_suffix
def test_what_was_there_survives_frames_that_fail(suffix, tmp_path):
    def failing(before, error):
        yield from movie(before)
        raise error

    write(movie(4), tmp_path / f"a{suffix}", 30)
    old = everything_below(tmp_path)
    for before, error in product((0, 3), (RuntimeError, KeyboardInterrupt)):
        with pytest.raises(error):
            write(failing(before, error), tmp_path / f"a{suffix}", 30)
        assert everything_below(tmp_path) == old, (before, error)


@every_file
def test_what_was_there_survives_a_full_disk(suffix, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    write(movie(4), tmp_path / f"a{suffix}", 30)
    old = everything_below(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write(movie(3), tmp_path / f"a{suffix}", 30)
    assert everything_below(tmp_path) == old


def test_a_folder_survives_a_failing_move(tmp_path, monkeypatch):
    write(movie(4), tmp_path / "frames", 30)
    old, rename, refused = everything_below(tmp_path), Path.rename, []

    def fail_once(self, target):
        if Path(target) == tmp_path / "frames" and not refused:
            refused.append(target)
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(UserError, match="Input/output error"):
        write(movie(3), tmp_path / "frames", 30)
    assert everything_below(tmp_path) == old


@every_suffix
def test_writing_again_leaves_the_new_frames_alone_for_whom_the_umask_says(suffix, tmp_path):
    path, before = tmp_path / f"a{suffix}", os.umask(0o027)
    try:
        write(movie(12), path, 30)
        write(movie(5), path, 30)
    finally:
        os.umask(before)
    assert len(read(path)[0]) == 5
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == (0o640 if suffix else 0o750)


def test_a_folders_frames_sort_by_name(tmp_path):
    write(movie(12, 2, 2), tmp_path / "frames", 30)
    assert [file.name for file in sorted((tmp_path / "frames").iterdir())] == [f"{i:04d}.png" for i in range(12)]


def test_a_still_comes_back(tmp_path):
    for suffix, size in product((*STILL_SUFFIXES, *map(str.upper, STILL_SUFFIXES)), SIZES.values()):
        path, (frame,) = tmp_path / f"new folder/still{suffix}", movie(1, *size)
        write_still(frame, path)
        ((found,), _, _) = read(path)
        assert found.shape == frame.shape, suffix
        assert distance(found, frame) <= (0 if suffix.lower() == ".png" else 5), suffix
        with Image.open(path) as image:
            assert image.format in Image.registered_extensions()[suffix.lower()]


def test_the_same_frames_make_the_same_bytes_at_another_time():
    frames = [np.full((32, 32, 3), 40 * index, np.uint8) for index in range(3)]
    first = {suffix: encode_animation(frames, suffix, 10) for suffix in FORMATS}
    time.sleep(1.1)
    for suffix in FORMATS:
        assert encode_animation(frames, suffix, 10) == first[suffix], suffix


@every_file
def test_a_draft_has_the_same_frames_for_as_long_and_is_as_sure(suffix, tmp_path):
    frames, path = movie(), tmp_path / f"a{suffix}"
    write(frames, path, 12, "draft")
    assert path.read_bytes() == encode_animation(frames, suffix, 12, "draft")
    found, seconds, _ = read(path)
    assert len(found) == len(frames)
    assert seconds == pytest.approx(1, abs=TICK.get(suffix, 0.001))
    assert max(distance(a, b) for a, b in zip(frames, found, strict=True)) < (1 if suffix in LOSSLESS else 8)


@pytest.mark.parametrize("side", [64, *(pytest.param(side, marks=pytest.mark.slow) for side in (96, 192))])
def test_a_video_of_any_width_has_the_same_bytes_every_time(side):
    frames = film(side=side)
    assert len({encode_animation(frames, ".mp4", 12) for _ in range(6 if side == 64 else 20)}) == 1


def test_a_video_says_how_its_colours_are_meant(tmp_path):
    for suffix, side in product(VIDEO, (48, 720)):
        bars = np.repeat([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 120, 40]]], side // 4, 1).astype(np.uint8)
        write([np.repeat(bars, side, 0)] * (3 if side == 48 else 1), tmp_path / f"a{suffix}", 24)
        with av.open(tmp_path / f"a{suffix}") as container:
            frame = next(container.decode(video=0))
            context = container.streams.video[0].codec_context
            stated = frame.colorspace, context.color_primaries, context.color_trc, frame.color_range
            assert stated == (1, 1, 1, 1), f"BT.709, limited range (ITU-T H.273): {suffix}, {side}"
            centres = frame.to_ndarray(format="rgb24")[side // 2, side // 8 :: side // 4]
        assert abs(centres.astype(int) - bars[0, side // 8 :: side // 4]).max() <= 2, (suffix, side)


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    for suffix in ("", ".gif"):
        for _ in range(2):
            write(movie(2), tmp_path / ("m" * (255 - len(suffix)) + suffix), 10)


def test_a_gif_rests_as_long_as_its_frames_say(tmp_path):
    still = np.zeros((16, 16, 3), np.uint8)
    write([still] * 9 + [still + 200], tmp_path / "a.gif", 0.01)
    frames, seconds, _ = read(tmp_path / "a.gif")
    assert len(frames) == 3, "a duration has 16 bits of 1/100 s"
    assert seconds == pytest.approx(1000)


@pytest.mark.parametrize(("suffix", "longest"), [(".gif", 65_535), (".webp", 16_383), (".mp4", 16_384)])
def test_sides_that_a_format_cannot_have_are_refused_before_any_is_encoded(suffix, longest, monkeypatch):
    encoded = []

    def record(path, frames, fps, **options):
        encoded.extend(frames)
        path.touch()

    monkeypatch.setitem(FORMATS, suffix, replace(FORMATS[suffix], encoder=record))
    with pytest.raises(UserError, match="too many"):
        encode_animation(iter([np.zeros((1, longest + 1, 3), np.uint8)]), suffix, 10)
    assert not encoded
    encode_animation(iter([np.zeros((1, longest, 3), np.uint8)]), suffix, 10)
    assert len(encoded) == 1


def test_a_format_is_its_row_in_the_table(tmp_path, monkeypatch):
    def raw(path, frames, fps, quality=1):
        path.write_bytes(b"".join(frame[::quality].tobytes() for frame in frames))

    monkeypatch.setitem(FORMATS, ".rgb", Format(raw, qualities=(2, 4), highest_fps=30))
    frames = movie(3)
    write(frames, tmp_path / "a.RGB", 30)
    assert (tmp_path / "a.RGB").read_bytes() == b"".join(frame.tobytes() for frame in frames)
    with pytest.raises(UserError, match=r"slow \.rgb down above 30"):
        write(frames, tmp_path / "a.rgb", 31)
    assert encode_within(frames, ".rgb", 30, 3 * 32 * 32 * 3 // 2).reductions == "quality 2"


NTSC = {23.976: 24, 23.98: 24, 29.97: 30, 47.952: 48, 59.94: 60, 119.88: 120, 30_000 / 1001: 30}


@pytest.mark.parametrize("suffix", VIDEO)
def test_the_rates_of_television_are_exact(suffix, tmp_path):
    for fps, whole in NTSC.items():
        assert frame_rate(fps) == Fraction(1000 * whole, 1001)
        write(movie(3), tmp_path / f"a{suffix}", fps)
        with av.open(tmp_path / f"a{suffix}") as container:
            stream = container.streams.video[0]
            assert float(stream.average_rate) == pytest.approx(1000 * whole / 1001, rel=1e-6)
            if suffix == ".mp4":
                at = [frame.pts * stream.time_base for frame in container.decode(video=0)]
                assert at == [index * Fraction(1001, 1000 * whole) for index in range(3)]


def test_other_rates_are_what_they_say():
    for fps in (24, 25, 23.9, 29.9, 30, 60, 12.5, 0.3, 14.985, 1000):
        assert float(frame_rate(fps)) == pytest.approx(fps, rel=1e-9)


def boxes(content):
    """The kinds and contents of the boxes of ISO 14496-12, in their order."""
    place, found = 0, []
    while place < len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        found.append((kind, content[place + 8 : place + size]))
        place += size
    return found


@pytest.mark.parametrize("quality", [None, "draft", 28])
def test_an_mp4_can_be_played_while_it_is_still_coming(quality, tmp_path):
    for count in (1, 30):
        frames = film(count, side=48)
        write(iter(frames), tmp_path / "a.mp4", 24, quality)
        content = (tmp_path / "a.mp4").read_bytes()
        assert content == encode_animation(frames, ".mp4", 24, quality)
        found = boxes(content)
        kinds = [kind for kind, _ in found]
        assert kinds.index(b"moov") < kinds.index(b"mdat")
        moov = dict(found)[b"moov"]
        (first,) = struct.unpack_from(">I", moov, moov.index(b"stco") + 12)
        assert first == content.index(b"mdat") + 4, "where the samples are"
        with av.open(io.BytesIO(content)) as container:
            assert sum(1 for _ in container.decode(video=0)) == count
