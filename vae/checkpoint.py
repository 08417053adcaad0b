"""Checkpoint files of trainings, read without Lightning and without unpickling objects.

    python -m vae.checkpoint checkpoints/patterns/version_0/last.ckpt checkpoints/patterns.ckpt

writes the part of a checkpoint that rendering and `train.py fit --init` need: weights and hyperparameters.
"""

import io
import math
import sys
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.image_files.classes import check_class_names
from data.system.checks import array, keys
from data.system.errors import UserError, one_line_errors
from data.system.files import check_regular_file, check_writable, save_bytes, user_path
from data.system.program import program_command
from data.system.spelling import suggest_file
from vae.model.config import VAEConfig
from vae.model.likelihoods import Likelihood
from vae.model.networks import squash
from vae.model.tuned_decoder import TunedDecoder
from vae.model.vae import VAE

_PREFIX = "vae."
DISCRIMINATOR = "losses.adversarial."  # prefix of its weights
FORMAT = 3  # of the files that this version's trainings write
_FITTED = 4  # of models whose decoder is fitted to pictures, see `save_fitted`
_BASIS = "decoder.basis"
_RENAMED = {"vae.asleep": "vae.inactive", "vae.anchors.": "vae.pca_latents."}  # prefixes of weights, since format 1
RENAMED_OPTIONS = {  # of the model, since format 1
    "anchor_share": "pca_share",
    "moments": "moment_weight",
    "prune": "inactive_below",
    "critic": "adversarial_weight",
    "cycle": "cycle_weight",
}
_FORMAT_1_DEFAULTS = VAEConfig(
    likelihood="gaussian", pca_share=0.0, inactive_below=0.0, network="residual", whiten=False, prior="normal"
)
_BEFORE_FORMAT_3 = {"network": "residual", "whiten": False}
_BEFORE_PRIORS = {"prior": "normal"}  # in files of format 3, too
_LEAST_SCALE = 1e-12  # of a likelihood
_LONGEST_OPTION = 4096  # letters: it may be a path
_RENDERED = ("format", "hyper_parameters", "datamodule_hyper_parameters", "pytorch-lightning_version")
_MEASURED = (*_RENDERED, "ImageData")


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file, of today's format: tensors and plain values only; else a `UserError`."""
    check_regular_file(path)
    if not path.exists():
        otherwise = f"train one with {program_command('train')}"
        raise UserError(f"{path}: no such checkpoint; {suggest_file(path, otherwise)}")
    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > path.stat().st_size:  # torch compresses nothing; what is compressed may be far larger than its file
            raise ValueError(f"unpacks to {size} bytes")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything on damaged or hostile bytes
        fault = f"no readable checkpoint ({type(error).__name__}); name a .ckpt file that train.py wrote"
        raise UserError(f"{path}: {fault}") from None
    content = content if isinstance(content, dict) else {}
    weights, model = content.get("state_dict"), content.get("hyper_parameters")
    data = content.get("datamodule_hyper_parameters", {})
    if not all(isinstance(group, dict) for group in (weights, model, data)) or not weights or not model:
        raise UserError(f"{path}: not a Latent Loom checkpoint (no weights or no hyperparameters); name another one")
    written = content.get("format", 1)
    if type(written) is not int or not 1 <= written <= _FITTED:
        raise UserError(f"{path}: is not of a format from 1 to {_FITTED}; use the version of Latent Loom that wrote it")
    if written == 1:
        _upgrade(content)
    content["hyper_parameters"] = _BEFORE_PRIORS | content["hyper_parameters"]
    if written < FORMAT:  # its training cannot go on
        content = _untrained(content, _MEASURED)
        content["hyper_parameters"] = _BEFORE_FORMAT_3 | content["hyper_parameters"]
    _check_classes(content["hyper_parameters"], path)
    options = {name: value for name, value in content["hyper_parameters"].items() if name != "classes"}
    for name, value in (*options.items(), *data.items()):
        is_number = isinstance(value, float | None) or (isinstance(value, int) and abs(value) < 2**64)
        if not is_number and not (isinstance(value, str) and len(value) <= _LONGEST_OPTION):
            raise UserError(f"{path}: the value of {str(name)[:50]} is not that of an option; name another one")
    return content


def _check_classes(options: dict[str, Any], path: Path) -> None:
    """Raises `UserError` unless the names of classes among a model's options will do."""
    try:
        check_class_names(options.get("classes", ()))
    except UserError as error:
        raise UserError(f"{path}: says of its classes what cannot be ({error}); name another one") from None


def _upgrade(content: dict[str, Any]) -> None:
    """Converts the content of a checkpoint of format 1: its names, and its missing options."""
    content["state_dict"] = {_renamed(str(name)): value for name, value in content["state_dict"].items()}
    options = {RENAMED_OPTIONS.get(name, name): value for name, value in content["hyper_parameters"].items()}
    content["hyper_parameters"] = asdict(_FORMAT_1_DEFAULTS) | options


def _untrained(content: dict[str, Any], names: Sequence[str], *prefixes: str) -> dict[str, Any]:
    """The weights of the VAE and those with other prefixes, and what else is named."""
    kept = (_PREFIX, *prefixes)
    weights = {name: value for name, value in content["state_dict"].items() if str(name).startswith(kept)}
    return {"state_dict": weights} | {name: content[name] for name in names if name in content}


def _renamed(name: str) -> str:
    old = next((old for old in _RENAMED if name.startswith(old)), "")
    return _RENAMED.get(old, "") + name.removeprefix(old)


def load_vae(path: Path | str, device: torch.device | str = "cpu") -> VAE:
    """The VAE of a checkpoint: in eval mode, in float32; with averaged weights if the training averaged them.

    Raises:
        UserError (a ValueError): one line that names the file, or the device, and the fault.
    """
    return build_vae(read(Path(path)), Path(path), device)


def build_vae(content: dict[str, Any], path: Path, device: torch.device | str = "cpu") -> VAE:
    """The VAE of a checkpoint's content, from `read`, as `load_vae` returns it; messages name `path`."""
    wanted = {field.name for field in fields(VAEConfig)}
    options = {name: value for name, value in content["hyper_parameters"].items() if name in wanted}
    weights = content["state_dict"].items()
    try:
        own = {name.removeprefix(_PREFIX): weight for name, weight in weights if name.startswith(_PREFIX)}
        with torch.device("meta"):  # nothing is allocated before the weights are known to have these sizes
            vae = VAE(**options)
            if is_fitted(content):
                vae.add_module("decoder", TunedDecoder(vae.decoder, torch.empty(_basis_shape(own, vae.latent_dim))))
        vae.load_state_dict(check_weights(own, vae), assign=True)
    except Exception as error:  # anything: sizes and names may be made up
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: its weights do not fit its hyperparameters ({reason}); name another one") from None
    vae = vae.float().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    if not _is_finite(vae):
        raise UserError(f"{path}: its weights are so large that pictures of them are not finite; name another one")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"device {device}: there is none that torch can use; take cpu") from None
    return vae.to(device)


def _basis_shape(weights: dict[str, Any], latent_dim: int) -> tuple[int, int]:
    """The shape (D, R) of the basis of a fitted decoder. Raises `ValueError` if it cannot be one."""
    basis = weights.get(_BASIS)
    if not isinstance(basis, Tensor) or basis.ndim != 2 or basis.shape[1] > latent_dim:
        raise ValueError("the basis of its fitted decoder")
    return latent_dim, basis.shape[1]


def is_fitted(content: dict[str, Any]) -> bool:
    """True if a checkpoint's content, from `read`, is of a model whose decoder is fitted to pictures."""
    return content.get("format") == _FITTED


def check_replaceable(path: Path) -> None:
    """Raises `UserError` if a fitted model would be written in the place of another file than one like it."""
    check_writable(path)
    if path.exists() and not is_fitted(read(path)):
        raise UserError(f"{path}: is a checkpoint that would be lost; name another file")


def save_fitted(vae: VAE, path: Path) -> None:
    """Writes a model whose decoder is fitted to pictures, see `vae.tuning.pivotal.tune`, as a checkpoint of format 4.

    Whatever takes a checkpoint to draw from takes it, too; no training continues from it.
    """
    weights = {f"{_PREFIX}{name}": weight.cpu().contiguous() for name, weight in vae.state_dict().items()}
    _save({"format": _FITTED, "state_dict": weights, "hyper_parameters": asdict(vae.config)}, path)


def check_weights(found: Any, model: nn.Module) -> dict[str, Tensor]:
    """Checked copies of the weights, by name, that a file holds for a model, which may be on the device "meta".

    Raises:
        ValueError: one is missing, unknown, of another shape, larger than the file, or not finite in the model's type.
    """
    expected = model.state_dict()
    keys("weights", found, expected)
    likelihoods = {name: part for name, part in model.named_modules() if isinstance(part, Likelihood)}
    positive = {f"{name}.{kind}" for name in likelihoods for kind in ("scale", "scales")}
    without = {f"{name}.scale" for name, part in likelihoods.items() if not part.density}  # NaN stands there
    return {
        name: array(name, found[name], weight, _LEAST_SCALE if name in positive else -math.inf)
        for name, weight in expected.items()
        if name not in without
    } | {name: torch.tensor(math.nan) for name in without}


@torch.inference_mode()
def _is_finite(vae: VAE) -> bool:
    """True if the logits of the mean latent and of a random one are finite, and the posteriors of their pictures."""
    z = torch.randn(1, vae.latent_dim, generator=torch.Generator().manual_seed(0))
    logits = vae.logits(torch.cat([torch.zeros_like(z), z]))
    return all(bool(found.isfinite().all()) for found in (logits, *vae.encode(squash(logits))))


def last_checkpoints(folder: Path) -> list[Path]:
    """All files `last.ckpt` below a folder, the newest first."""
    ages: dict[Path, int] = {}
    for path in folder.rglob("last.ckpt"):
        with suppress(OSError):  # it has just been removed, or is a link that leads nowhere
            ages[path] = path.stat().st_mtime_ns
    return sorted(ages, key=lambda path: ages[path], reverse=True)


def strip_checkpoint(source: Path, target: Path) -> None:
    """Writes the weights and hyperparameters of a checkpoint into another file: what rendering and `--init` need.

    Of the folders of the machine that trained it, only the last name of the pictures' folder is kept.
    """
    content = _untrained(read(source), _RENDERED, DISCRIMINATOR)
    if data := content.get("datamodule_hyper_parameters"):
        data.pop("cache_dir", None)
        if "source" in data:
            data["source"] = Path(str(data["source"])).name
    _save(content, target)


def _save(content: dict[str, Any], path: Path) -> None:
    file = io.BytesIO()
    torch.save(content, file)
    save_bytes(file.getvalue(), path)


def main(args: Sequence[str]) -> None:
    """The command line of `strip_checkpoint`: source, target."""
    with one_line_errors("vae.checkpoint"):
        if len(args) != 2:
            raise UserError("takes two files: the checkpoint to read and the one to write")
        strip_checkpoint(user_path(args[0]), user_path(args[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
