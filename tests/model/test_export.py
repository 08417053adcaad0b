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
from vae.model.vae import VAE

SHIPPED = {path.stem: path for path in sorted((Path(render.__file__).parent / "checkpoints").glob("*.ckpt"))}
TOLD = {"patterns": {"image_size": "64", "channels": "3", "latent_dim": "16"}}
TOLD["lines"] = {"image_size": "32", "channels": "1", "latent_dim": "8"}
FILES = {"patterns": ("decoder.onnx", "encoder.onnx"), "lines": ("lines.ONNX", "lines-encoder.ONNX")}


def run(path: Path, given: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    return [torch.from_numpy(found) for found in session.run(None, {taken.name: given.numpy()})]


@pytest.fixture(scope="module", params=SHIPPED)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, VAE, list[Path]]:
    """A model's name, itself, and its files: decoder, encoder, weights."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    files = [folder / each for each in (*FILES[name], "weights.safetensors")]
    render.main(["export", "--out", str(files[0]), "--encoder", f"--checkpoint={SHIPPED[name]}"])
    render.main(["export", "--out", str(files[2]), f"--checkpoint={SHIPPED[name]}"])
    assert set(folder.iterdir()) == set(files)
    return name, checkpoint.load_vae(SHIPPED[name]), files


@pytest.mark.parametrize("count", [1, 3, 17])
def test_onnx_computes_what_torch_does(exported, count):
    _, vae, (decoder, encoder, _) = exported
    z = torch.randn(count, vae.latent_dim, generator=torch.Generator().manual_seed(count))
    x = vae.decode(z)
    (found,) = run(decoder, z)
    assert found.shape == x.shape
    torch.testing.assert_close(found, x, rtol=0, atol=1e-5)
    for ours, theirs in zip(vae.encode(x), run(encoder, x), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-4)


def test_onnx_is_whole_plain_and_says_what_it_holds(exported):
    name, _, (decoder, encoder, _) = exported
    for path in (decoder, encoder):
        model = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(model, full_check=True)
        told = {entry.key: entry.value for entry in model.metadata_props}
        assert told == {"format": "1", "range": "[-1, 1]", **TOLD[name]}
        assert {each.domain for each in model.opset_import} == {""}
        assert b".py" not in path.read_bytes(), "a path of the machine that wrote it"
    assert [entry.name for entry in model.graph.output] == ["mu", "logvar"]


def test_safetensors_holds_the_checkpoints_weights_by_their_names(exported):
    name, vae, (*_, weights) = exported
    content = torch.load(SHIPPED[name], weights_only=True)["state_dict"]
    expected = {key.removeprefix("vae."): weight for key, weight in content.items() if key.startswith("vae.")}
    found = safetensors.torch.load_file(weights)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key].nan_to_num(), expected[key].nan_to_num()) for key in expected)
    vae.load_state_dict(found)
    with safetensors.safe_open(weights, "pt") as file:
        assert file.metadata() == {"format": "1", "range": "[-1, 1]", **TOLD[name]}


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
        (["--out=weights.bin"], ".bin"),
        (["--out=weights"], "safetensors"),
        (["--out=a.safetensors", "--encoder"], "--encoder"),
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
