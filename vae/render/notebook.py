"""In a notebook: a path's frames, and an animation below the cell.

>>> import torch
>>> from vae.generator import seeded_latents
>>> from vae.model.vae import VAE
>>> vae = VAE(32, latent_dim=4, width=8).eval()  # or load_vae("checkpoints/patterns.ckpt")
>>> frames = morph(vae, seeded_latents(3, 4, vae.latent_dim), "spline", frames=2, closed=True)
>>> inline(frames, fps=20)
<IPython.core.display.Image object>

Paths and times need no model: `vae.latent.paths` takes latents of any, at the times of `vae.latent.timing`.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from data.fit import Fit
from data.system.errors import UserError
from data.system.spelling import counted
from vae.generator import Generator
from vae.latent.keyframes import Keyframe, parse_keyframe
from vae.optional import import_optional
from vae.render.clips import Between, BetweenOptions, clips_along
from vae.render.formats.frame import Frame
from vae.render.formats.writers import check_rate, encode_animation
from vae.render.frames import Film
from vae.render.options import DEFAULT_FRAMES, KeyframeOptions, MotionOptions, PictureOptions, parse_paths
from vae.render.pacing import frame_times
from vae.tuning.pivotal import DEFAULT_BUDGET, parse_budget

_LEAST = 2


def morph(
    model: Generator,
    keyframes: Tensor | Sequence[str | Path | int],
    path: str = "slerp",
    frames: int = DEFAULT_FRAMES,
    closed: bool = False,
    tune: int | str = str(DEFAULT_BUDGET),
    between: Between = "pictures",
    fit: Fit = "crop",
) -> Iterator[Frame]:
    """The frames that `render.py` shows, at the model's own size.

    Args:
        model: in eval mode, on any device.
        keyframes: two or more, latents (K, D) on any device, or as for `--keyframes` pictures'
            files, seeds and saved latents.
        path: one of `vae.latent.trajectory.PATH_NAMES`.
        frames: from one keyframe to the next.
        closed: return to keyframe 0.
        tune: as for `--tune`: how long a copy of the model is fitted to the pictures among the keyframes; 0 is not.
        between: as for `--between`: frames are made of the keyframes' `pictures`, or of what the `model` draws.
        fit: as for `--fit`: how pictures that are not square become so.

    Raises:
        UserError: too few keyframes or frames, keyframes of another model, a picture that cannot be read, or a path
            that is not known.
    """
    parse_paths([path])
    if between not in get_args(Between):
        raise UserError(f"between {between!r}: must be pictures or model")
    budget = parse_budget(str(tune))
    if isinstance(keyframes, Tensor):
        if keyframes.ndim != 2 or keyframes.shape[1] != model.latent_dim:
            raise UserError(f"keyframes {tuple(keyframes.shape)}: must be (K, {model.latent_dim}), of the model")
        if len(keyframes) < _LEAST:
            raise UserError(f"{counted(len(keyframes), 'keyframe')}: a path needs two or more; give more")
        named = [Keyframe(z) for z in keyframes.detach().cpu()]
    else:
        words = [keyframes] if isinstance(keyframes, str | Path) else list(keyframes)
        if len(words) < _LEAST:
            raise UserError(
                f"{counted(len(words), 'keyframe')}: give {_LEAST} or more in a list; a path needs two ends"
            )
        if not all(isinstance(word, str | Path | int) for word in words):
            raise UserError("keyframes: must be latents as one tensor (K, D), or a list of pictures' files and seeds")
        named = [parse_keyframe(model, str(word), fit=fit) for word in words]
    (clip,) = clips_along({path: path}, model, named, KeyframeOptions(tune=budget), BetweenOptions(between), closed)
    ((t,), _) = frame_times([clip], MotionOptions(frames=frames))
    return Film(clip, t, PictureOptions(size=model.image_size)).all()


def inline(frames: Iterable[Frame], fps: float = MotionOptions.fps) -> Any:
    """An animation that a notebook shows, when it is the last thing in a cell, of at most 50 frames a second.

    It is an `IPython.display.Image` of a GIF that plays for ever; its bytes are `.data`.

    Raises:
        UserError: another frame rate, no frames, or no IPython.
    """
    check_rate(".gif", fps)
    display = import_optional("IPython.display", "notebook")
    return display.Image(encode_animation(frames, ".gif", fps), format="gif")
