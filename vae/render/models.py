"""The models that a command renders from: their files, and the device that they run on."""

from collections.abc import Sequence
from pathlib import Path

import torch

from data.system.errors import UserError, echo, escape_unprintable
from data.system.files import resolved
from vae.checkpoint import last_checkpoints, load_vae
from vae.generator import Generator
from vae.model.vae import VAE
from vae.onnx_generator import OnnxGenerator
from vae.render.options import ComparedModelsOptions, Device, ModelOptions, RenderRequest

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "patterns.ckpt"


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


def default_checkpoint() -> Path:
    """The newest training's checkpoint, or else the shipped one."""
    return next(iter(last_checkpoints(Path("checkpoints"))), SHIPPED)


def single_model(request: RenderRequest, options: ModelOptions) -> VAE:
    """The model of a command that renders from one; says which it is."""
    path = options.checkpoint or default_checkpoint()
    model = load_vae(path, choose_device(options.device))
    echo(f"{request.command}: rendering from {path}")
    return model


def compared_models(request: RenderRequest, options: ComparedModelsOptions) -> dict[str, Generator]:
    """The models of a comparison by their shortest names that differ; says which they are.

    Raises:
        UserError: a file that is named twice or holds no model.
    """
    checkpoints = options.checkpoint or (default_checkpoint(),)
    for path in checkpoints:
        if sum(resolved(path) == resolved(other) for other in checkpoints) > 1:
            raise UserError(f"checkpoint {path}: is named twice; name it once")
    generators = () if options.generator is None else (options.generator,)
    paths, device = (*checkpoints, *generators), choose_device(options.device)
    models: dict[str, Generator] = {_short_name(path, paths): load_vae(path, device) for path in checkpoints}
    models |= {_short_name(path, paths): OnnxGenerator(path) for path in generators}
    echo(f"{request.command}: rendering from {', '.join(map(str, paths))}")
    return models


def _short_name(path: Path, among: Sequence[Path]) -> str:
    """The last parts of a path, as many as no other path ends in."""
    for parts in range(1, len(path.parts)):
        if sum(other.parts[-parts:] == path.parts[-parts:] for other in among) == 1:
            return escape_unprintable("/".join(path.parts[-parts:]))
    return escape_unprintable(str(path))
