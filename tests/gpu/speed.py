"""How fast a step, decoding and pivotal tuning are in each layout and precision, and the memory that they take."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tests.gpu.measured import Measured, exact_float32, peak_memory, seconds
from tests.gpu.steps import Mode, Scale, Step, pictures
from vae.generator import seeded_latents
from vae.inference import BATCH, decode_all, encode_means
from vae.model.autocast import autocast
from vae.tuning.pivotal import Budget, tune

# of the loss and of all gradients together, over those in float32, NCHW, without TF32; on a CPU other layouts differ
# by 1e-7 and 1e-4, TF32 emulated by 2e-5 and 0.007, bfloat16 by 2e-4 and 0.03
_FLOAT32, _BFLOAT16 = (1e-3, 0.05), (2e-3, 0.1)


def _gradient(step: Step) -> tuple[Tensor, Tensor]:
    """The loss of the first step, and all gradients of the model in one."""
    loss = step.loss()
    loss.backward()
    return loss.detach(), torch.cat(
        [weight.grad.flatten() for weight in step.vae.parameters() if weight.grad is not None]
    )


def mode_at(scale: Scale, size: int, mode: Mode) -> Iterator[Measured]:
    """Whether a mode's loss and gradients are those of float32, its speed, and its memory.

    `compiled` fails where a network is not one graph.
    """
    with exact_float32():
        expected = _gradient(Step(scale, size, "nchw"))
    step = Step(scale, size, mode)
    most = _FLOAT32 if step.dtype == torch.float32 else _BFLOAT16
    for name, found, usual, limit in zip(("loss", "gradient"), _gradient(step), expected, most, strict=True):
        error = float((found - usual).norm() / usual.norm())
        yield Measured(f"step.{mode}.{name}.error", error, "share", size, scale.batch, limit)
    del expected, found, usual
    rate = scale.batch / seconds(step, scale.repeats, scale.device)
    yield Measured(f"step.{mode}.speed", rate, "pictures/s", size, scale.batch)
    yield Measured(f"step.{mode}.memory", peak_memory(step, scale.device), "MiB", size, scale.batch)
    yield from _decoding(step, mode, scale, size)


def _decoding(step: Step, mode: Mode, scale: Scale, size: int) -> Iterator[Measured]:
    vae = step.vae.eval()
    step.optimizer.zero_grad()
    z = seeded_latents(0, scale.batch, vae.latent_dim).to(scale.device)

    def decode() -> Tensor:
        with torch.inference_mode(), autocast(scale.device, step.dtype):
            return vae.decode(z)

    rate = scale.batch / seconds(decode, scale.repeats, scale.device)
    yield Measured(f"decode.{mode}.speed", rate, "pictures/s", size, scale.batch)
    yield Measured(f"decode.{mode}.memory", peak_memory(decode, scale.device), "MiB", size, scale.batch)
    if mode != "compiled":  # in batches of another size it would be compiled again
        rate = scale.batch / seconds(lambda: decode_all(vae, z, step.dtype), scale.repeats, scale.device)
        yield Measured(f"frames.{mode}.speed", rate, "pictures/s", size, BATCH)


def tuning(scale: Scale, size: int) -> Iterator[Measured]:
    """The time to tune a pair, with as many steps as render.py makes, and the memory."""
    vae, x = Step(scale._replace(batch=1), size).vae.eval(), pictures(2, size)
    z = encode_means(vae, x)

    def tune_pair() -> None:
        tune(vae, z, x, Budget(scale.tuning_steps))

    yield Measured("tuning.time", seconds(tune_pair, 1, scale.device), "s a pair", size, 2)
    yield Measured("tuning.memory", peak_memory(tune_pair, scale.device), "MiB", size, 2)
