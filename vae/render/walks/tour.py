"""A tour: a closed way through all pictures of a folder, ordered so that neighbours are alike.

Its length is the sum of the visible changes of cross-fades, see `vae.metrics.perceptual`. No copy of the decoder is
fitted to the pictures: they are shown themselves, and what the model draws decides only where they dissolve.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from tqdm import tqdm

from data.fit import Fit
from data.image_files.picture_set import PictureSet, find_set
from data.system.errors import UserError, echo
from data.transforms import to_tensor, to_uint8
from vae.inference import encode_means
from vae.latent.closed_tour import closed_tour
from vae.latent.keyframes import Keyframe
from vae.latent.trajectory import path_trajectory
from vae.metrics.perceptual import pyramid
from vae.model.vae import VAE
from vae.morphing.metamorphosis import Metamorphosis, flows_between
from vae.option_groups import Range
from vae.render.clips import Clip
from vae.render.formats.frame import frame_rate
from vae.render.options import File, MotionOptions
from vae.render.pacing import check_stretches

_FEWEST, _MOST = 3, 200
_SECONDS = 1.5  # for each picture
_MINUTE = 60


@dataclass(frozen=True)
class TourOptions:
    """A tour through pictures.

    Args:
        pictures: the folder of the pictures, those in its subfolders too; of more than 200, so many are taken evenly.
        minutes: how long the film is, the rests of --hold included; null is --frames for each picture.
        fit: how pictures that are not square become so: `crop` keeps their centre, `pad` all of them on a ground of the
            median colour of their border, `stretch` all of them, out of proportion.
    """

    pictures: File = None
    minutes: Annotated[float | None, Range(0.01, 60)] = None
    fit: Fit = "crop"


def tour_pictures(options: TourOptions, motion: MotionOptions) -> PictureSet:
    """The pictures of its folder. Raises `UserError` if there are too few, or options contradict each other."""
    folder = options.pictures
    if folder is None:
        raise UserError("tour: goes through a folder; name it with --pictures")
    others = [name for name in ("audio", "frames", "durations") if getattr(motion, name)]
    if options.minutes is not None and others:
        (other, *_) = others
        raise UserError(f"--minutes: contradicts --{other}, which says how long the film is; give one of them")
    return find_set("--pictures", folder, _FEWEST, _MOST)


def _steps(options: TourOptions, motion: MotionOptions, pictures: int) -> int | None:
    """The steps of a tour that lasts so many minutes, with its rests; None where nothing was said of minutes."""
    if options.minutes is None:
        return None
    frames = round(options.minutes * _MINUTE * frame_rate(motion.fps))
    steps = frames - pictures * motion.hold
    if steps < pictures:
        raise UserError(
            f"--minutes {options.minutes:g}: are {frames:,} frames, too few for {pictures} pictures and their rests; "
            "give more, or a smaller --hold"
        )
    return steps


def tour_clip(model: VAE, pictures: PictureSet, options: TourOptions, motion: MotionOptions) -> tuple[Clip, int | None]:
    """The clip of a tour through pictures, and its steps if --minutes says how many; progress bars show what is slow.

    Raises:
        UserError: fewer than three can be read, or more than the minutes or the sound have frames.
    """
    files, pixels = pictures.read(model.image_size, model.channels, options.fit)
    check_stretches(motion, len(files), closed=True)
    steps = _steps(options, motion, len(files))
    x = to_tensor(torch.from_numpy(pixels))
    points = pyramid(x).double()
    order = torch.from_numpy(closed_tour(torch.cdist(points, points).numpy()))
    x, z = x[order], encode_means(model, x[order]).cpu().clone()
    keyframes = [Keyframe(z[k], x[k], files[place], options.fit) for k, place in enumerate(order.tolist())]
    seconds = math.ceil(_SECONDS * len(keyframes))
    time = f"{seconds} s" if seconds < _MINUTE else f"{math.ceil(seconds / _MINUTE)} min"
    echo(f"tour: {len(keyframes)} pictures; aligning each with the next takes about {time}")
    around = torch.cat([x, x[:1]])
    flows = flows_between(around, lambda steps: tqdm(steps, "Aligning", leave=False, delay=1))
    trajectory = path_trajectory("slerp", model, z, True)
    return Clip("tour", model, trajectory, (*keyframes, keyframes[0]), Metamorphosis(to_uint8(around), flows)), steps
