"""The model that a command draws its keyframes with, fitted to the pictures among them."""

import hashlib
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from data.system.errors import UserError, echo
from data.system.files import user_path
from vae.checkpoint import check_replaceable, load_vae, save_fitted
from vae.generator import Generator, has_encoder
from vae.inference import decode_all
from vae.latent.keyframes import Keyframe, latents_of
from vae.model.tuned_decoder import TunedDecoder
from vae.model.vae import VAE
from vae.tuning.pivotal import MOST_STEPS, Budget, psnr, tune

CACHE = "~/.cache/latent-loom/fitted"
_RECIPE = "1"  # changes when `tune` makes something else of the same arguments
_KEPT = 16  # models in the cache
_UNLIKE = 25.0  # dB
_SAME = 1e-3  # of two latents, over their length


def fitted_to_pictures(model: Generator) -> bool:
    """True if the model is a copy that was fitted to pictures."""
    return isinstance(getattr(model, "decoder", None), TunedDecoder)


def tuned_to_pictures(
    model: Generator, keyframes: Sequence[Keyframe], budget: Budget, save: Path | None = None
) -> Generator:
    """The model, or a copy that draws the keyframes' pictures, if there are some; says how exactly.

    Keyframes without a picture are drawn as before. The copy is kept: the next time it is found in `CACHE`.

    Args:
        model: stays as it is.
        keyframes: of the model.
        budget: of the tuning.
        save: a file for the copy, a checkpoint.

    Raises:
        UserError: there is nothing to save.
    """
    given = {place: keyframe.picture for place, keyframe in enumerate(keyframes) if keyframe.picture is not None}
    if save is not None:
        if not (given and budget.steps):
            raise UserError(f"{save}: no model would be fitted to pictures; leave --save-tuned out")
        check_replaceable(save)
    if not given or not has_encoder(model):
        return model
    z, started, pictured = latents_of(keyframes), time.perf_counter(), list(given)
    pictures = decode_all(model, z).cpu().clone()
    for place, picture in given.items():  # a saved latent may be a picture's own
        pictures[(z - z[place]).norm(dim=1) < _SAME * z[place].norm()] = picture
    pictures[pictured] = torch.stack(list(given.values()))
    if budget.steps and not _draws_already(model, z, pictures, budget):
        model = _fitted(model, z, pictures, budget)
    found = psnr(decode_all(model, z).cpu(), pictures)[pictured]
    if budget.steps:
        number = f"{len(pictured)} pictures" if len(pictured) > 1 else "a picture"
        echo(f"tuned to {number}: {found.mean():.1f} dB, {time.perf_counter() - started:.0f} s")
    if found.min() < min(_UNLIKE, budget.psnr) and budget.steps < MOST_STEPS:
        worst, more = pictured[int(found.argmin())] + 1, min(MOST_STEPS, max(500, 2 * budget.steps))
        remedy = f"give --tune {more}" if budget.steps else "leave out --tune 0"
        echo(f"the decoder draws the picture of keyframe {worst} at {found.min():.1f} dB only: {remedy}")
    if save is not None:
        save_fitted(model, save)
        echo(f"{save}: draws these pictures; --checkpoint takes it, and export")
    return model


def _draws_already(model: VAE, z: Tensor, pictures: Tensor, budget: Budget) -> bool:
    """True if the model was fitted to these pictures, as exactly as is asked or at least well."""
    least = budget.psnr if budget.psnr < math.inf else _UNLIKE
    return fitted_to_pictures(model) and bool((psnr(decode_all(model, z).cpu(), pictures) >= least).all())


def _fitted(model: VAE, z: Tensor, pictures: Tensor, budget: Budget) -> VAE:
    """The copy that `tune` makes, with a progress bar, or that it made before of the same."""
    place = user_path(CACHE) / f"{_key(model, z, pictures, budget)}.ckpt"
    with suppress(UserError, OSError):
        if place.is_file():
            kept = load_vae(place, model.device)
            place.touch()  # the longest unused one goes first
            return kept
    with tqdm(range(budget.steps), "Tuning", leave=False, delay=1) as bar:

        def show(least: float) -> None:
            bar.set_postfix_str(f"{least:.1f} dB", refresh=False)  # it would be drawn before its delay, and stay

        tuned = tune(model, z, pictures, budget, lambda _: bar, show)
    with suppress(UserError, OSError):  # a cache that cannot be written costs time alone
        save_fitted(tuned, place)
        for old in sorted(place.parent.glob("*.ckpt"), key=lambda file: file.stat().st_mtime)[:-_KEPT]:
            old.unlink()
    return tuned


def _key(model: VAE, z: Tensor, pictures: Tensor, budget: Budget) -> str:
    """A hash of all that a fitted copy depends on."""
    digest = hashlib.sha256(f"{_RECIPE} {budget} {model.device.type} {model.config} {torch.__version__}".encode())
    for weight in (*model.state_dict().values(), z, pictures):
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
