import io
import random
import re
import struct
import zlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from conftest import fill_with_odd_pictures, mutated, scene
from PIL import Image, ImageCms

from data.cache import load_cache
from data.datamodule import ImageData
from data.image_files.decode_pool import DecodePool
from data.image_files.listing import find_pictures
from data.image_files.reader import read_picture
from data.rng import uniform
from data.sources import PROCEDURAL, SOURCES, normalize_source, source_name
from data.split import digests, split_rows
from data.synthetic import lines, patterns
from data.system.errors import UserError
from data.transforms import to_tensor, to_uint8

pytestmark = pytest.mark.usefixtures("in_process")


def test_pixels_survive_the_way_to_a_tensor_and_back():
    every_value = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    x = to_tensor(every_value)
    assert x.shape == (1, 1, 16, 16)
    assert x.min() == -1
    assert x.max() == 1
    assert torch.equal(to_uint8(x), every_value)


def test_pixels_out_of_range_are_clipped():
    assert to_uint8(torch.tensor([-3.0, 3.0]).reshape(1, 1, 1, 2)).flatten().tolist() == [0, 255]


def test_a_procedural_image_depends_on_seed_and_index_alone():
    for name, family in PROCEDURAL.items():
        for size in (32, 64):
            batch = family(7, torch.arange(5, 21), size)
            alone = torch.cat([family(7, torch.tensor([index]), size) for index in (20, 5, 11)])
            assert torch.equal(batch[[15, 0, 6]], alone), (name, size)
            assert not torch.equal(family(8, torch.arange(5, 21), size), batch), (name, size)
            assert batch.dtype == torch.uint8
            assert batch.flatten(1).float().std(1).min() > 5, (name, size)


def test_uniform_numbers_are_uniform_and_independent():
    numbers = uniform(3, torch.arange(50_000), 6)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.t():
        histogram = torch.histc(column, 20, 0, 1) / len(column)
        assert (histogram - 0.05).abs().max() < 0.005
    assert (torch.corrcoef(numbers.t()) - torch.eye(6)).abs().max() < 0.02
    neighbours = torch.corrcoef(torch.stack([numbers[:-1, 0], numbers[1:, 0]]))[0, 1]
    assert abs(neighbours) < 0.02


def test_a_small_step_in_a_factor_is_a_small_step_in_the_pattern():
    start = uniform(1, torch.arange(8), len(patterns.FACTORS)) * 0.98
    before = patterns.draw_patterns(start, 64)
    for factor, step in zip(patterns.FACTORS, 0.02 * torch.eye(len(patterns.FACTORS)), strict=True):
        change = (patterns.draw_patterns(start + step, 64) - before).abs().mean()
        assert 0 < change < 0.03, factor


def test_a_pattern_is_the_same_at_every_size():
    factors = uniform(2, torch.arange(8), len(patterns.FACTORS))
    small, large = patterns.draw_patterns(factors, 32), patterns.draw_patterns(factors, 128)
    shrunk = torch.nn.functional.avg_pool2d(large.permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)
    assert (shrunk - small).abs().mean() < 0.05


def test_oklch_gives_the_colours_that_its_author_published():
    rgb = patterns.oklch_to_srgb(
        torch.tensor([1.0, 0.0, 0.627955]), torch.tensor([0.0, 0.0, 0.257683]), torch.tensor([0.0, 0.0, 0.510104])
    )
    assert torch.allclose(rgb, torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]), atol=2e-3)


def test_a_line_starts_in_the_centre_and_points_along_its_angle():
    angles = torch.tensor([0.0, torch.pi / 2, torch.pi])
    drawn = lines.draw_lines(angles)[..., 0]
    axis = torch.arange(32) + 0.5 - 16
    weight = drawn / drawn.sum((1, 2), keepdim=True)
    across, down = (weight.sum(1) * axis).sum(1), (weight.sum(2) * axis).sum(1)
    assert torch.allclose(across, 7.5 * angles.cos(), atol=0.3)
    assert torch.allclose(down, -7.5 * angles.sin(), atol=0.3)  # anticlockwise
    assert (drawn.sum((1, 2)) - 2 * 15).abs().max() < 6


def pixel(path: Path, x: float, y: float, **options) -> list[int]:
    picture = read_picture(path, 32, options.pop("channels", 3), **options)
    return picture[int(y * 31), int(x * 31)].tolist()


def near(a: list[int], b: list[int], tolerance: int = 3) -> bool:
    return max(abs(p - q) for p, q in zip(a, b, strict=True)) <= tolerance


def test_transparent_pixels_show_the_background(tmp_path):
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (40, 40), (255, 0, 0, 128)).save(tmp_path / "half.png")
    assert pixel(tmp_path / "clear.png", 0.5, 0.5) == [255, 255, 255]
    assert pixel(tmp_path / "clear.png", 0.5, 0.5, background="#102030") == [16, 32, 48]
    assert near(pixel(tmp_path / "half.png", 0.5, 0.5, background="black"), [128, 0, 0])


def test_a_transparent_palette_entry_shows_the_background(tmp_path):
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, 200, 10, 10])
    image.save(tmp_path / "p.png", transparency=1)
    assert pixel(tmp_path / "p.png", 0.5, 0.5, background="blue") == [0, 0, 255]


def test_sixteen_bits_keep_their_full_range(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 64), (64, 1)).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    left, middle, right = (pixel(tmp_path / "deep.png", x, 0.5)[0] for x in (0, 0.5, 1))
    assert (left < 6, 120 < middle < 135, right > 249) == (True, True, True)


def test_cmyk_keeps_its_colours(tmp_path):
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=98)
    Image.new("CMYK", (40, 40), (0, 0, 0, 0)).save(tmp_path / "paper.jpg", quality=98)
    assert near(pixel(tmp_path / "red.jpg", 0.5, 0.5), [255, 0, 0], 12)
    assert near(pixel(tmp_path / "paper.jpg", 0.5, 0.5), [255, 255, 255])


def test_an_embedded_colour_profile_is_applied_and_a_broken_one_ignored(tmp_path):
    image = Image.new("RGB", (40, 40), (200, 100, 50))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "srgb.png", icc_profile=srgb)
    image.save(tmp_path / "broken.png", icc_profile=b"not a profile")
    assert near(pixel(tmp_path / "srgb.png", 0.5, 0.5), [200, 100, 50])
    assert pixel(tmp_path / "broken.png", 0.5, 0.5) == [200, 100, 50]


def test_exif_rotation_is_applied(tmp_path):
    upright = Image.new("RGB", (64, 64))
    upright.paste((255, 0, 0), (0, 0, 32, 32))
    upright.paste((0, 255, 0), (32, 0, 64, 32))
    upright.paste((0, 0, 255), (0, 32, 32, 64))
    turn = Image.Transpose
    stored = {
        1: None, 2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE, 6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
    }  # fmt: skip
    for orientation, transpose in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = upright if transpose is None else upright.transpose(transpose)
        image.save(tmp_path / "turned.jpg", exif=exif, quality=98, subsampling=0)
        assert near(pixel(tmp_path / "turned.jpg", 0.2, 0.2), [255, 0, 0], 12), orientation
        assert near(pixel(tmp_path / "turned.jpg", 0.8, 0.2), [0, 255, 0], 12), orientation


def test_the_middle_is_kept_and_small_detail_averaged(tmp_path):
    stripes = np.zeros((512, 1024, 3), np.uint8)
    stripes[:, 256:768:2] = 255
    Image.fromarray(stripes).save(tmp_path / "wide.png")
    picture = read_picture(tmp_path / "wide.png", 32, 3)[:, 2:-2]
    assert abs(picture.astype(int) - 128).max() < 12


@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_picture_can_be_read(tmp_path, channels):
    good, _ = fill_with_odd_pictures(tmp_path)
    data = ImageData(str(tmp_path), 32, channels, batch_size=4, cache_dir=str(tmp_path / "cache"), val_fraction=0.2)
    data.prepare_data()
    data.setup("fit")
    assert len(data.train_set) + len(data.val_set) == good
    batch = next(iter(data.train_dataloader()))
    assert batch.shape == (4, 32, 32, channels)
    assert batch.dtype == torch.uint8


def test_broken_files_are_counted_and_named_each_time(tmp_path, capsys):
    _, broken = fill_with_odd_pictures(tmp_path / "pictures")
    for _ in range(2):
        ImageData(str(tmp_path / "pictures"), 32, cache_dir=str(tmp_path / "cache")).prepare_data()
        output = capsys.readouterr().err
        assert f"Skipped {broken} of" in output
        assert "truncated.png" in output
        assert "letter.png" in output


def test_a_folder_without_pictures_ends_with_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no picture"):
        ImageData(str(tmp_path)).prepare_data()
    with pytest.raises(UserError, match="no such folder"):
        ImageData(str(tmp_path / "nowhere")).prepare_data()


@pytest.mark.parametrize("good", [0, 1])
def test_a_folder_of_mostly_broken_pictures_ends_with_one_line(tmp_path, good):
    for index in range(3):
        (tmp_path / f"{index}.png").write_text("no picture")
    for index in range(good):
        scene(index).save(tmp_path / f"good{index}.png")
    with pytest.raises(UserError, match=r"could be read|are broken") as caught:
        ImageData(str(tmp_path), 32, cache_dir=str(tmp_path / "cache")).prepare_data()
    assert "\n" not in str(caught.value)


def test_second_names_of_one_file_are_one_picture(tmp_path):
    for index in range(3):
        scene(index).save(tmp_path / f"{index}.png")
    (tmp_path / "again.png").symlink_to(tmp_path / "0.png")
    data = ImageData(str(tmp_path), 32, cache_dir=str(tmp_path / "cache"), val_fraction=0.4)
    data.prepare_data()
    data.setup("fit")
    assert len(data.train_set) + len(data.val_set) == 3


def folder_of(tmp_path: Path, count: int) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir(parents=True)
    for index in range(count):
        scene(index).save(folder / f"{index}.png")
    return folder


def test_the_cache_is_used_until_a_file_changes(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, 6)
    data = ImageData(str(folder), 32, cache_dir=str(tmp_path / "cache"))
    data.prepare_data()
    decoded, decode = [], DecodePool.decode

    def count(pool, parts, *rest):
        decoded.extend(part.path for part in parts)
        return decode(pool, parts, *rest)

    monkeypatch.setattr(DecodePool, "decode", count)
    data.prepare_data()
    assert decoded == []
    scene(99).save(folder / "3.png")
    data.prepare_data()
    assert len(decoded) == 6


def test_a_half_written_cache_is_never_used(tmp_path):
    folder = folder_of(tmp_path, 6)
    data = ImageData(str(folder), 32, cache_dir=str(tmp_path / "cache"), val_fraction=0.4)
    data.prepare_data()
    (place,) = (tmp_path / "cache").iterdir()
    images = place / "images.u8"
    images.write_bytes(images.read_bytes()[:1000])
    assert load_cache(place, (32, 32, 3)) is None
    data.prepare_data()
    data.setup("fit")
    assert len(data.train_set) + len(data.val_set) == 6


def split(images: torch.Tensor, val_fraction: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return split_rows(digests(images, seed), val_fraction)


def test_the_split_is_deterministic_and_never_leaks_copies():
    distinct = patterns.patterns(0, torch.arange(60), 32)
    images = torch.cat([distinct, distinct[:30]])
    train, val = split(images, 0.2, seed=1)
    assert [half.tolist() for half in split(images, 0.2, seed=1)] == [train.tolist(), val.tolist()]
    assert split(images, 0.2, seed=2)[1].tolist() != val.tolist()
    assert sorted(train.tolist() + val.tolist()) == list(range(90))
    held_out = {images[row].numpy().tobytes() for row in val}
    assert not held_out & {images[row].numpy().tobytes() for row in train}
    assert 0.1 < len(val) / 90 < 0.35


def test_new_files_do_not_move_old_ones_from_training_to_validation_at_random():
    images = patterns.patterns(0, torch.arange(200), 32)
    before = set(split(images[:150], 0.2, seed=0)[1].tolist())
    after = set(split(images, 0.2, seed=0)[1].tolist())
    assert len(before - after) < 0.35 * len(before)


def test_copies_of_one_picture_cannot_be_split():
    with pytest.raises(UserError, match="3 pictures, 1 of them different: too few"):
        split(patterns.patterns(0, torch.tensor([1, 1, 1]), 32), 0.3, seed=0)


def test_both_halves_of_a_split_hold_pictures():
    for count in (2, 3, 4, 30):
        for fraction in (0.001, 0.5, 0.999):
            train, val = split(patterns.patterns(0, torch.arange(count), 32), fraction, seed=0)
            assert len(train) >= 1, (count, fraction)
            assert len(val) >= (2 if count >= 4 else 1), (count, fraction)


def test_thirty_two_bits_are_scaled_by_what_they_hold(tmp_path):
    for values, expected in (
        ([0, 255], [0, 255]),
        ([0, 65535], [0, 255]),
        ([0, 2**30], [0, 255]),
        ([-5, 128], [0, 128]),
    ):
        ramp = np.repeat(np.array(values, np.int32), 32)[None].repeat(64, 0)
        Image.fromarray(ramp).save(tmp_path / "deep.tiff")
        assert [pixel(tmp_path / "deep.tiff", x, 0.5)[0] for x in (0.1, 0.9)] == expected, values


def test_linked_folders_are_entered_once(tmp_path):
    folder = folder_of(tmp_path, 3)
    outside = folder_of(tmp_path / "elsewhere", 2)
    (folder / "linked").symlink_to(outside)
    (folder / "back").symlink_to(folder)
    assert len(find_pictures(folder).pictures) == 5


def test_limit_takes_a_part_that_the_seed_names(tmp_path):
    folder = folder_of(tmp_path, 12)

    def chosen(seed: int) -> bytes:
        data = ImageData(str(folder), 32, limit=5, seed=seed, val_fraction=0.2, cache_dir=str(tmp_path / "cache"))
        data.prepare_data()
        data.setup("fit")
        assert len(data.train_set) + len(data.val_set) == 5
        return data.train_set.images.numpy().tobytes()

    assert chosen(0) == chosen(0)
    assert chosen(0) != chosen(1)


def test_lines_are_always_what_the_benchmark_says(tmp_path):
    data = ImageData("lines", 64, 3, limit=64, batch_size=16, cache_dir=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    assert (data.image_size, data.channels) == (32, 1)
    assert next(iter(data.val_dataloader())).shape[1:] == (32, 32, 1)


def test_larger_pictures_come_in_smaller_batches_unless_told_otherwise(tmp_path):
    def batch(**options: int) -> int:
        data = ImageData("patterns", limit=100, cache_dir=str(tmp_path), **options)
        data.prepare_data()
        data.setup("fit")
        (first, *_) = data.train_dataloader()
        assert data.hparams["batch_size"] == len(first)
        return len(first)

    assert [batch(image_size=side) for side in (32, 64, 128)] == [64, 64, 16]
    assert batch(image_size=128, batch_size=20) == 20


def test_options_out_of_range_are_refused():
    for options in (
        *({"val_fraction": 0}, {"val_fraction": 1.5}, {"batch_size": 0}, {"limit": 1}),
        *({"background": "no colour"}, {"white": 0.0}, {"white": -1.0}),
    ):
        with pytest.raises(UserError):
            ImageData(**options)


def test_every_source_is_in_the_help_and_in_the_readme():
    for text in (ImageData.__doc__, Path(__file__).parents[2].joinpath("data/README.md").read_text()):
        assert {name for name in SOURCES if not re.search(rf"\b{name}\b", text)} == set()


def test_sources_have_one_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert normalize_source("pictures/../cats") == str(tmp_path / "cats")
    assert normalize_source("MNIST") == "MNIST"
    assert source_name("some/where/cats/") == "cats"


def write_mnist(root: Path, name: str, prefix: str, count: int) -> None:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    digit = np.zeros((28, 28), np.uint8)
    digit[2:6, 4:24] = 255  # a bar at the top of an upright picture
    pictures = np.stack([np.roll(digit, index % 5, 1) for index in range(count)])
    if name == "EMNIST":
        pictures = pictures.transpose(0, 2, 1)
    for part in ("train", "test" if name == "EMNIST" else "t10k"):
        head = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{prefix}{part}-images-idx3-ubyte").write_bytes(head + pictures.tobytes())
        labels = struct.pack(">II", 2049, count) + bytes(count)
        (raw / f"{prefix}{part}-labels-idx1-ubyte").write_bytes(labels)


def test_torchvision_pictures_come_upright_without_their_labels(tmp_path):
    for name, prefix in {"MNIST": "", "FashionMNIST": "", "KMNIST": "", "EMNIST": "emnist-balanced-"}.items():
        write_mnist(tmp_path / "downloads", name, prefix, 10)
        data = ImageData(name, 32, 1, batch_size=4, val_fraction=0.2, cache_dir=str(tmp_path))
        data.prepare_data()
        data.setup("fit")
        picture = next(iter(data.train_dataloader()))[0, :, :, 0].float()
        assert picture.shape == (32, 32)
        assert picture[:8].mean() > 5 * picture[16:].mean() + 10, name


def test_no_network_ends_with_one_line(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name in SOURCES.keys() - PROCEDURAL.keys():
        with pytest.raises(UserError, match=name) as caught:
            ImageData(name, cache_dir=str(tmp_path)).prepare_data()
        assert "\n" not in str(caught.value)


def test_a_picture_may_also_come_without_any_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_picture(tmp_path / "missing.png", 32, 3)
    buffer = io.BytesIO()
    scene(1).save(buffer, "PNG")
    (tmp_path / "no-suffix").write_bytes(buffer.getvalue())
    assert read_picture(tmp_path / "no-suffix", 32, 3).shape == (32, 32, 3)


FORMATS = {"png": {}, "jpeg": {}, "webp": {}, "gif": {}, "bmp": {}, "tiff": {"compression": "tiff_lzw"}, "avif": {}}


@pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it can still read
def test_mutated_pictures_are_read_or_refused_in_one_line(tmp_path):
    for suffix, options in FORMATS.items():
        file, chance, faults = io.BytesIO(), random.Random(0), []
        scene(1).save(file, suffix, **options)
        path = tmp_path / f"a.{suffix}"
        for _ in range(150):
            path.write_bytes(mutated(file.getvalue(), chance))
            try:
                pixels = read_picture(path, 32, 3)
            except UserError as error:
                faults.append(str(error))
            else:
                assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8), suffix
        assert 0 < len(faults) < 150, suffix
        assert all(fault.startswith(f"{path}: ") and len(fault.splitlines()) == 1 for fault in faults)


def test_thin_pictures_are_read(tmp_path):
    for size in ((1, 100_000), (100_000, 1), (1, 1)):
        Image.new("RGB", size, (200, 10, 30)).save(tmp_path / "a.png")
        assert np.unique(read_picture(tmp_path / "a.png", 32, 3).reshape(-1, 3), axis=0).tolist() == [[200, 10, 30]], (
            size
        )


def png_of_size(side: int) -> bytes:
    """A grey PNG of one bit a pixel, all black, packed row by row."""
    rows, packer = bytes(1 + side // 8), zlib.compressobj(9)
    packed = b"".join(packer.compress(rows * 100) for _ in range(side // 100)) + packer.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b"")]
    lengths = [struct.pack(">I", len(content)) + kind + content for kind, content in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(part + struct.pack(">I", zlib.crc32(part[4:])) for part in lengths)


@pytest.mark.filterwarnings("ignore")
def test_a_picture_that_unpacks_to_gigabytes_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png_of_size(30_000))
    assert (tmp_path / "a.png").stat().st_size < 1_000_000
    with pytest.raises(UserError):
        read_picture(tmp_path / "a.png", 32, 3)
