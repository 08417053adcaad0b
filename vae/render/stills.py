"""Stills: a path's strip, a traverse of the latents, samples from the prior."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.system.errors import UserError
from vae.generator import seeded_latents
from vae.metrics.smoothness import decode
from vae.model.elbo import kl_divergence
from vae.model.vae import VAE
from vae.render import captions
from vae.render.formats import writers as animation
from vae.render.takes import check_screen, choose_keyframes, clip_along, drawn, named_paths, parse_grid, shown

_MOST = 64
_REACH = 3.0
_DRAWN = 256


def strip(vae: VAE, options: Any, out: Path) -> str:
    """The path's pictures side by side; a row for each of several paths."""
    keyframes = choose_keyframes(vae, options, 2, 2, "a path needs two ends")
    _check("steps", options.steps, 2)
    t = torch.linspace(0, len(keyframes) - 1, options.steps, dtype=torch.float64)
    if options.paths and options.path:
        raise UserError("--path: is for one path, --paths for several; give one of them")
    paths = named_paths(options.paths or [options.path or "slerp"])
    check_screen(vae, options, options.steps * len(paths))
    rows = []
    for path in paths:
        frames = shown(vae, clip_along(path, path, vae, keyframes, False).walk.at(t), options)
        name = f"{path} " if options.paths else "t = "
        tiles = [captions.caption(f, f"{name}{time:.2f}") for f, time in zip(frames, t.tolist(), strict=True)]
        rows.append(captions.in_row(tiles))
    animation.write_still(captions.in_column(rows), out)
    return f"{options.steps} pictures of {' '.join(paths)}"


@torch.inference_mode()
def nats(vae: VAE) -> Tensor:
    """What each latent says, (D,) nats: its KL in the posteriors of 256 samples from the prior, the same each time."""
    z = vae.zero_inactive(seeded_latents(0, _DRAWN, vae.latent_dim))
    x = decode(vae, z)
    parts = [kl_divergence(*vae.encode(some)) for some in torch.split(x, 64)]
    return torch.cat(parts).mean(0)


def traverse(vae: VAE, options: Any, out: Path) -> str:
    """A row for each of the latents that say most: it alone goes from −3 to 3, the others stay at the keyframe."""
    (keyframe, *more) = choose_keyframes(vae, options, 1, 1, "a traverse is around one")
    if more:
        raise UserError(f"{1 + len(more)} keyframes: a traverse is around one; name one")
    _check("steps", options.steps, 2)
    _check("rows", options.rows, 1)
    check_screen(vae, options, options.steps * min(options.rows, vae.latent_dim))
    said = nats(vae)
    awake = int(vae.zero_inactive(torch.ones_like(said)).count_nonzero())
    chosen = said.argsort(descending=True)[: min(options.rows, awake)].tolist()
    sweep = torch.linspace(-_REACH, _REACH, options.steps)
    rows = []
    for latent in chosen:
        z = keyframe.z.repeat(options.steps, 1)
        z[:, latent] = sweep
        tiles = [
            captions.caption(f, f"z{latent} = {v:+.1f}")
            for f, v in zip(shown(vae, z, options), sweep.tolist(), strict=True)
        ]
        rows.append(captions.in_row(tiles))
    animation.write_still(captions.in_column(rows), out)
    told = ", ".join(f"z{latent} {said[latent]:.1f}" for latent in chosen)
    return f"{len(chosen)} latents (nats: {told})"


def samples(vae: VAE, options: Any, out: Path) -> str:
    """A grid of pictures drawn from the prior."""
    columns, rows = parse_grid(options.grid)
    check_screen(vae, options, columns * rows)
    z = drawn(vae, options, columns * rows)
    animation.write_still(captions.in_grid(list(shown(vae, z, options)), columns), out)
    return f"{columns * rows} pictures"


def _check(name: str, value: int, least: int) -> None:
    if not least <= value <= _MOST:
        raise UserError(f"{name} {value}: must be from {least} to {_MOST}")


SHEETS = {"strip": strip, "traverse": traverse, "samples": samples}
