"""What other programs get of a model is the model."""

import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor

import render
from vae import checkpoint
from vae.checkpoint import FORMAT
from vae.model.vae import VAE

SHIPPED = {path.stem: path for path in sorted((Path(render.__file__).parent / "checkpoints").glob("*.ckpt"))}
SIZES = {"patterns": {"image_size": "64", "channels": "3", "latent_dim": "16"}}
SIZES["lines"] = {"image_size": "32", "channels": "1", "latent_dim": "8"}
SIZES["pictures"] = {"image_size": "64", "channels": "3", "latent_dim": "128"}
FILES = {"patterns": ("decoder.onnx", "encoder.onnx"), "lines": ("lines.ONNX", "lines-encoder.ONNX")}
FILES["pictures"] = ("pictures.onnx", "pictures-encoder.onnx")
every_model = pytest.mark.parametrize("name", SHIPPED)


def run(path: Path, given: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    return [torch.from_numpy(found) for found in session.run(None, {taken.name: given.numpy()})]


def check_onnx(path: Path, name: str, outputs: list[str]) -> None:
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    stated = {entry.key: entry.value for entry in model.metadata_props}
    assert stated == {"format": str(FORMAT), "range": "[-1, 1]", **SIZES[name]}
    assert {each.domain for each in model.opset_import} == {""}
    assert b".py" not in path.read_bytes(), "a path of the machine that wrote it"
    assert [entry.name for entry in model.graph.output] == outputs


def latents(vae: VAE, count: int) -> Tensor:
    return torch.randn(count, vae.latent_dim, generator=torch.Generator().manual_seed(count))


@pytest.mark.slow  # torch.onnx.export takes seconds; another test renders from an exported decoder
@every_model
def test_onnx_computes_what_torch_does_and_says_what_it_holds(name, tmp_path, capsys):
    vae, (decoder, encoder) = checkpoint.load_vae(SHIPPED[name]), (tmp_path / each for each in FILES[name])
    render.main(["export", "--out", str(decoder), "--encoder", f"--checkpoint={SHIPPED[name]}"])
    assert f"--generator {decoder}" in capsys.readouterr().out
    assert set(tmp_path.iterdir()) == {decoder, encoder}
    for count in (1, 3, 17):
        z = latents(vae, count)
        x = vae.decode(z)
        (found,) = run(decoder, z)
        torch.testing.assert_close(found, x, rtol=0, atol=1e-4)
        for ours, theirs in zip(vae.encode(x), run(encoder, x), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-4)
    check_onnx(decoder, name, ["x"])
    check_onnx(encoder, name, ["mu", "logvar"])


@every_model
def test_safetensors_holds_the_checkpoints_weights_by_their_names(name, tmp_path):
    vae, out = checkpoint.load_vae(SHIPPED[name]), tmp_path / "weights.safetensors"
    render.main(["export", "--out", str(out), f"--checkpoint={SHIPPED[name]}"])
    content = checkpoint.read(SHIPPED[name])["state_dict"]
    expected = {key.removeprefix("vae."): weight for key, weight in content.items() if key.startswith("vae.")}
    found = safetensors.torch.load_file(out)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key].nan_to_num(), expected[key].nan_to_num()) for key in expected)
    vae.load_state_dict(found)
    with safetensors.safe_open(out, "pt") as file:
        assert file.metadata() == {"format": str(FORMAT), "range": "[-1, 1]", **SIZES[name]}


@every_model
def test_exported_weights_are_loaded_by_the_lines_that_the_command_prints(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    render.main(["export", "--out=vae_weights.pth", f"--checkpoint={SHIPPED[name]}"])
    *_, lines = capsys.readouterr().out.partition("Next, in Python:\n")
    assert "VAE(image_size=" in lines
    lesson = """
from vae import linear
with torch.no_grad():
    mu, logvar = model.encode(model.sample(2, torch.Generator().manual_seed(0)))
    frames = model.decode(linear(mu, torch.linspace(0, 1, 3)))
"""
    names: dict = {}
    exec(lines + lesson, names)
    ours, theirs = checkpoint.load_vae(SHIPPED[name]), names["model"]
    assert theirs.config == ours.config
    torch.testing.assert_close(theirs.decode(latents(ours, 3)), ours.decode(latents(ours, 3)), rtol=0, atol=1e-5)
    assert names["frames"].shape == (3, ours.channels, ours.image_size, ours.image_size)
    weights = torch.load("vae_weights.pth", weights_only=True)
    assert all(type(weight) is Tensor and weight.is_contiguous() for weight in weights.values())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "safetensors.torch"])
def test_a_missing_package_is_named_with_what_brings_it(package, one_line_error, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra = "onnx" if package.startswith("onnx") else "safetensors"
    out = tmp_path / ("decoder.onnx" if extra == "onnx" else "weights.safetensors")
    line = one_line_error(render.main, "export", f"--out={out}")
    assert line == f"render.py: {package.split('.')[0]}: is not installed; pip install -e '.[{extra}]'"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--out=weights.bin"], ".bin; use .onnx, .safetensors or .pth"),
        (["--out=weights"], "safetensors"),
        (["--out=a.safetensors", "--encoder"], "--encoder"),
        (["--out=a.pth", "--encoder"], "--encoder"),
        (["--out=/dev/null/decoder.onnx"], "/dev/null"),
        (["--checkpoint=none.ckpt"], "none.ckpt"),
        (["--encoder", "yes"], "yes"),
    ],
    ids=str,
)
def test_what_cannot_be_exported_gets_one_line(words, named, one_line_error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named in one_line_error(render.main, "export", *words)
    assert not list(tmp_path.iterdir())
