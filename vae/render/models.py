"""The models that a command renders from: their files, and the device that they run on."""

from collections.abc import Sequence
from pathlib import Path

import torch

from data.system.errors import UserError, echo, escape_unprintable
from vae.checkpoint import last_checkpoints, load_vae
from vae.generator import Generator
from vae.latent.keyframes import names_latents, names_picture
from vae.model.vae import VAE
from vae.onnx_generator import OnnxGenerator
from vae.render.options import ComparedModelsOptions, Device, ModelOptions, RenderRequest
from vae.shipped import SHIPPED, SHIPPED_FOR_PICTURES


def choose_device(name: Device) -> torch.device:
    """The device of that name; `auto` is a GPU if there is one, else the CPU.

    Raises:
        UserError: there is no such device here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, found in available.items() if found))
    if not available[name]:
        raise UserError(f"--device {name}: there is none that torch can use; leave it out, or take --device cpu")
    return torch.device(name)


def default_checkpoint(keyframes: Sequence[str] = ()) -> Path:
    """The newest training's checkpoint, or else a shipped one: that of pictures for pictures, without saved latents."""
    pictures = any(map(names_picture, keyframes)) and not any(map(names_latents, keyframes))
    shipped = SHIPPED_FOR_PICTURES if pictures else SHIPPED
    return next(iter(last_checkpoints(Path("checkpoints"))), shipped)


def single_model(request: RenderRequest, options: ModelOptions) -> VAE:
    """The model of a command that renders from one; says which it is."""
    path = options.checkpoint or request.checkpoints[0]
    model = load_vae(path, choose_device(options.device))
    echo(f"{request.command}: rendering from {path}")
    return model


def compared_models(request: RenderRequest, options: ComparedModelsOptions) -> dict[str, Generator]:
    """The models of a comparison by the names of their files, or by whole paths where files have the same name.

    Raises:
        UserError: a file that is named twice or holds no model.
    """
    checkpoints = options.checkpoint or request.checkpoints
    paths = [*checkpoints, *([options.generator] if options.generator else [])]
    if len(set(paths)) < len(paths):
        raise UserError("checkpoint: a file is named twice; name it once")
    files, device = [path.name for path in paths], choose_device(options.device)
    names = [escape_unprintable(path.name if files.count(path.name) == 1 else str(path)) for path in paths]
    models: list[Generator] = [load_vae(path, device) for path in checkpoints]
    models += [OnnxGenerator(path) for path in paths[len(checkpoints) :]]
    echo(f"{request.command}: rendering from {', '.join(map(str, paths))}")
    return dict(zip(names, models, strict=True))
