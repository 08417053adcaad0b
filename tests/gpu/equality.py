"""A GPU's numbers against a CPU's: of models, of paths, of pivotal tuning; and a step that does not wait."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch

from tests.gpu.measured import Measured, exact_float32, waits
from tests.gpu.steps import Mode, Scale, Step, pictures
from vae.checkpoint import load_vae
from vae.generator import seeded_latents
from vae.inference import decode_all, encode_means
from vae.latent.paths import PATHS, noise_loop
from vae.tuning.pivotal import Budget, psnr, tune

_CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
_MODELS = ("pictures", "patterns", "lines")
# of pixels in [-1, 1] and of latents: an eighth of a grey level, and two and a half; TF32 emulated on a CPU: 5e-3, 1e-3
_EXACT, _TF32 = 1e-3, 2e-2
_PATH = 1e-5  # of latents, computed in float64
_DB, _DB_TF32 = 0.1, 0.5  # pictures that differ by 1e-6 change a tuned model by 0.001 dB, by 1e-3 by 0.3 dB
_UNWAITED: tuple[Mode, ...] = ("float32", "bfloat16", "compiled")
_STEPS, _COUNT = 5, 8


def step_waits(scale: Scale) -> Iterator[Measured]:
    """Whether the host waits for the device in steps of either phase."""
    size = scale.sizes[0]
    for mode in _UNWAITED:
        for decoder_phase in (False, True):
            step = Step(scale, size, mode, decoder_phase)
            for _ in range(_STEPS):  # memory is taken, kernels are chosen
                step()
            name = f"step.{mode}.{'decoder_phase' if decoder_phase else 'first_phase'}.waits"
            yield Measured(name, int(waits(step, _STEPS, scale.device)), "0 or 1", size, scale.batch, 0)
            bad = int((~torch.stack([weight.isfinite().all() for weight in step.vae.parameters()])).sum())
            yield Measured(f"{name.removesuffix('.waits')}.not_finite", bad, "weights", size, scale.batch, 0)


def graph(scale: Scale) -> Iterator[Measured]:
    """The breaks in the graph that torch.compile would make of the whole model."""
    step = Step(scale, scale.sizes[0])
    found = torch._dynamo.explain(step.vae)(step.x, torch.zeros(scale.batch, scale.latent_dim, device=scale.device))
    yield Measured("model.graph_breaks", found.graph_break_count, "breaks", scale.sizes[0], scale.batch, 0)


def models(scale: Scale) -> Iterator[Measured]:
    """The largest difference of encoded, decoded and random pictures of the included models."""
    for name in _MODELS:
        near, far = (load_vae(_CHECKPOINTS / f"{name}.ckpt", device) for device in ("cpu", scale.device))
        x = pictures(_COUNT, near.image_size)[:, : near.channels]
        z = encode_means(near, x)
        with torch.no_grad():
            drawn = [vae.sample(_COUNT, torch.Generator().manual_seed(0)).cpu() for vae in (near, far)]
        for rounding, most in ((exact_float32(), _EXACT), (nullcontext(), _TF32)):
            with rounding:
                encoded, decoded = encode_means(far, x).cpu(), decode_all(far, z).cpu()
            label = f"{name}.{'float32' if most == _EXACT else 'tf32'}"
            spread = float(z.std().clamp_min(1))
            yield Measured(
                f"encode.{label}.error", float((encoded - z).abs().max()) / spread, "latents", x.shape[-1], _COUNT, most
            )
            error = float((decoded - decode_all(near, z)).abs().max())
            yield Measured(f"decode.{label}.error", error, "pixels in [-1, 1]", x.shape[-1], _COUNT, most)
        error = float((drawn[0] - drawn[1]).abs().max())
        yield Measured(f"sample.{name}.error", error, "pixels in [-1, 1]", x.shape[-1], _COUNT, _TF32)


def paths(scale: Scale) -> Iterator[Measured]:
    """The largest difference of latents on each path, open and closed, computed on the device."""
    keyframes = seeded_latents(0, 6, scale.latent_dim)
    t = torch.linspace(0, 4.9, 100, dtype=torch.float64)
    there, then = keyframes.to(scale.device), t.to(scale.device)
    functions = {f"{name}.{'closed' if closed else 'open'}": (path, closed) for name, path in PATHS.items()
                 for closed in (False, True)}  # fmt: skip
    for name, (path, closed) in functions.items():
        error = (path(there, then, closed).cpu() - path(keyframes, t, closed)).abs().max()
        yield Measured(f"path.{name}.error", float(error), "latents", 0, len(t), _PATH)
    error = (noise_loop(there, then).cpu() - noise_loop(keyframes, t)).abs().max()
    yield Measured("path.noise.error", float(error), "latents", 0, len(t), _PATH)


def tuning(scale: Scale) -> Iterator[Measured]:
    """How exactly a model that is tuned on the device draws its pictures, against one that is tuned on the CPU."""
    near, far = (load_vae(_CHECKPOINTS / "pictures.ckpt", device) for device in ("cpu", scale.device))
    x, budget = pictures(2, near.image_size), Budget(min(40, scale.tuning_steps))
    z, away = encode_means(near, x), seeded_latents(0, _COUNT, near.latent_dim)
    here = tune(near, z, x, budget)
    for rounding, most in ((exact_float32(), _DB), (nullcontext(), _DB_TF32)):
        with rounding:
            there = tune(far, z, x, budget)
            found = decode_all(there, z).cpu()
            moved = (decode_all(there, away) - decode_all(far, away)).abs().max()
        label = "float32" if most == _DB else "tf32"
        error = float((psnr(found, x) - psnr(decode_all(here, z), x)).abs().max())
        yield Measured(f"tuning.{label}.error", error, "dB", x.shape[-1], 2, most)
        yield Measured(
            f"tuning.{label}.random_latents.moved", float(moved), "pixels in [-1, 1]", x.shape[-1], 2, _EXACT
        )
