"""The command `analogy`: a is to b as c is to what."""

from pathlib import Path

import torch

from vae.inference import decode_batches
from vae.latent.directions import analogy as find_analogy
from vae.latent.keyframes import latents_of
from vae.render.clips import choose_keyframes
from vae.render.frames import check_memory, keyframe_detail, render_frames
from vae.render.options import KeyframeOptions, ModelOptions, PictureOptions, RenderRequest
from vae.render.stills.sheet import finish_sheet, sheet_row, start_sheet
from vae.tuning.keyframe_tuning import tuned_to_pictures

_CAPTIONS = ("a :", "b ::", "c :", "?")


def analogy(request: RenderRequest, model: ModelOptions, keyframes: KeyframeOptions, picture: PictureOptions) -> Path:
    """Three keyframes and the picture that is to the third as the second is to the first, in a row."""
    vae, out = start_sheet(request, model, picture)
    given = choose_keyframes(vae, keyframes, 3, 3, "an analogy is of three", most=3)
    check_memory(picture.tiles(len(_CAPTIONS), 1), picture.side(vae.image_size))
    drawn = tuned_to_pictures(vae, given, keyframes.tune, keyframes.save_tuned)
    a, b, c = latents_of(given)
    z = torch.stack([a, b, c, find_analogy(a, b, c)])
    frames = map(picture.resized, render_frames(decode_batches(drawn, z, picture.dtype)))
    if detail := keyframe_detail(drawn, given, picture):
        frames = map(detail.added, frames, detail.weights(z))
    return finish_sheet([sheet_row(frames, _CAPTIONS)], picture, out, "a is to b as c is to the last picture")
