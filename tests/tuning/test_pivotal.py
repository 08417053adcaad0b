"""Pivotal tuning: keyframes' pictures are drawn as they were given, and all else as it was."""

import copy
import math

import numpy as np
import pytest
import torch

from data.synthetic.patterns import patterns
from data.system.errors import UserError
from data.transforms import to_tensor
from vae.generator import seeded_latents
from vae.inference import decode_all, encode_means
from vae.latent.paths import linear, slerp, spline
from vae.model.networks import Decoder
from vae.model.tuned_decoder import TunedDecoder, span
from vae.model.vae import VAE
from vae.tuning.pivotal import Budget, parse_budget, psnr, tune

KINDS = {
    "strided": {},
    "residual": {"network": "residual"},
    "palette": {"palette": 3},
    "grey": {"channels": 1},
    "given latents": {"whiten": False, "pca_share": 0.1, "inactive_below": 1.0},
}


def model(**options) -> VAE:
    torch.manual_seed(0)
    return VAE(**{"image_size": 32, "latent_dim": 64, "width": 16, **options}).eval()


def pictures(count: int, channels: int = 3) -> torch.Tensor:
    return to_tensor(patterns(0, torch.arange(count), 32))[:, :channels]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_drawn_as_given_whatever_the_network(kind):
    vae = model(**KINDS[kind])
    x = pictures(3, vae.channels)
    z = encode_means(vae, x)
    before, untouched = psnr(decode_all(vae, z), x), copy.deepcopy(vae.state_dict())
    tuned = tune(vae, z, x, Budget(100))
    after = psnr(decode_all(tuned, z), x)
    assert (after > before + 8).all()
    assert all(torch.equal(now, untouched[name]) for name, now in vae.state_dict().items())
    assert not any(weight.requires_grad for weight in tuned.parameters())


def test_the_same_pictures_give_the_same_copy():
    vae, x = model(), pictures(2)
    z = encode_means(vae, x)
    once, again = (decode_all(tune(vae, z, x, Budget(5)), z) for _ in range(2))
    assert torch.equal(once, again)


def test_only_the_copy_is_asked_while_it_is_tuned(monkeypatch):
    """How near the pivots are to themselves is known; to look would make the host wait for a GPU in every step."""
    vae, x = model(), pictures(2)
    monkeypatch.setattr(TunedDecoder, "nearness", None)
    tune(vae, encode_means(vae, x), x, Budget(2))


@pytest.fixture(scope="module")
def tuned() -> tuple[VAE, VAE, torch.Tensor]:
    vae, x = model(), pictures(4)
    z = torch.cat([encode_means(vae, x[:3]), seeded_latents(5, 1, 64)])
    x[3] = decode_all(vae, z[3:])[0]
    return vae, tune(vae, z, x, Budget(60)), z


def test_random_latents_are_drawn_as_before(tuned):
    vae, copied, _ = tuned
    far = seeded_latents(1, 50, 64)
    assert torch.equal(decode_all(copied, far), decode_all(vae, far))
    assert torch.equal(decode_all(copied, 0.3 * far), decode_all(vae, 0.3 * far))


@pytest.mark.parametrize("path", [linear, slerp, spline])
def test_the_copy_draws_the_whole_of_every_path(tuned, path):
    _, copied, z = tuned
    for closed in (False, True):
        t = torch.linspace(0, 3 + closed * 0.99, 80, dtype=torch.float64)
        assert (copied.decoder.nearness(path(z, t, closed=closed).float()) == 1).all()


def test_between_near_and_far_pictures_change_steadily(tuned):
    vae, copied, z = tuned
    steps = torch.linspace(0, 1, 200)[:, None]
    way = (1 - steps) * z[0] + steps * seeded_latents(2, 1, 64)[0] * z[0].norm() / 8
    weight = copied.decoder.nearness(way)
    assert (weight.diff() <= 1e-6).all()
    assert weight[0] == 1
    assert weight[-1] == 0
    x = decode_all(copied, way)
    usual = decode_all(vae, way).diff(dim=0).norm()
    assert x.diff(dim=0).flatten(1).norm(dim=1).max() < 10 * usual


def test_like_keyframes_span_one_direction():
    decoder = model().decoder
    z = seeded_latents(0, 1, 64)
    assert span(z.expand(3, -1)).shape == (64, 1)
    assert span(torch.cat([z, -2 * z, 0 * z])).shape == (64, 1)
    zero = TunedDecoder(decoder, span(torch.zeros(2, 64)))
    assert (zero.nearness(torch.zeros(1, 64)) == 1).all()
    assert (zero.nearness(z) == 0).all()
    assert isinstance(zero.original, Decoder)


def test_tuning_ends_where_pictures_are_as_exact_as_asked(tuned):
    vae, x = model(), pictures(2)
    z, steps = encode_means(vae, x), []
    found = tune(vae, z, x, Budget(400, 18.0), lambda numbers: (steps.append(n) or n for n in numbers))
    assert 5 < len(steps) < 300
    assert psnr(decode_all(found, z), x).min() >= 18
    asked = []
    tune(vae, z, x, Budget(11), report=asked.append)
    assert len(asked) == 3
    assert asked[-1] > asked[0]


def test_psnr_is_the_usual_one():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    expected = 10 * math.log10(255**2 / np.mean((a.astype(float) - b) ** 2))
    found = psnr(to_tensor(torch.from_numpy(a)[None]), to_tensor(torch.from_numpy(b)[None]))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_few_steps_do_not_make_pictures_worse():
    vae, x = model(), pictures(2)
    z = encode_means(vae, x)
    before = psnr(decode_all(vae, z), x).min()
    found = [psnr(decode_all(tune(vae, z, x, Budget(steps)), z), x).min() for steps in (5, 20)]
    assert before < found[0] < found[1]


@pytest.mark.parametrize("word", ["-1", "5001", "dB", "0dB", "61dB", "nan", "1e3", "35 db b", "", "²"])
def test_other_words_are_no_budget(word):
    with pytest.raises(UserError, match="tune"):
        parse_budget(word)


def test_a_budget_is_written_as_it_is_read():
    for word in ("0", "200", "35dB", "31.5dB", "0.01dB"):
        assert str(parse_budget(word)) == word
