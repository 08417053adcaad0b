"""Muon and AdamW in one optimizer, each against its formula."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vae.model.discriminator import Discriminator
from vae.model.vae import VAE
from vae.training.muon import MuonAdamW, orthogonalize
from vae.training.optimizer import build_optimizer, set_learning_rates
from vae.training.options import OptimizerOptions

LR, DECAY = 0.02, 0.1


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(convolution: nn.Module, line: nn.Module) -> MuonAdamW:
    groups = [{"params": convolution.parameters(), "muon": True}, {"params": line.parameters(), "muon": False}]
    return MuonAdamW(groups, LR, betas=(0.9, 0.99), weight_decay=DECAY)


def give_gradients(optimizer: torch.optim.Optimizer, seed: int) -> None:
    for index, weight in enumerate(each for group in optimizer.param_groups for each in group["params"]):
        weight.grad = normal(*weight.shape, seed=100 * seed + index)


@pytest.mark.parametrize("shape", [(6, 6), (4, 90), (90, 4), (64, 576), (1, 7)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_an_orthogonalized_matrix_keeps_its_directions_and_has_singular_values_of_about_one(shape, scale):
    u, _, v = torch.linalg.svd(normal(*shape), full_matrices=False)
    matrix = scale * u @ torch.linspace(0.1, 1, min(shape)).diag() @ v
    found = u.T @ orthogonalize(matrix) @ v.T
    assert_close(found - found.diag().diag(), torch.zeros_like(found), atol=1e-3, rtol=0)
    assert found.diag().min() > 0.6
    assert found.diag().max() < 1.3


def test_nothing_is_orthogonalized_to_nothing():
    assert not orthogonalize(torch.zeros(4, 9)).any()


@pytest.mark.parametrize("channels", [(4, 8), (32, 2)])
def test_steps_follow_the_formulas_of_muon_for_convolutions_and_of_adamw_for_the_rest(channels):
    convolution, line = nn.Conv2d(*channels, 3, bias=False), nn.Linear(5, 3)
    twin = copy.deepcopy(line)
    optimizer = build(convolution, line)
    usual = torch.optim.AdamW(twin.parameters(), LR, betas=(0.9, 0.99), weight_decay=DECAY)
    weight, momentum = convolution.weight.detach().clone(), torch.zeros_like(convolution.weight)
    for step in range(4):
        give_gradients(optimizer, step)
        for mine, other in zip(line.parameters(), twin.parameters(), strict=True):
            other.grad = mine.grad.clone()
        gradient = convolution.weight.grad
        momentum = 0.95 * momentum + 0.05 * gradient
        update = orthogonalize((0.05 * gradient + 0.95 * momentum).flatten(1)).view_as(weight)
        scale = max(1, channels[1] / (9 * channels[0])) ** 0.5
        weight = (1 - LR * DECAY) * weight - LR * scale * update
        optimizer.step()
        usual.step()
        assert_close(convolution.weight.detach(), weight)
        assert all(torch.equal(mine, other) for mine, other in zip(line.parameters(), twin.parameters(), strict=True))


def test_a_weight_without_a_gradient_stays_as_it_is():
    convolution, line = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(5, 3)
    before = [weight.detach().clone() for weight in (convolution.weight, line.weight)]
    build(convolution, line).step()
    assert torch.equal(convolution.weight, before[0])
    assert torch.equal(line.weight, before[1])


def test_a_restored_optimizer_goes_on_exactly():
    parts = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(5, 3)
    optimizer = build(*parts)
    for step in range(3):
        give_gradients(optimizer, step)
        optimizer.step()
    others = copy.deepcopy(parts)
    other = build(*others)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(3, 6):
        for each in (optimizer, other):
            give_gradients(each, step)
            each.step()
    for part, twin in zip(parts, others, strict=True):
        assert all(torch.equal(*pair) for pair in zip(part.parameters(), twin.parameters(), strict=True))


def test_muon_has_the_convolutions_to_many_channels_and_adamw_all_else_each_weight_once():
    vae, discriminator = VAE(32, 3, latent_dim=4, width=8), Discriminator(3)
    optimizer = build_optimizer(vae, discriminator, OptimizerOptions(lr=1.0), fused=False)
    taught = [weight for group in optimizer.param_groups for weight in group["params"]]
    weights = [*vae.encoder.parameters(), *vae.decoder.parameters(), *discriminator.parameters()]
    assert sorted(map(id, taught)) == sorted(map(id, weights))
    matrices = {id(weight) for group in optimizer.param_groups if group["muon"] for weight in group["params"]}
    assert matrices == {id(weight) for weight in weights if weight.ndim == 4 and len(weight) > 1}
    assert not any(
        group["muon"] and group["part"] == "discriminator" and group["weight_decay"] for group in optimizer.param_groups
    )
    for decoder_phase, learns in ((False, {"encoder", "decoder"}), (True, {"decoder", "discriminator"})):
        set_learning_rates(optimizer, 0.1, decoder_phase)
        assert {group["part"] for group in optimizer.param_groups if group["lr"]} == learns
        rates = [group["lr"] for group in optimizer.param_groups if group["part"] == "decoder"]
        assert rates == pytest.approx([2.0, 0.1])
