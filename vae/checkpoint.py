"""A checkpoint file → a VAE, without Lightning and without ever loading a pickle.

    python -m vae.checkpoint checkpoints/patterns/version_0/last.ckpt checkpoints/patterns.ckpt

keeps of a training checkpoint what rendering needs: weights and hyperparameters.
"""

import inspect
import io
import math
import sys
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.system.errors import UserError, one_line_errors
from data.system.files import check_regular_file, save, user_path
from data.system.spelling import neighbour
from vae.checks import array, count, keys
from vae.model.likelihoods import Likelihood
from vae.model.networks import squash
from vae.model.vae import VAE

_PREFIX = "vae."
FORMAT = 2  # of the files that this version writes
_RENAMED_WEIGHTS = {  # since format 1: what the names begin with
    "vae.asleep": "vae.inactive",
    "vae.anchors.": "vae.pca_latents.",
    "worth": "kl_average",
    "moments.": "losses.moment_matching.",
    "critic.": "losses.adversarial.discriminator.",
}
RENAMED_OPTIONS = {  # of the model, since format 1
    "anchor_share": "pca_share",
    "moments": "moment_weight",
    "prune": "inactive_below",
    "critic": "adversarial_weight",
    "cycle": "cycle_weight",
}
_TINY = 1e-12  # the least scale of a likelihood
_LONGEST = 4096  # letters of an option, which may be a path
_KEPT = ("format", "state_dict", "hyper_parameters", "datamodule_hyper_parameters", "pytorch-lightning_version")


def read(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint file: tensors and plain values only.

    Raises:
        UserError: the file is missing, damaged, unsafe or not a checkpoint of this project.
    """
    check_regular_file(path)
    if not path.exists():
        raise UserError(f"{path}: no such checkpoint; {neighbour(path, 'train one with python train.py')}")
    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > path.stat().st_size:  # torch packs nothing; what is packed may be far larger than it looks
            raise UserError(f"{path}: unpacks to {size} bytes, which no checkpoint does; name another one")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except zipfile.BadZipFile:
        raise UserError(f"{path}: not a checkpoint, or a damaged one; name a .ckpt file that train.py wrote") from None
    except Exception as error:  # torch raises nearly anything on damaged or hostile bytes
        raise UserError(f"{path}: not a readable checkpoint ({type(error).__name__}); name another one") from None
    groups = ("state_dict", "hyper_parameters", "datamodule_hyper_parameters")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key, {}), dict) and (content.get(key) or key == groups[-1]) for key in groups
    ):
        raise UserError(f"{path}: not a Latent Loom checkpoint (no weights or no hyperparameters); name another one")
    written = content.get("format", 1)
    if type(written) is not int or not 1 <= written <= FORMAT:
        found = written if type(written) is int else type(written).__name__
        raise UserError(f"{path}: has format {found}, not {FORMAT}; take the version that wrote it")
    if written == 1:
        _upgrade(content)
    for name, value in (option for group in groups[1:] for option in content.get(group, {}).items()):
        if not isinstance(value, str | int | float | None) or len(str(value)) > _LONGEST:
            raise UserError(f"{path}: says of {str(name)[:50]} what no option can be; name another one")
    return content


def _upgrade(content: dict[str, Any]) -> None:
    """Gives what a checkpoint of format 1 holds the names of format 2."""
    for group in ("state_dict", "current_model_state"):
        if isinstance(content.get(group), dict):
            content[group] = {_renamed(str(name)): weight for name, weight in content[group].items()}
    options = content["hyper_parameters"]
    content["hyper_parameters"] = {RENAMED_OPTIONS.get(name, name): value for name, value in options.items()}
    with suppress(LookupError, TypeError, ValueError):  # a plan that will not do is refused where it is used
        content["plan"] = _upgraded_plan(content["plan"], content["loops"]["fit_loop"])
    content["format"] = FORMAT


def _upgraded_plan(plan: dict[str, Any], loops: dict[str, Any]) -> dict[str, Any]:
    """The plan of format 1 with the place as a number of pictures.

    Format 1 did not say how many pictures an epoch has. Any number beyond those that were seen in it will do: the
    training that goes on knows its own, and keeps epoch and offset.
    """
    batches, size = loops["epoch_loop.batch_progress"], count("pictures in a batch", plan["dealt"], 1)
    epoch = count("epochs", loops["epoch_progress"]["current"]["processed"])
    offset = 0 if batches["is_last_batch"] else size * count("batches", batches["current"]["completed"])
    length = offset + size
    place = {"pictures_seen": epoch * length + offset, "pictures_per_epoch": length}
    return {**place, "seed": plan["seed"], "progress": plan["progress"]}


def _renamed(name: str) -> str:
    old = next((old for old in _RENAMED_WEIGHTS if name.startswith(old)), "")
    return _RENAMED_WEIGHTS.get(old, "") + name.removeprefix(old)


def load_vae(path: Path | str) -> VAE:
    """The VAE in a checkpoint file: eval mode, on the CPU, float32; averaged weights where training averaged them.

    Raises:
        UserError (a ValueError): one line that says why the file will not do.
    """
    return build_vae(read(Path(path)), Path(path))


def build_vae(content: dict[str, Any], path: Path) -> VAE:
    """What `load_vae` does with the contents that `read` gave; `path` is named where they will not do."""
    wanted = inspect.signature(VAE).parameters
    options = {name: value for name, value in content["hyper_parameters"].items() if name in wanted}
    weights = content["state_dict"].items()
    try:
        own = {name.removeprefix(_PREFIX): weight for name, weight in weights if name.startswith(_PREFIX)}
        with torch.device("meta"):  # nothing is allocated before the weights are known to be as many
            expected = VAE(**options)
        arrays = check_weights(own, expected)
        vae = VAE(**options)
        vae.load_state_dict(arrays)
    except Exception as error:  # whatever networks say to sizes and kinds that were made up
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: its weights do not fit its hyperparameters ({reason}); name another one") from None
    vae = vae.float().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    if not _computes(vae):
        raise UserError(f"{path}: its weights are so large that pictures of them are not finite; name another one")
    return vae


def check_weights(found: Any, model: nn.Module) -> dict[str, Tensor]:
    """Copies of the weights that a file has for a model.

    Args:
        found: what the file has of them.
        model: of the same sizes, on any device, "meta" too.

    Raises:
        ValueError: some are missing, of another shape, not all there, or not finite in the model's type.
    """
    expected = model.state_dict()
    keys("weights", found, expected)
    likelihoods = {name: part for name, part in model.named_modules() if isinstance(part, Likelihood)}
    positive = {f"{name}.{kind}" for name in likelihoods for kind in ("scale", "scales")}
    without = {f"{name}.scale" for name, part in likelihoods.items() if not part.density}  # NaN stands there
    return {
        name: array(name, found[name], weight, _TINY if name in positive else -math.inf)
        for name, weight in expected.items()
        if name not in without
    } | {name: torch.tensor(math.nan) for name in without}


@torch.inference_mode()
def _computes(vae: VAE) -> bool:
    """Whether the pictures of the mean latent and of a draw, and their codes, are finite before they are squashed."""
    draw = torch.randn(1, vae.latent_dim, generator=torch.Generator().manual_seed(0))
    logits = vae.logits(torch.cat([torch.zeros_like(draw), draw]))
    return all(bool(found.isfinite().all()) for found in (logits, *vae.encode(squash(logits))))


def newest(folder: Path) -> Path | None:
    """The `last.ckpt` below a folder that was written last, None if there is none."""
    return max(folder.rglob("last.ckpt"), key=lambda path: path.stat().st_mtime, default=None)


def strip(source: Path, target: Path) -> None:
    """Writes a checkpoint's weights and hyperparameters alone."""
    content = read(source)
    kept = {key: content[key] for key in _KEPT if key in content}
    kept["state_dict"] = {name: weight for name, weight in kept["state_dict"].items() if name.startswith(_PREFIX)}
    file = io.BytesIO()
    torch.save(kept, file)
    save(file.getvalue(), target)


def main(args: Sequence[str]) -> None:
    """`strip` as a command: source, target."""
    with one_line_errors("vae.checkpoint"):
        if len(args) != 2:
            raise UserError("takes two files: the checkpoint to read and the one to write")
        strip(user_path(args[0]), user_path(args[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
