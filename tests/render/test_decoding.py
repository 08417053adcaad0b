"""One function decodes for everyone: on the model's device, in batches of one shape, each frame once."""

import json

import numpy as np
import pytest
import torch
from conftest import scene
from torch.utils._pytree import tree_leaves

import render
from vae.checkpoint import load_vae
from vae.generator import prior_latents, seeded_latents
from vae.inference import BATCH, decode_all, encode_means
from vae.latent.keyframes import parse_keyframe
from vae.latent.trajectory import PATH_NAMES, path_trajectory
from vae.metrics.posterior import picture_health
from vae.model.vae import VAE
from vae.render import models
from vae.render.clips import Clip
from vae.render.models import SHIPPED, choose_device
from vae.render.notebook import morph
from vae.render.report import measure_path
from vae.render.stills.traverse import kl_per_latent

LINES = SHIPPED.with_name("lines.ckpt")
_TO = torch.Tensor.to
FAR = torch.device("xpu")  # the name of a device that is not here; a test keeps its tensors in memory
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a machine without a GPU")


class FarTensor(torch.Tensor):
    """A tensor of a device that no tensor of the CPU may be mixed with; `.cpu()` brings it back."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func == torch.Tensor.device.__get__:
            return FAR
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        if func is torch.Tensor.numpy:
            raise TypeError("can't convert a tensor of this device to numpy")
        near = [x for x in tree_leaves((args, kwargs)) if type(x) is torch.Tensor and x.ndim]
        if near and func not in (torch.Tensor.__getitem__, torch.Tensor.__setitem__, _TO):
            raise RuntimeError(f"{func}: expected all tensors to be on the same device")
        return super().__torch_function__(func, types, args, kwargs)


@pytest.fixture
def far(monkeypatch):
    """Lets `Tensor.to` bring tensors to the far device."""

    def moved(x, target, *args, **kwargs):
        kind = type(target) if isinstance(target, torch.Tensor) else FarTensor if target == FAR else torch.Tensor
        if isinstance(target, torch.dtype):
            return _TO(x, target, *args, **kwargs)
        if isinstance(target, torch.Tensor):
            x = _TO(x, target.dtype)
        return (x.clone() if kwargs.get("copy") else x).as_subclass(kind)

    monkeypatch.setattr(torch.Tensor, "to", moved)
    for name in ("arange", "linspace"):
        made = getattr(torch, name)

        def on_device(*args, made=made, device=None, **kwargs):
            x = made(*args, **kwargs)
            return x.as_subclass(FarTensor) if device == FAR else x

        monkeypatch.setattr(torch, name, on_device)


class Distant:
    """A model on the far device; it looks at all that it is given."""

    latent_dim, image_size, channels, device = 4, 16, 3, FAR

    def __init__(self, searched: bool = False) -> None:
        self.searched = searched  # by a route, which has batches of its own
        basis = torch.randn(4, 3 * 16 * 16, generator=torch.Generator().manual_seed(0)) / 4
        self.basis = basis.as_subclass(FarTensor)

    def decode(self, z):
        assert type(z) is FarTensor
        if not self.searched:
            assert z.shape == (BATCH, 4)
            assert torch.is_inference_mode_enabled()
        return (z @ self.basis).tanh().reshape(-1, 3, 16, 16)

    def encode(self, x):
        assert type(x) is FarTensor
        mu = x.flatten(1) @ self.basis.T
        return mu, torch.zeros_like(mu)

    def zero_inactive(self, z):
        assert type(z) is FarTensor
        return z

    random_latents = zero_inactive


def test_all_that_is_decoded_runs_on_the_models_device_in_batches_of_one_shape(far, tmp_path):
    model = Distant()
    keyframes = prior_latents(model, 3, 3)
    assert type(keyframes) is torch.Tensor
    for path in ("linear", "slerp", "spline"):
        frames = list(morph(model, keyframes, path, frames=4, closed=True))
        assert {frame.shape for frame in frames} == {(16, 16, 3)}
        assert len(frames) == 12
        numbers = measure_path(Clip(path, model, path_trajectory(path, model, keyframes, False)))
        assert all(np.isfinite(numbers[:-1])), path
    route = path_trajectory("route", Distant(searched=True), keyframes, False)
    assert type(route.at(torch.zeros(1))) is type(route.bent) is torch.Tensor
    assert type(kl_per_latent(model)) is torch.Tensor
    scene(1).save(tmp_path / "cat.png")
    keyframe = parse_keyframe(model, str(tmp_path / "cat.png"))
    assert type(keyframe.z) is type(keyframe.picture) is torch.Tensor
    pictures = decode_all(model, keyframes)
    assert type(pictures) is FarTensor
    assert all(number.cpu().isfinite() for number in picture_health(model, pictures, keyframes))


def test_a_tensor_of_another_device_is_noticed(far):
    model = Distant()
    with pytest.raises(RuntimeError, match="same device"):
        torch.zeros(2, 4) @ model.basis
    with pytest.raises(TypeError):
        model.basis.numpy()
    with pytest.raises(AssertionError):
        model.decode(torch.zeros(BATCH, 4))


def test_a_model_decodes_and_encodes_where_it_is():
    vae = VAE(32, 3, latent_dim=4, width=8, inactive_below=0.1).eval().to("meta")
    x = decode_all(vae, torch.zeros(BATCH + 1, 4))
    assert (x.shape, x.device.type, x.dtype) == ((BATCH + 1, 3, 32, 32), "meta", torch.float32)
    assert encode_means(vae, torch.zeros(5, 3, 32, 32)).device.type == "meta"


def test_the_precision_asked_for_counts_and_not_the_callers(monkeypatch):
    vae, seen = load_vae(LINES), []

    def decode(z):
        seen.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)
        assert torch.is_inference_mode_enabled()
        return VAE.decode(vae, z)

    monkeypatch.setattr(vae, "decode", decode)
    with torch.autocast("cpu", torch.bfloat16):
        rough = decode_all(vae, torch.ones(1, 8), torch.bfloat16)
        exact = decode_all(vae, torch.ones(1, 8))
    assert seen == [torch.bfloat16, torch.float32]
    assert torch.equal(exact, decode_all(vae, torch.ones(1, 8)))
    assert rough.dtype == exact.dtype == torch.float32
    assert not torch.equal(rough, exact)


@pytest.fixture
def decoded(tmp_path, monkeypatch):
    """Renders from a model that counts, and returns the latents that it decoded, without those that only pad."""
    monkeypatch.chdir(tmp_path)

    def go(*words: str) -> torch.Tensor:
        vae, batches = load_vae(LINES), []

        def decode(z):
            assert len(z) == BATCH
            padding = int((z == z[-1]).all(1).flip(0).long().cumprod(0).sum()) - 1
            batches.append(z[: len(z) - padding].clone())
            return VAE.decode(vae, z)

        with monkeypatch.context() as patch:
            patch.setattr(vae, "decode", decode)
            patch.setattr(models, "load_vae", lambda path, device: vae)
            render.main([*words, f"--checkpoint={LINES}", "--size=32", "--out=a.gif", "--save-latents=a.npz"])
        return torch.cat(batches)

    return go


def test_each_frame_is_decoded_once(decoded):
    stretches, report = 63 + 1, 16 + 14 + 2  # of pace, and of a path's numbers: its frames and two reconstructions
    for words, count in {
        ("slerp", "--frames=41", "--pace=latent"): 41,
        ("slerp", "--frames=7", "--hold=9", "--pace=latent"): 7,
        ("slerp", "--frames=20", "--report=r.json"): 20 + stretches + report,
        ("loop", "--frames=6", "--pace=latent"): 24,
        ("slerp", "--frames=5", "--grid=2x2", "--pace=latent"): 4 * 5,
        ("compare", "--frames=20", "--pace=latent", "--paths", "slerp", "linear"): 2 * (20 + report),
    }.items():
        assert len(decoded(*words)) == count, words


def test_the_latents_that_are_decoded_are_those_of_the_frames(decoded):
    latents = decoded("loop", "--frames=6", "--pace=latent")
    assert np.array_equal(np.load("a.npz")["latents"], latents)


def test_the_chart_of_a_comparison_shows_the_frames_that_are_shown(tmp_path, monkeypatch):
    """A still comparison has no speed: the numbers come from the frames, held ones too."""
    monkeypatch.chdir(tmp_path)
    np.savez("same.npz", latents=np.repeat(np.ones((1, 8), np.float32), 2, 0))
    words = ["compare", f"--checkpoint={LINES}", "--frames=3", "--hold=2", "--paths", "slerp", "linear"]
    render.main([*words, "--keyframes", "same.npz:0", "same.npz:1", "--out=a.gif", "--report=r.json", "--size=32"])
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["frames"] == 3 + 2 * 2
    assert all(number is None for numbers in content["trajectories"].values() for number in numbers.values())


def test_auto_takes_a_gpu_if_there_is_one(monkeypatch):
    cuda, mps = [False, True], [False, True]
    for has_cuda in cuda:
        for has_mps in mps:
            monkeypatch.setattr(torch.cuda, "is_available", lambda found=has_cuda: found)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda found=has_mps: found)
            assert choose_device("auto").type == ("cuda" if has_cuda else "mps" if has_mps else "cpu")
            assert choose_device("cpu").type == "cpu"


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("path", PATH_NAMES)
def test_frames_of_a_gpu_are_those_of_the_cpu_but_for_rounding(path):
    near, far = load_vae(SHIPPED), load_vae(SHIPPED).to("cuda")
    keyframes = seeded_latents(0, 3, near.latent_dim)
    frames = [np.stack(list(morph(vae, keyframes.to(vae.device), path, frames=5))).astype(int) for vae in (near, far)]
    assert np.abs(frames[0] - frames[1]).mean() < (2 if path == "route" else 0.1)


@pytest.mark.gpu
@gpu
def test_commands_run_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = [f"--checkpoint={SHIPPED}", "--device=cuda"]
    render.main(["compare", *common, "--frames=3", "--report=r.json", "--out=a.gif"])
    render.main(["loop", *common, "--frames=3", "--precision=bfloat16", "--out=b.gif"])
    render.main(["traverse", *common, "--out=c.png"])
    render.main(["lines", f"--checkpoint={LINES}", "--device=cuda", "--pairs=8"])
