"""Any network that draws pictures of latents walks beside our own."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_files import LATENTS, PICTURES, SHAPE, model, weights
from PIL import Image
from torch import Tensor, nn

import render
from data.system.errors import UserError
from data.transforms import to_uint8
from vae import checkpoint
from vae.export import decoder_onnx
from vae.onnx_generator import OnnxGenerator
from vae.render import models
from vae.render.models import SHIPPED

D, SIDE = 12, 32
LINES = SHIPPED.with_name("lines.ckpt")
WORDS = ["compare", f"--checkpoint={LINES}", "--frames=5", "--size=48"]


class Dcgan(nn.Module):
    """Random, and as large as it has to be: (N, D, 1, 1) → (N, 3, 32, 32) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(D, 8, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 4), nn.Tanh()
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


@pytest.fixture(scope="module")
def dcgan() -> Dcgan:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Dcgan().eval()


def export(module: nn.Module, z: Tensor, path: Path, free: bool = False) -> Path:
    module.eval()
    with warnings.catch_warnings(action="ignore"):  # of the exporter without torch's compiler, which is much quicker
        torch.onnx.export(
            module, (z,), path, dynamo=False, input_names=["z"], dynamic_axes={"z": {0: "N"}} if free else None
        )
    return path


class Shown(nn.Module):
    """Its pictures as others lay them out; latents are (N, D)."""

    def __init__(self, dcgan: Dcgan, how: str) -> None:
        super().__init__()
        self.dcgan, self.how = dcgan, how

    def forward(self, z: Tensor) -> Tensor:
        x = self.dcgan(z[:, :, None, None])
        if self.how == "half":
            return x.half()
        if self.how == "grey":
            return x.mean(1, keepdim=True)
        if self.how == "nhwc":
            return x.permute(0, 2, 3, 1)
        share = (x + 1) / 2
        return share if self.how == "share" else (255 * share).round().to(torch.uint8)


@pytest.fixture(scope="module")
def z() -> Tensor:
    return torch.randn(5, D, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def gan(dcgan: Dcgan, z: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(dcgan, z[:2, :, None, None], tmp_path_factory.mktemp("gan") / "gan.onnx", free=True)


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_where_the_batch_is_fixed_latents_go_through_in_turn(batch, dcgan, gan, z, tmp_path):
    fixed = OnnxGenerator(export(dcgan, z[:batch, :, None, None], tmp_path / "fixed.onnx"))
    assert (fixed.latent_dim, fixed.image_size, fixed.channels) == (D, SIDE, 3)
    torch.testing.assert_close(fixed.decode(z), dcgan(z[:, :, None, None]), rtol=0, atol=1e-5)
    torch.testing.assert_close(fixed.decode(z), OnnxGenerator(gan).decode(z), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "off"),
    [
        ("nhwc", 1e-5),
        pytest.param("grey", 1e-5, marks=pytest.mark.slow),
        pytest.param("share", 1e-5, marks=pytest.mark.slow),
        pytest.param("half", 1e-3, marks=pytest.mark.slow),
        pytest.param("bytes", 0.01, marks=pytest.mark.slow),
    ],
)
def test_pictures_are_understood_however_they_are_laid_out(how, off, dcgan, z, tmp_path):
    found = OnnxGenerator(export(Shown(dcgan, how), z[:2], tmp_path / "shown.onnx", free=True)).decode(z)
    expected = dcgan(z[:, :, None, None])
    torch.testing.assert_close(found, expected.mean(1, keepdim=True) if how == "grey" else expected, rtol=0, atol=off)


@pytest.mark.slow
def test_what_the_file_says_of_its_range_counts(dcgan, z, tmp_path):
    model = onnx.load(export(Shown(dcgan, "share"), z[:2], tmp_path / "share.onnx", free=True))
    helper.set_model_props(model, {"range": "[-1, 1]"})
    onnx.save(model, tmp_path / "said.onnx")
    said, seen = (OnnxGenerator(tmp_path / name).decode(z) for name in ("said.onnx", "share.onnx"))
    torch.testing.assert_close(2 * said - 1, seen)


@pytest.mark.slow
def test_our_own_decoder_has_the_numbers_of_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.onnx").write_bytes(decoder_onnx(checkpoint.load_vae(SHIPPED)))
    words = [
        f"--checkpoint={SHIPPED}",
        "--frames=5",
        "--size=48",
        "--generator=own.onnx",
        "--paths",
        "linear",
        "slerp",
        "--report=r.json",
        "--save-latents=walk.npz",
    ]
    render.main(["compare", *words, "--out=both.png"])
    walks = json.loads(Path("r.json").read_text())["trajectories"]
    assert len(walks) == 4
    for path in ("linear", "slerp"):
        ours, own = walks[f"patterns.ckpt, {path}"], walks[f"own.onnx, {path}"]
        assert ours.pop("cycle") > 0
        assert ours.pop("off_manifold") > 0
        assert own.pop("cycle") is own.pop("off_manifold") is None
        assert own == pytest.approx(ours, abs=1e-3)
    latents = np.load("walk.npz")["latents"].reshape(2, 2, 5, -1)
    np.testing.assert_allclose(latents[0][:, [0, -1]], latents[1][:, [0, -1]], atol=1e-6)
    with Image.open("both.png") as shown:
        above, below = (np.asarray(shown.convert("RGB"))[top : top + 48, :96].astype(int) for top in (0, 48 + 20))
    assert abs(above - below).max() <= 1


def test_a_gan_walks_beside_a_checkpoint(gan, dcgan, tmp_path, capsys):
    out, words = tmp_path / "both.png", ["--seed=4", "--size=32"]
    render.main([*WORDS, *words, f"--generator={gan}", f"--out={out}", f"--report={tmp_path / 'r.json'}"])
    told = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if "  " in line}
    assert told["gan.onnx"][:2] == ["–", "–"]
    *ours, end_psnr = told["lines.ckpt"]
    assert "–" not in ours
    assert end_psnr == "–"
    assert all(float(number) > 0 for number in told["gan.onnx"][2:-1])
    drawn = dcgan(torch.randn(D, generator=torch.Generator().manual_seed(4)).reshape(1, D, 1, 1))
    first = to_uint8(drawn)[0].numpy()
    with Image.open(out) as shown:
        assert shown.n_frames == 5
        frame = np.asarray(shown.convert("RGB")).astype(int)
    assert frame.shape[1] == 2 * 32, "side by side"
    assert abs(frame[:32, 32:] - first).max() <= 1


@pytest.mark.slow
def test_tiles_are_of_one_size(tmp_path, dcgan, z):
    class Large(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dcgan, self.larger = dcgan, nn.Upsample(scale_factor=9)

        def forward(self, z: Tensor) -> Tensor:
            return self.larger(self.dcgan(z))

    path = export(Large(), z[:2, :, None, None], tmp_path / "large.onnx", free=True)
    render.main(
        [
            "compare",
            f"--checkpoint={LINES}",
            "--frames=2",
            "--pace=latent",
            f"--generator={path}",
            f"--out={tmp_path / 'a.gif'}",
        ]
    )
    with Image.open(tmp_path / "a.gif") as shown:
        assert shown.width == 2 * 9 * SIDE


def elsewhere() -> TensorProto:
    tensor = weights()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.txt")
    return tensor


def linear(*constants: TensorProto, latents: dict = LATENTS, kind: str = "MatMul", domain: str = "") -> bytes:
    nodes = [
        helper.make_node(kind, ["z", "w"], ["h"], domain=domain),
        helper.make_node("Reshape", ["h", "shape"], ["x"]),
    ]
    return model(nodes, latents, PICTURES, *constants, SHAPE)


def within_a_branch() -> bytes:
    constant = helper.make_node("Constant", [], ["w"], value=elsewhere())
    branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 768])])
    yes = numpy_helper.from_array(np.array(True), "yes")
    return model(
        [helper.make_node("If", ["yes"], ["x"], then_branch=branch, else_branch=branch)], LATENTS, PICTURES, yes
    )


def same(shape: list, kind: int = TensorProto.FLOAT) -> bytes:
    """Hands its latents on as pictures."""
    node = helper.make_node("Identity", ["z"], ["x"])
    return model([node], {"z": (kind, shape)}, {"x": (kind, shape)})


two = {"z": LATENTS["z"], "label": (TensorProto.INT64, ["N"])}
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "cannot be run"),
    "text": (b"Dear reader, I am not a network.", "cannot be run"),
    "cut short": (linear(weights())[:-500], "cannot be run"),
    "two inputs": (linear(weights(), latents=two), "2 inputs"),
    "another file's data": (linear(elsewhere()), "external_data=False"),
    "another file's data in a branch": (within_a_branch(), "external_data=False"),
    "unknown operation": (linear(weights(), kind="Steal", domain="elsewhere"), "Steal"),
    "latents of any length": (linear(weights(), latents={"z": (TensorProto.FLOAT, ["N", "D"])}), "how many numbers"),
    "whole numbers": (same(["N", 4], TensorProto.INT64), "int64"),
    "a number": (same([]), "not latents"),
    "numbers without end": (same(["N", 2**40]), "too many"),
    "pictures in": (same(["N", 3, 16, 16]), "latents"),
    "no pictures": (same(["N", 4]), "not square pictures"),
    "not finite": (linear(weights(float("nan"))), "not finite"),
    "far beyond": (linear(weights(5.0)), "numbers from"),
}  # fmt: skip


FEW = ("text", "two inputs", "another file's data in a branch", "no pictures", "not finite")


@pytest.mark.parametrize(
    ("content", "named"),
    [pytest.param(*case, id=name, marks=[] if name in FEW else pytest.mark.slow) for name, case in HOSTILE.items()],
)
def test_what_is_no_generator_gets_one_line(content, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("secret.txt").write_bytes(bytes(4 * 4 * 3 * 16 * 16))
    Path("odd.onnx").write_bytes(content)
    with pytest.raises(UserError) as refusal:
        OnnxGenerator(Path("odd.onnx"))
    assert str(refusal.value).startswith("odd.onnx: ")
    assert len(str(refusal.value).splitlines()) == 1
    assert named in str(refusal.value)
    assert {path.name for path in tmp_path.iterdir()} == {"secret.txt", "odd.onnx"}


def test_the_hostile_files_differ_by_one_fault_from_one_that_is_drawn(tmp_path):
    (tmp_path / "good.onnx").write_bytes(linear(weights(0.1)))
    assert OnnxGenerator(tmp_path / "good.onnx").image_size == 16


def test_what_needs_an_encoder_or_one_space_is_refused(gan, one_line_error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40)).save("cat.png")
    generator = OnnxGenerator(gan)
    monkeypatch.setattr(models, "OnnxGenerator", lambda path: generator)
    for words in (["--paths", "route"], ["--keyframes", "cat.png", "3"], ["--save-latents=w.npz"]):
        assert one_line_error(render.main, *WORDS, f"--generator={gan}", *words), words
        assert [path.name for path in tmp_path.iterdir()] == ["cat.png"], words


@pytest.mark.slow
def test_nothing_is_left_at_home(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    words = [sys.executable, render.__file__, "compare", "--generator", "text.onnx"]
    ended = subprocess.run(words, cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True)
    assert ended.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]


def test_a_missing_package_is_named_with_what_brings_it(gan, one_line_error, monkeypatch):
    for package in ("onnx", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            line = one_line_error(render.main, *WORDS, f"--generator={gan}")
        assert line == f"render.py: {package}: is not installed; pip install -e '.[onnx]'"
