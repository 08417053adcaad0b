"""Directions between sets of codes, analogies, and directions of most change, where the answers are known."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from data.synthetic.patterns import FACTORS, draw_patterns
from vae.checkpoint import load_vae
from vae.inference import decode_all, encode_means
from vae.latent.directions import analogy, difference, jacobian_directions, separation
from vae.render.models import SHIPPED

SIDE = 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


class Linear(nn.Module):
    """Pictures M z + offset."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix, self.device = matrix, torch.device("cpu")
        self.latent_dim = matrix.shape[1]

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.matrix.T + 0.3).reshape(len(z), 1, SIDE, SIDE)


@pytest.fixture(scope="module")
def vae():
    return load_vae(SHIPPED)


@pytest.mark.parametrize("dims", [1, 5, SIDE * SIDE])
def test_on_a_linear_decoder_they_are_the_singular_vectors(dims):
    rows, columns = torch.linalg.qr(normal(SIDE * SIDE, dims))[0], torch.linalg.qr(normal(dims, dims, seed=1))[0]
    scale = torch.linspace(3, 0.5, dims)
    values, directions = jacobian_directions(Linear(rows * scale @ columns.T), normal(dims, seed=2))
    assert_close(values, scale, rtol=1e-3, atol=1e-3)
    assert_close((directions * columns.T).sum(1).abs(), torch.ones(dims), rtol=0, atol=1e-3)
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_a_picture_changes_most_along_the_first_and_in_their_order(vae):
    z = normal(vae.latent_dim, seed=3)
    values, directions = jacobian_directions(vae, z)
    assert (values.diff() <= 0).all()
    assert_close(directions @ directions.T, torch.eye(vae.latent_dim), rtol=0, atol=1e-4)

    def change(units: Tensor) -> Tensor:
        ahead, behind = (decode_all(vae, z + step * units).double() for step in (0.01, -0.01))
        return (ahead - behind).flatten(1).norm(dim=1) / 0.02

    some = normal(50, vae.latent_dim, seed=4)
    assert change(some / some.norm(dim=1, keepdim=True)).max() < change(directions[:1])
    assert_close(change(directions).float(), values, rtol=0.01, atol=0.01)
    again = jacobian_directions(vae, z)
    assert torch.equal(again[0], values)
    assert torch.equal(again[1], directions)


def test_singular_values_are_those_of_the_exact_jacobian(vae):
    z = normal(vae.latent_dim, seed=5).requires_grad_()
    values, directions = jacobian_directions(vae, z.detach())
    x = vae.decode(z[None])
    u = torch.zeros_like(x, requires_grad=True)
    (pulled_back,) = torch.autograd.grad(x, z, u, create_graph=True)  # Jᵀu, whose derivative by u along v is J v
    for place in (0, 3, -1):
        (pushed,) = torch.autograd.grad(pulled_back, u, directions[place], retain_graph=True)
        assert pushed.norm() == pytest.approx(float(values[place]), rel=0.01)


def test_the_direction_leaves_out_what_differs_within_both_sets():
    wide = torch.tensor([1.0, 8.0, 1.0, 1.0])  # the second number says nothing, but differs by chance
    shift = torch.tensor([2.0, 3.0, 0.0, 0.0])
    start, end = normal(300, 4) * wide, normal(300, 4, seed=1) * wide + shift
    found, plain = difference(start, end), end.mean(0) - start.mean(0)
    assert abs(found[1] / found[0]) < 0.2 < abs(plain[1] / plain[0])
    assert found.norm() == pytest.approx(float(plain.norm()), rel=1e-4)
    assert cosine(difference(end, start), found) == pytest.approx(-1)
    assert separation(start, end) > 0.8


def test_both_sets_have_the_same_weight_whatever_their_counts():
    start, end = normal(40, 6), normal(40, 6, seed=1) + 1
    many = start.repeat(5, 1)
    assert cosine(difference(many, end), difference(start, end)) > 0.99
    assert separation(many + normal(200, 6, seed=2), end) < 0.95
    alike = separation(normal(900, 6, seed=3), normal(30, 6, seed=4))  # all on the larger side would be 97 % right
    assert 0.3 < alike < 0.7


@pytest.mark.parametrize("count", [2, 4])
def test_few_codes_and_codes_that_are_all_alike_have_a_direction(count):
    start, end = torch.zeros(count, 8), torch.ones(count, 8)
    assert_close(difference(start, end), torch.ones(8))
    assert separation(start, end) == 1
    assert torch.equal(difference(start, start), torch.zeros(8))
    assert difference(normal(count, 8), normal(count, 8, seed=1)).isfinite().all()


def test_a_factor_of_patterns_is_found_better_than_by_the_plain_difference_where_another_misleads(vae):
    factors = torch.rand(600, len(FACTORS), generator=torch.Generator().manual_seed(0))
    named, other = (factors[:, FACTORS.index(name)] for name in ("motif_hue", "ground_lightness"))
    misled = (torch.arange(600) < 300) & (torch.arange(600) % 5 > 0)  # of the first half four in five
    other[misled] = (other[misled] + (named[misled] > 0.5)) / 2
    z = encode_means(vae, draw_patterns(factors, 64).permute(0, 3, 1, 2) * 2 - 1)
    start, end = z[:300][named[:300] < 0.5], z[:300][named[:300] > 0.5]
    middle = (start.mean(0) + end.mean(0)) / 2

    def right(direction: Tensor) -> float:
        return float((((z[300:] - middle) @ direction > 0) == (named[300:] > 0.5)).float().mean())

    assert right(difference(start, end)) > max(0.65, right(end.mean(0) - start.mean(0)))
    assert separation(start, end) > 0.65


def test_analogies_are_exact_where_two_latents_are_the_same_and_have_the_length_of_slerp():
    a, b, c = normal(3, 32)
    assert_close(analogy(a, b, a), b)
    assert_close(analogy(a, a, c), c)
    assert_close(analogy(a, b, c), analogy(a, c, b))
    assert analogy(a, b, c).norm() == pytest.approx(float(b.norm() + c.norm() - a.norm()), rel=1e-5)
    assert cosine(analogy(a, b, c), c + b - a) == pytest.approx(1)
    assert torch.equal(analogy(torch.zeros(3), torch.zeros(3), torch.zeros(3)), torch.zeros(3))
