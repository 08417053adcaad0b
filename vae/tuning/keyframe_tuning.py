"""The model that a command draws its keyframes with, fitted to the pictures among them."""

import time
from collections.abc import Sequence

import torch
from tqdm import tqdm

from data.system.errors import echo
from vae.generator import Generator, has_encoder
from vae.inference import decode_all
from vae.latent.keyframes import Keyframe, latents_of
from vae.tuning.pivotal import Budget, psnr, tune

_UNLIKE = 25.0  # dB


def tuned_to_pictures(model: Generator, keyframes: Sequence[Keyframe], budget: Budget) -> Generator:
    """The model, or a copy that draws the keyframes' pictures, if there are some; says how exactly.

    Keyframes without a picture are drawn as before.
    """
    given = {place: keyframe.picture for place, keyframe in enumerate(keyframes) if keyframe.picture is not None}
    if not given or not has_encoder(model):
        return model
    z, started, pictured = latents_of(keyframes), time.perf_counter(), list(given)
    pictures = decode_all(model, z).cpu().clone()
    pictures[pictured] = torch.stack(list(given.values()))
    if budget.steps:
        with tqdm(range(budget.steps), "Tuning", leave=False, delay=1) as bar:
            model = tune(
                model, z, pictures, budget, lambda _: bar, lambda least: bar.set_postfix_str(f"{least:.1f} dB")
            )
    found = psnr(decode_all(model, z).cpu(), pictures)[pictured]
    if budget.steps:
        number = f"{len(pictured)} pictures" if len(pictured) > 1 else "a picture"
        echo(f"tuned to {number}: {found.mean():.1f} dB, {time.perf_counter() - started:.0f} s")
    if found.min() < _UNLIKE:
        worst = pictured[int(found.argmin())] + 1
        fault = (
            "is shown exactly, but fades at once to what the decoder draws" if budget.steps else "is drawn unlike it"
        )
        remedy = f"give --tune {max(500, 2 * budget.steps)}" if budget.steps else f"leave out --tune {budget}"
        echo(f"the picture of keyframe {worst} {fault} ({found.min():.1f} dB): {remedy}")
    return model
