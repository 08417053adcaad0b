"""`--init`: the checkpoint whose weights a new training starts from.

The first layers of a network that was trained on thousands of drawings suit other pictures too, so a training that
starts from them spends its minutes on what is particular to its own.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from data.sources import PROCEDURAL
from data.system.checks import array
from data.system.errors import UserError
from data.system.files import user_path
from data.system.spelling import counted
from vae import checkpoint
from vae.model.stages.layers import pass_on
from vae.shipped import SHIPPED_FOR_PICTURES
from vae.training.runs.request import Request

NONE = "none"
_DECODER_LAYERS = "vae.decoder.layers."
_NETWORKS = ("vae.encoder", "vae.decoder")
_TAKEN = (*_NETWORKS, "vae.likelihood.", checkpoint.DISCRIMINATOR)


@dataclass(frozen=True)
class InitialWeights:
    """What a training starts from.

    Attributes:
        path: the checkpoint; None where all weights are random.
        left: names of layers of encoder and decoder that do not fit, and are random.
        inserted: names of those that networks of larger pictures have more of, and that begin by passing on.
    """

    path: Path | None = None
    left: tuple[str, ...] = ()
    inserted: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The line that tells of it; empty where all weights are random."""
        if self.path is None:
            return ""
        rest = "; --init none starts at random"
        if self.left:
            names = ", ".join(name.removeprefix("vae.") for name in self.left)
            rest = f"; these do not fit and start at random: {names}"
        elif self.inserted:
            rest = f"; {counted(len(self.inserted), 'more layer')} for larger pictures, which begin by passing on{rest}"
        return f"Starting from the weights of {self.path}{rest}"


def take_initial_weights(module: nn.Module, request: Request) -> InitialWeights:
    """Copies into a training's module the weights that `--init` names.

    Without that option these are the shipped ones, if all of them fit and the pictures are not procedural: of RGB
    pictures at 64, 128 or 256 pixels and the default networks.

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
    found = _counted_from_pictures(found, module.state_dict())
    fitting, others = _fitting(module, found)
    all_fit = all(name in fitting for name in found if name.startswith(_NETWORKS))
    if not all_fit and not partly:
        return InitialWeights()
    if not any(name.startswith(_NETWORKS) for name in fitting):
        raise UserError(f"--init {path}: no layer fits these networks; name another one, or --init none")
    try:
        taken = {name: array(name, found[name], weight) for name, weight in fitting.items()}
    except ValueError as error:
        raise UserError(f"{path}: will not do ({error}); name another one") from None
    module.load_state_dict(taken, strict=False)
    if not all_fit:
        return InitialWeights(path, left=others)
    for name in others:
        pass_on(module.get_submodule(name))
    return InitialWeights(path, inserted=others)


def _counted_from_pictures(found: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The weights that were found, the last layers of their decoder numbered as a training's own.

    Networks of larger pictures have more layers where maps are small, and the same ones beside the pictures.
    """
    more = _last_number(own) - _last_number(found)

    def renumbered(name: str) -> str:
        layer = re.fullmatch(rf"{_DECODER_LAYERS}(\d{{1,4}})(.*)", name)
        return f"{_DECODER_LAYERS}{int(layer[1]) + more}{layer[2]}" if layer else name

    return {renumbered(name): weight for name, weight in found.items()}


def _last_number(names: Iterable[str]) -> int:
    return max(
        (int(found[1]) for name in names if (found := re.match(rf"{_DECODER_LAYERS}(\d{{1,4}})", name))), default=0
    )


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
