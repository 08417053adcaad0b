"""The model that a command draws its keyframes with, fitted to the pictures among them."""

import time
from collections.abc import Sequence

import torch
from tqdm import tqdm

from data.system.errors import echo
from vae.generator import Generator, has_encoder
from vae.inference import decode_all
from vae.latent.keyframes import Keyframe, latents_of
from vae.tuning.pivotal import MOST_STEPS, Budget, psnr, tune
from vae.tuning.tuned_decoder import TunedDecoder

_UNLIKE = 25.0  # dB
_SAME = 1e-3  # of two latents, over their length


def fitted_to_pictures(model: Generator) -> bool:
    """True if the model is such a copy."""
    return isinstance(getattr(model, "decoder", None), TunedDecoder)


def tuned_to_pictures(model: Generator, keyframes: Sequence[Keyframe], budget: Budget) -> Generator:
    """The model, or a copy that draws the keyframes' pictures, if there are some; says how exactly.

    Keyframes without a picture are drawn as before.
    """
    given = {place: keyframe.picture for place, keyframe in enumerate(keyframes) if keyframe.picture is not None}
    if not given or not has_encoder(model):
        return model
    z, started, pictured = latents_of(keyframes), time.perf_counter(), list(given)
    pictures = decode_all(model, z).cpu().clone()
    for place, picture in given.items():  # a saved latent may be a picture's own
        pictures[(z - z[place]).norm(dim=1) < _SAME * z[place].norm()] = picture
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
    if found.min() < min(_UNLIKE, budget.psnr) and budget.steps < MOST_STEPS:
        worst, more = pictured[int(found.argmin())] + 1, min(MOST_STEPS, max(500, 2 * budget.steps))
        remedy = f"give --tune {more}" if budget.steps else "leave out --tune 0"
        echo(f"the decoder draws the picture of keyframe {worst} at {found.min():.1f} dB only: {remedy}")
    return model
