"""Pictures that move into one another: both ends are what was given, and known middles are met."""

import numpy as np
import pytest
import torch
from conftest import scene
from PIL import Image, ImageDraw
from torch.testing import assert_close

from data.transforms import to_tensor, to_uint8
from vae.morphing.flow import displacement
from vae.morphing.metamorphosis import Metamorphosis, flows_between
from vae.morphing.registration import register, stands_on_plain_ground
from vae.tuning.pivotal import psnr

SIDE = 64


def thing(across: float = 0.0, size: float = 1.0, degrees: float = 0.0, colour: str = "red") -> torch.Tensor:
    """A leaf with a stalk on white, (1, 3, 64, 64)."""
    picture = Image.new("RGB", (512, 512), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse([256 - 70, 256 - 130, 256 + 70, 256 + 90], colour, "black", 12)
    draw.rectangle([256 - 14, 256 + 80, 256 + 14, 256 + 160], "green")
    draw.ellipse([256 - 40, 256 - 90, 256, 256 - 50], "yellow")
    scale = 8 / size
    middle = (256 - 32 * scale - across * SIDE * scale, 256 - 32 * scale)
    turned = picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white")
    moved = turned.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, (scale, 0, middle[0], 0, scale, middle[1]), fillcolor="white"
    )
    return to_tensor(torch.from_numpy(np.asarray(moved).copy())[None])


def of(*pictures: torch.Tensor, resample: str = "lanczos") -> Metamorphosis:
    x = torch.cat(pictures)
    return Metamorphosis(to_uint8(x), flows_between(x), resample)


KNOWN = {
    "moved": (thing(-0.1), thing(), thing(0.1)),
    "turned": (thing(degrees=-20), thing(), thing(degrees=20)),
    "grown": (thing(size=0.8), thing(size=0.98), thing(size=1.2)),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_the_middle_is_nearer_to_the_truth_than_a_cross_fade_is(kind):
    start, truth, end = KNOWN[kind]
    frame, share = of(start, end).drawn(torch.tensor([0.5]), (start + end) / 2)
    assert_close(share, torch.full_like(share, 0.5), atol=0.2, rtol=0)
    ours, fade = psnr(torch.cat([frame, (start + end) / 2]), truth.expand(2, -1, -1, -1))
    assert ours > fade + 2


@pytest.mark.parametrize("resample", ["lanczos", "nearest"])
@pytest.mark.parametrize("drawn", ["noise", "grey", "start"])
def test_keyframes_are_shown_exactly_whatever_the_model_draws(drawn, resample):
    pictures = [thing(), thing(0.1, 0.7, 30, "blue"), thing(-0.2, colour="purple")]
    x = {"noise": torch.rand(3, 3, SIDE, SIDE) * 2 - 1, "grey": torch.zeros(3, 3, SIDE, SIDE)}
    x["start"] = torch.cat(pictures[:1] * 3)
    metamorphosis = of(*pictures, resample=resample)
    frames, shares = metamorphosis.drawn(torch.arange(3.0), x[drawn])
    assert torch.equal(to_uint8(frames), metamorphosis.pictures)
    assert shares.flatten(1).amin(1).tolist() == [0, 0, 1]
    assert shares.flatten(1).amax(1).tolist() == [0, 0, 1]


def test_the_model_says_where_the_dissolve_begins():
    start, end = thing(), thing(colour="blue")
    half = torch.cat([start[..., :32], end[..., 32:]], 3)
    frame, share = of(start, end).drawn(torch.tensor([0.5]), half)
    assert share[..., :32].min() < 0.4
    assert share[..., 32:].max() > 0.6
    left, right = (frame[..., :32] - start[..., :32]).abs(), (frame[..., 32:] - end[..., 32:]).abs()
    fade = (start - end).abs() / 2
    assert left.mean() < 0.97 * fade[..., :32].mean()
    assert right.mean() < 0.97 * fade[..., 32:].mean()


def test_backwards_it_is_the_same():
    start, end = thing(-0.1), thing(0.1, 0.8, 25, "blue")
    assert_close(register(start, end), -register(end, start), atol=1e-3, rtol=0)


def test_like_pictures_stay_where_they_are():
    assert register(thing(), thing()).abs().max() < 1e-3
    (frame, _), other = of(thing(), thing()).drawn(torch.tensor([0.4]), thing()), thing()
    assert psnr(frame, other) > 40


def photograph(seed: int, shift: int = 0) -> torch.Tensor:
    """A picture without a plain ground, (1, 3, 64, 64): a part of a larger one."""
    rng, total = np.random.default_rng(seed), np.zeros((96, 96, 3))
    for cells, share in ((3, 0.5), (6, 0.3), (14, 0.2)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += share * np.asarray(coarse.resize((96, 96), Image.Resampling.BICUBIC))
    return to_tensor(torch.from_numpy(total[None, 16:80, 16 + shift : 80 + shift].round().astype(np.uint8)))


@pytest.mark.parametrize("seed", range(3))
def test_without_a_plain_ground_other_pictures_stay_and_the_same_elsewhere_is_found(seed):
    here, there, middle = photograph(seed, -6), photograph(seed, 6), photograph(seed)
    away = displacement(register(here, photograph(seed + 10))).norm(dim=1) / 2
    assert away.mean() < 0.2, "of the side"
    frame, _ = of(here, there).drawn(torch.tensor([0.5]), (here + there) / 2)
    assert psnr(frame, middle) > psnr((here + there) / 2, middle) + 4


def test_what_comes_in_from_outside_is_the_ground():
    assert stands_on_plain_ground(thing())
    photograph = to_tensor(torch.from_numpy(np.asarray(scene(3).resize((SIDE, SIDE)))[None].copy()))
    away = Metamorphosis(to_uint8(torch.cat([thing()] * 2)), torch.full((1, 2, 6, 6), 0.9))
    frame, _ = away.drawn(torch.tensor([0.2]), thing())
    assert_close(frame[..., :4, :], torch.ones_like(frame[..., :4, :]), atol=2e-4, rtol=0)
    still = of(photograph, photograph)
    frame, _ = still.drawn(torch.tensor([0.0]), photograph)
    assert_close(frame, photograph, atol=2e-3, rtol=0)


def test_a_size_of_its_own_has_the_same_share():
    start, end = thing(), thing(0.1, colour="blue")
    small, large = of(start, end), [picture.resize((256, 256)) for picture in map(as_image, (start, end))]
    metamorphosis = Metamorphosis(torch.from_numpy(np.stack(large)), small.flows)
    frames, shares = small.drawn(torch.tensor([0.3, 0.6]), torch.cat([start, end]))
    for time, frame, share in zip((0.3, 0.6), frames, shares, strict=True):
        reduced = torch.nn.functional.avg_pool2d(metamorphosis.mixed(torch.tensor(time), share), 4)
        assert psnr(reduced[None], frame[None]) > 26


def as_image(x: torch.Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(x)[0].numpy())
