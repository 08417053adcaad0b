"""The objective: the list of all terms of the loss, and those of the phase in which the decoder learns alone.

A likelihood compares a picture with its reconstruction and says nothing of what lies between two codes, nor of samples
from the prior; the terms of the decoder's phase do.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from vae.latent.paths import slerp
from vae.model.augmentation import augment
from vae.model.discriminator import Discriminator
from vae.model.distributed import all_gather, local_part, world_size
from vae.model.elbo import Elbo, kl_divergence
from vae.model.networks import squash
from vae.model.vae import VAE
from vae.training.losses.perceptual import Perceptual
from vae.training.losses.terms import (
    KLDivergence,
    LossInputs,
    LossTerm,
    MomentMatching,
    Reconstruction,
    gradient_ratio,
)
from vae.training.options import LossOptions, VAEOptions

_RAMP = 4  # over the share of the decoder's phase in which the adversarial weight rises


class CycleConsistency(LossTerm):
    """E‖mu(x̂) − z‖² / D of generated pictures x̂, see `VAE.cycle_error`.

    Args:
        weight: of the term.
    """

    name = "cycle"
    decoder_phase = True

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        return self.weight * batch.vae.cycle_error(batch.generated_z, squash(batch.generated_logits)), {}


class Adversarial(LossTerm):
    """The discriminator's own loss, plus −λ E[log D(x̂)] for the decoder (VAE/GAN, Larsen 2016).

    x̂ are reconstructions, morphs and samples. λ is a weight times `gradient_ratio`, gradients by a picture's logits.

    Args:
        discriminator: D.
        weight: of the decoder's part; it rises from 0 over the first quarter of the phase.
    """

    name = "adversarial"
    decoder_phase = True

    def __init__(self, discriminator: Discriminator, weight: float) -> None:
        super().__init__()
        self.discriminator, self.weight = discriminator, weight

    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """Logs both losses without their weights."""
        real = batch.x[1 - len(batch.x) % 2 :: 2]  # every second one, as parts of a batch have the whole's then
        logits = torch.stack([batch.logits[::2], batch.generated_logits], 1).flatten(0, 1)
        leaf = logits.detach().requires_grad_()
        fake, critic = squash(leaf), self.discriminator
        discriminator_loss = critic.discriminator_loss(augment(real, batch.generator), augment(fake, batch.generator))
        adversarial_loss = critic.generator_loss(augment(fake, batch.generator))
        (gradient,) = torch.autograd.grad(adversarial_loss, leaf)
        scale = self.weight * min(1, _RAMP * batch.phase_progress) * gradient_ratio(batch, gradient)
        value = discriminator_loss + critic.gradient_penalty(real, batch.step)
        value = value + scale / len(batch.x) * (gradient * logits).sum()
        return value, {"discriminator_loss": discriminator_loss, "adversarial_loss": adversarial_loss}


def loss_terms(weights: LossOptions, model: VAEOptions, decoder_phase: bool) -> dict[str, LossTerm]:
    """The terms of the loss, in the order in which they are added, by their names.

    Args:
        weights: of the terms.
        model: says how large the networks are.
        decoder_phase: whether the training has such a phase.
    """
    terms: list[LossTerm] = [Reconstruction(), KLDivergence(weights.free_bits)]
    if weights.perceptual != "none":
        terms.append(Perceptual(weights.perceptual_weight))
    if weights.moment_weight:
        terms.append(MomentMatching(model.latent_dim, weights.moment_weight))
    if decoder_phase and weights.cycle_weight:
        terms.append(CycleConsistency(weights.cycle_weight))
    if decoder_phase and weights.adversarial_weight:
        terms.append(Adversarial(Discriminator(model.channels), weights.adversarial_weight))
    return {term.name: term for term in terms}


@torch.no_grad()
def sample_latents(vae: VAE, mu: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Latents (count, D) to generate pictures from: half on great circles between codes, half random.

    Args:
        vae: whose random latents they are.
        mu: (N, D), the codes of a batch.
        count: at most N.
        generator: of the places on the great circles and of the noise.
    """
    half = min(count // 2, len(mu) - 1)
    places = torch.arange(half, device=mu.device) + torch.rand(half, generator=generator, device=mu.device)
    between = slerp(mu, places) if half else mu[:0]
    noise = torch.randn(count - half, mu.shape[1], generator=generator, device=mu.device, dtype=mu.dtype)
    return torch.cat([between, vae.random_latents(noise).to(mu)])


def batch_loss(
    vae: VAE,
    terms: Iterable[LossTerm],
    x: Tensor,
    beta: Tensor,
    step: int,
    phase_progress: float,
    decoder_phase: bool,
    generator: torch.Generator,
) -> tuple[Tensor, LossInputs, dict[str, Tensor]]:
    """The loss of a batch, in nats per dimension, so that its scale does not depend on the size of the images.

    The host never waits for the device.

    Args:
        vae: the model.
        terms: all of them; those of the phase are added.
        x: (N, C, H, W) pictures in [-1, 1].
        beta: () the current weight of the KL.
        step: number of optimizer steps before this one.
        phase_progress: the share of the decoder's phase that is done.
        decoder_phase: whether the decoder learns alone.
        generator: of all noise, on the device; in the same state on all processes.

    Returns:
        () the sum of the terms, what they were computed from, and the numbers to log.
    """
    terms = [term for term in terms if term.decoder_phase in (None, decoder_phase)]
    with torch.set_grad_enabled(not decoder_phase):
        mu, logvar = vae.encode(x)
    noise = torch.randn(world_size() * len(x), mu.shape[1], generator=generator, device=x.device)
    z, generated_z = vae.reparameterize(mu, logvar, local_part(noise)), mu[:0]
    if any(term.decoder_phase for term in terms):
        count = world_size() * ((len(x) + 1) // 2)
        generated_z = local_part(sample_latents(vae, all_gather(mu), count, generator))
    logits, generated_logits = vae.logits(torch.cat([z, generated_z])).tensor_split([len(x)])
    elbo = Elbo(vae.likelihood.log_prob(logits, x), kl_divergence(mu, logvar))
    batch = LossInputs(
        vae, x, mu, logvar, elbo, logits, generated_z, generated_logits, beta, step, phase_progress, generator
    )
    losses, logs = zip(*(term(batch) for term in terms), strict=True)
    return sum(losses[1:], start=losses[0]), batch, {name: value for log in logs for name, value in log.items()}
