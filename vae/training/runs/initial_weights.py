"""`--init`: the checkpoint whose weights a new training starts from.

The first layers of a network that was trained on thousands of drawings suit other pictures too, so a training that
starts from them spends its minutes on what is particular to its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from data.sources import PROCEDURAL
from data.system.checks import array
from data.system.errors import UserError
from data.system.files import user_path
from vae import checkpoint
from vae.shipped import SHIPPED_FOR_PICTURES
from vae.training.runs.request import Request

NONE = "none"
_NETWORKS = ("vae.encoder", "vae.decoder")
_TAKEN = (*_NETWORKS, "vae.likelihood.", checkpoint.DISCRIMINATOR)


@dataclass(frozen=True)
class InitialWeights:
    """What a training starts from.

    Attributes:
        path: the checkpoint; None where all weights are random.
        left: names of layers of encoder and decoder that do not fit, and are random.
    """

    path: Path | None = None
    left: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The line that tells of it; empty where all weights are random."""
        if self.path is None:
            return ""
        names = ", ".join(name.removeprefix("vae.") for name in self.left)
        rest = f"; these do not fit and start at random: {names}" if names else "; --init none starts at random"
        return f"Starting from the weights of {self.path}{rest}"


def take_initial_weights(module: nn.Module, request: Request) -> InitialWeights:
    """Copies into a training's module the weights that `--init` names.

    Without that option these are the shipped ones, if all of them fit and the pictures are not procedural: of RGB
    pictures at 64 pixels and the default networks.

    Raises:
        UserError: the file is no checkpoint, or none of its layers fits.
    """
    named = request.options["init"]
    if named is not None:
        return InitialWeights() if named == NONE else _take(module, user_path(named), partly=True)
    if request.source in PROCEDURAL or not SHIPPED_FOR_PICTURES.is_file():
        return InitialWeights()
    return _take(module, SHIPPED_FOR_PICTURES, partly=False)


def _take(module: nn.Module, path: Path, partly: bool) -> InitialWeights:
    weights = checkpoint.read(path)["state_dict"].items()
    found = {str(name).replace("decoder.original.", "decoder."): weight for name, weight in weights}
    fitting, left = _fitting(module, found)
    if left and not partly:
        return InitialWeights()
    if not any(name.startswith(_NETWORKS) for name in fitting):
        raise UserError(f"--init {path}: no layer fits these networks; name another one, or --init none")
    try:
        taken = {name: array(name, found[name], weight) for name, weight in fitting.items()}
    except ValueError as error:
        raise UserError(f"{path}: will not do ({error}); name another one") from None
    module.load_state_dict(taken, strict=False)
    return InitialWeights(path, left)


def _fitting(module: nn.Module, found: Mapping[str, Any]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights of the layers whose shapes are those that were found, and the other layers of the networks."""

    def fits(name: str, weight: Tensor) -> bool:
        value = found.get(name)
        return isinstance(value, Tensor) and value.shape == weight.shape

    own = {name: weight for name, weight in module.state_dict().items() if name.startswith(_TAKEN)}
    other = dict.fromkeys(_layer(name) for name, weight in own.items() if not fits(name, weight))
    fitting = {name: weight for name, weight in own.items() if _layer(name) not in other}
    return fitting, tuple(layer for layer in other if layer.startswith(_NETWORKS))


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
