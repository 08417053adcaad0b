"""A VAE for other programs: its networks as ONNX, its weights as safetensors.

    decoder.onnx            z (N, D) → x (N, C, H, W) in [-1, 1]
    encoder.onnx            x → mu and logvar, each (N, D)
    weights.safetensors     all weights, called as in `VAE.state_dict`

Everything is float32 and N is free. What a reader has to know besides is in each file's metadata, see `metadata`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.system.errors import UserError
from data.system.files import check_writable, save_bytes
from vae.checkpoint import FORMAT
from vae.model.vae import VAE
from vae.optional import needed

ONNX, SAFETENSORS = ".onnx", ".safetensors"
RANGE = "[-1, 1]"


def metadata(vae: VAE) -> dict[str, str]:
    """What a file says of its model: ONNX's `metadata_props`, the header of safetensors."""
    sizes = {name: str(getattr(vae, name)) for name in ("image_size", "channels", "latent_dim")}
    return {"format": str(FORMAT), "range": RANGE, **sizes}


class _Function(nn.Module):
    """One of the VAE's methods, as a module of its own."""

    def __init__(self, vae: VAE, method: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.vae, self.forward = vae, method
        self.eval()


def _onnx(vae: VAE, method: Callable[[Tensor], Any], example: Tensor, outputs: list[str]) -> bytes:
    """The bytes of an ONNX file that computes what a method of one tensor does."""
    needed("onnx", "onnx")
    needed("onnxscript", "onnx")
    program = torch.onnx.export(
        _Function(vae, method),
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["z" if example.ndim == 2 else "x"],
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim("N")},),
    )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # from which lines of which files of this machine it came
    for key, value in metadata(vae).items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    return content


def decoder_onnx(vae: VAE) -> bytes:
    """An ONNX file of `VAE.decode`. Raises `UserError` without the packages that write it."""
    return _onnx(vae, vae.decode, torch.zeros(2, vae.latent_dim), ["x"])


def encoder_onnx(vae: VAE) -> bytes:
    """An ONNX file of `VAE.encode`. Raises `UserError` without the packages that write it."""
    example = torch.zeros(2, vae.channels, vae.image_size, vae.image_size)
    return _onnx(vae, vae.encode, example, ["mu", "logvar"])


def weights_safetensors(vae: VAE) -> bytes:
    """A safetensors file of `VAE.state_dict`. Raises `UserError` without the package that writes it."""
    weights = {name: weight.contiguous() for name, weight in vae.state_dict().items()}
    content: bytes = needed("safetensors.torch", "safetensors").save(weights, metadata(vae))
    return content


def export(vae: VAE, out: Path, encoder: bool = False) -> list[Path]:
    """Writes a model's files, each whole or not at all.

    Args:
        vae: in eval mode.
        out: .onnx for the decoder, .safetensors for all weights.
        encoder: whether the encoder is written beside the decoder: encoder.onnx beside decoder.onnx, and
            cats-encoder.onnx beside cats.onnx.

    Returns:
        the files.

    Raises:
        UserError: another suffix, a package that is missing, or a place that cannot be written to.
    """
    if (kind := out.suffix.lower()) not in (ONNX, SAFETENSORS):
        raise UserError(f"{out}: cannot write {out.suffix or 'that'}; use {ONNX} or {SAFETENSORS}")
    if encoder and kind == SAFETENSORS:
        raise UserError(f"--encoder: is for {ONNX}; {out} has the encoder's weights anyway")
    writers = {out: decoder_onnx if kind == ONNX else weights_safetensors}
    if encoder:
        stem = out.stem.replace("decoder", "encoder")
        writers[out.with_stem(stem if stem != out.stem else f"{stem}-encoder")] = encoder_onnx
    check_writable(*writers)
    for content, path in [(write(vae), path) for path, write in writers.items()]:
        save_bytes(content, path)
    return list(writers)
