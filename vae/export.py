"""A VAE for other programs: networks as ONNX, weights for PyTorch or as safetensors.

    decoder.onnx            z (N, D) → x (N, C, H, W) in [-1, 1]
    encoder.onnx            x → mu and logvar, each (N, D)
    weights.safetensors     all weights, named as in `VAE.state_dict`
    vae_weights.pth         the same, for `model.load_state_dict(torch.load("vae_weights.pth"))`

Everything is float32, and N is free. ONNX and safetensors files also hold `metadata`.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.system.errors import UserError, shell_quoted
from data.system.files import check_writable, save_bytes
from data.system.program import program_command
from vae.checkpoint import FORMAT
from vae.model.tuned_decoder import TunedDecoder
from vae.model.vae import VAE
from vae.optional import import_optional

PIXEL_RANGE = "[-1, 1]"


def metadata(vae: VAE) -> dict[str, str]:
    """A description of the model: ONNX's `metadata_props`, the header of safetensors."""
    sizes = {name: str(getattr(vae, name)) for name in ("image_size", "channels", "latent_dim")}
    return {"format": str(FORMAT), "range": PIXEL_RANGE, **sizes}


def _onnx(vae: VAE, method: Callable[[Tensor], Any], example: Tensor, outputs: list[str]) -> bytes:
    """The bytes of an ONNX file that computes a method of one tensor."""
    import_optional("onnx", "onnx")
    import_optional("onnxscript", "onnx")
    module = nn.Module()
    module.vae, module.forward = vae, method
    program = torch.onnx.export(
        module.eval(),
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
        node.ClearField("metadata_props")  # they name source files of this machine
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


def _weights(vae: VAE) -> dict[str, Tensor]:
    return {name: weight.contiguous() for name, weight in vae.state_dict().items()}


def weights_safetensors(vae: VAE) -> bytes:
    """A safetensors file of `VAE.state_dict`. Raises `UserError` without the package that writes it."""
    content: bytes = import_optional("safetensors.torch", "safetensors").save(_weights(vae), metadata(vae))
    return content


def weights_pth(vae: VAE) -> bytes:
    """A PyTorch file of `VAE.state_dict`, which `torch.load` reads with `weights_only=True`, its default."""
    file = io.BytesIO()
    torch.save(_weights(vae), file)
    return file.getvalue()


EXPORTERS = {".onnx": decoder_onnx, ".safetensors": weights_safetensors, ".pth": weights_pth}


def export(vae: VAE, out: Path, encoder: bool = False) -> list[Path]:
    """Writes a model's files, each whole or not at all, and returns their paths.

    Args:
        vae: in eval mode, on the CPU.
        out: the suffix picks the format, see `EXPORTERS`.
        encoder: writes encoder.onnx beside decoder.onnx, and cats-encoder.onnx beside cats.onnx.

    Raises:
        UserError: another suffix, a missing package, or a place that cannot be written to.
    """
    if (suffix := out.suffix.lower()) not in EXPORTERS:
        *some, last = EXPORTERS
        raise UserError(f"{out}: cannot write {suffix or 'that'}; use {', '.join(some)} or {last}")
    if encoder and suffix != ".onnx":
        raise UserError(f"--encoder: is for .onnx; {out} has the encoder's weights anyway")
    exporters = {out: EXPORTERS[suffix]}
    if encoder:
        stem = out.stem.replace("decoder", "encoder")
        exporters[out.with_stem(stem if stem != out.stem else f"{stem}-encoder")] = encoder_onnx
    check_writable(*exporters)
    for path, content in {path: exporter(vae) for path, exporter in exporters.items()}.items():
        save_bytes(content, path)
    return list(exporters)


def usage(vae: VAE, out: Path) -> list[str]:
    """Lines that say how an exported file is used; of a .pth file, a Python program."""
    if out.suffix.lower() == ".onnx":
        compare = f"{program_command('render')} compare --generator {shell_quoted(out)}"
        return [f"Next: {compare}, which walks it beside a checkpoint"]
    if out.suffix.lower() == ".pth" and isinstance(vae.decoder, TunedDecoder):
        return ["Its decoder is fitted to pictures; in Python, load_vae of vae loads the checkpoint as it is"]
    if out.suffix.lower() == ".pth":
        made = f"model = {vae.config}"
        loaded = f"model.load_state_dict(torch.load({str(out)!r}))"
        return ["Next, in Python:", "import torch", "from vae import VAE", made, loaded, "model.eval()"]
    return []
