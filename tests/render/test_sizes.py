"""Animations of a given size: they fit, they last as long, and no more is given up than must be."""

import io
import itertools
import re

import av
import pytest
from conftest import film
from PIL import Image

from data.system.errors import UserError
from vae.render.formats.encoders import QUALITIES, SUFFIXES, encode
from vae.render.formats.frame import resize
from vae.render.formats.size_limit import fit, parse_size

FPS = 12


def duration_of(content, suffix):
    if suffix in (".mp4", ".webm"):
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


@pytest.mark.parametrize(
    ("words", "expected"), [("2MB", 2_000_000), ("500 kB", 500_000), ("1.5m", 1_500_000), ("7", 7), ("3G", 3 * 10**9)]
)
def test_sizes_are_read_as_people_write_them(words, expected):
    assert parse_size(words) == expected


@pytest.mark.parametrize("words", ["", "big", "-1MB", "0", "1TB", "MB", "1 2kB"])
def test_other_words_are_refused(words):
    with pytest.raises(UserError, match="max_size"):
        parse_size(words)


def test_every_format_has_something_to_give_up():
    assert QUALITIES.keys() == set(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_fits_is_left_alone(suffix):
    whole = encode(film(), suffix, FPS)
    fitted = fit(film(), suffix, FPS, len(whole))
    assert fitted.content == whole
    assert fitted.sacrifice == "nothing given up"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.6, 0.2, 0.06])
def test_an_animation_fits_and_lasts_as_long(suffix, share):
    limit = int(share * len(encode(film(), suffix, FPS)))
    try:
        fitted = fit(film(), suffix, FPS, limit)
    except UserError:
        assert limit < 4000
        return
    assert len(fitted.content) <= limit
    assert fitted.sacrifice != "nothing given up"
    assert duration_of(fitted.content, suffix) == pytest.approx(12 / FPS, abs=0.02)


def test_more_room_never_means_a_greater_sacrifice():
    whole = len(encode(film(), ".gif", FPS))
    sizes = [len(fit(film(), ".gif", FPS, int(share * whole)).content) for share in (0.9, 0.5, 0.2, 0.1, 0.05)]
    assert all(a >= b for a, b in itertools.pairwise(sizes))
    assert len(set(sizes)) >= 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pixels_are_given_up_last_and_quality_comes_back(suffix):
    limit = 2000 + int(0.05 * len(encode(film(24), suffix, FPS)))
    fitted = fit(film(24), suffix, FPS, limit)
    told = re.search(r"(\d+) colours|quality (\d+)", fitted.sacrifice)
    quality = None if told is None else int(told[1] or told[2])
    better = [None, *QUALITIES[suffix]]
    scale = re.search(r"(\d+)% of the side", fitted.sacrifice)
    side = 96 * int(scale[1]) // 100 if scale else 96
    kept = [resize(film(24)[index], side, "lanczos") for index in fitted.kept]
    for more in better[: better.index(quality)]:
        assert len(encode(kept, suffix, FPS * len(kept) / 24, more)) > limit
    assert scale or len(kept) < 24 or quality


def test_colours_go_before_frames_and_frames_before_pixels():
    told = [fit(film(), ".gif", FPS, limit).sacrifice for limit in range(3_000, 160_000, 4_000)]
    kinds = [("side" in words, "frame" in words, "colours" in words) for words in told]
    assert kinds == sorted(kinds, reverse=True)
    assert len(set(kinds)) >= 3


def test_the_impossible_is_refused_with_the_size_that_is_not():
    with pytest.raises(UserError, match=r"this .gif has .* bytes"):
        fit(film(), ".gif", FPS, 100)
