"""Animations of a limited size: they fit, they last as long, and no more is reduced than must be."""

import io
import re
from itertools import pairwise

import av
import pytest
from conftest import VIDEO, film
from PIL import Image

from data.system.errors import UserError
from vae.render.formats.format import FORMATS
from vae.render.formats.frame import resize
from vae.render.formats.size_limit import encode_within, parse_size
from vae.render.formats.writers import encode_animation

FPS, SIDE, COUNT = 12, 64, 12
FRAMES = film(COUNT, SIDE)
# encoders that take a second for a dozen frames are tried with -m slow
every_suffix = pytest.mark.parametrize(
    "suffix",
    [pytest.param(each, marks=pytest.mark.slow) if each in (".webm", ".avif", ".png") else each for each in FORMATS],
)


def duration_of(content, suffix):
    if suffix in VIDEO:
        with av.open(io.BytesIO(content)) as container:
            frames = list(container.decode(video=0))
            return len(frames) / float(container.streams.video[0].average_rate)
    with Image.open(io.BytesIO(content)) as image:
        total = 0
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            total += image.info["duration"]
        return total / 1000


def test_sizes_are_read_as_people_write_them_and_other_words_are_refused():
    sizes = {"2MB": 2_000_000, "500 kB": 500_000, "1.5m": 1_500_000, "7": 7, "3G": 3 * 10**9}
    assert {text: parse_size(text) for text in sizes} == sizes
    for text in ("", "big", "-1MB", "0", "1TB", "MB", "1 2kB"):
        with pytest.raises(UserError, match="max_size"):
            parse_size(text)


def test_every_format_has_something_to_reduce():
    assert all(each.qualities for each in FORMATS.values())


@every_suffix
def test_an_animation_fits_and_lasts_as_long_and_no_more_is_reduced_than_must_be(suffix):
    whole = encode_animation(FRAMES, suffix, FPS)
    fitted = encode_within(FRAMES, suffix, FPS, len(whole))
    assert fitted.content == whole
    assert fitted.reductions == "nothing reduced"
    better = [None, *FORMATS[suffix].qualities]
    for share in (0.4, 0.06):
        limit = int(share * len(whole))
        try:
            fitted = encode_within(FRAMES, suffix, FPS, limit)
        except UserError:
            assert limit < 4000, share
            continue
        assert len(fitted.content) <= limit, share
        assert fitted.reductions != "nothing reduced", share
        assert duration_of(fitted.content, suffix) == pytest.approx(COUNT / FPS, abs=0.02), share
        words = re.search(r"(\d+) colours|quality (\d+)", fitted.reductions)
        quality = None if words is None else int(words[1] or words[2])
        scale = re.search(r"(\d+)% of the side", fitted.reductions)
        side = SIDE * int(scale[1]) // 100 if scale else SIDE
        kept = [resize(FRAMES[index], side, "lanczos") for index in fitted.frame_indices]
        for more in better[: better.index(quality)]:
            larger = encode_animation(kept, suffix, FPS * len(kept) / COUNT, more)
            assert len(larger) > limit, f"pixels are reduced last, and quality comes back: {share}"
        assert scale or len(kept) < COUNT or quality, share


def test_colours_go_before_frames_and_frames_before_pixels_as_room_shrinks():
    whole = len(encode_animation(FRAMES, ".gif", FPS))
    fitted = [encode_within(FRAMES, ".gif", FPS, int(share * whole)) for share in (0.06, 0.2, 0.5, 1)]
    assert all(len(a.content) <= len(b.content) for a, b in pairwise(fitted))
    kinds = [tuple(word in each.reductions for word in ("side", "frame", "colours")) for each in fitted]
    assert kinds == sorted(kinds, reverse=True)
    assert len(set(kinds)) >= 3


def test_the_impossible_is_refused_with_the_size_that_is_not():
    with pytest.raises(UserError, match=r"this .gif has .* bytes"):
        encode_within(FRAMES, ".gif", FPS, 100)
