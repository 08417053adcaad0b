"""Checkpoints that load, and files that must not."""

import os
import pickle
import random
import resource
import zipfile

import pytest
import torch
from conftest import mutated

from data.system.errors import UserError
from vae import checkpoint
from vae.checkpoint import FORMAT, last_checkpoints, load_vae, read, strip_checkpoint
from vae.model.vae import VAE

HYPERPARAMETERS = {"image_size": 32, "channels": 1, "latent_dim": 4, "width": 8}


class Hostile:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture(scope="module")
def vae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(**HYPERPARAMETERS).eval()


def content(vae, **hyperparameters):
    """What Lightning puts into a checkpoint, or nearly."""
    weights = {"vae." + name: weight.clone() for name, weight in vae.state_dict().items()}
    return {
        "state_dict": {**weights, "loss.weight": torch.ones(3)},
        "hyper_parameters": {
            **HYPERPARAMETERS,
            "prior": vae.config.prior,
            "beta": 1.0,
            "learning_rate": 1e-3,
            **hyperparameters,
        },
        "optimizer_states": [{"state": {i: {"exp_avg": w.clone()} for i, w in enumerate(weights.values())}}],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.0)}},
        "epoch": 3,
        "format": FORMAT,
    }


@pytest.fixture
def path(vae, tmp_path):
    torch.save(content(vae), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def assert_same_pictures(vae, other):
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    x = vae.decode(z)
    torch.testing.assert_close(other.decode(z), x)
    torch.testing.assert_close(other.encode(x), vae.encode(x))


def assert_refused(path):
    with pytest.raises(UserError) as caught:
        load_vae(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_a_loaded_vae_makes_the_same_pictures(kind, vae, path):
    loaded = load_vae(kind(path))
    assert_same_pictures(vae, loaded)
    assert (loaded.image_size, loaded.channels, loaded.latent_dim) == (32, 1, 4)


def test_a_loaded_vae_is_ready_for_use(path):
    loaded = load_vae(path)
    assert not loaded.training
    assert loaded.device.type == "cpu"
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert not any(weight.requires_grad for weight in loaded.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_weights_of_another_precision_load_as_float32(dtype, vae, path):
    checkpoint = content(vae)
    checkpoint["state_dict"] = {name: weight.to(dtype) for name, weight in checkpoint["state_dict"].items()}
    torch.save(checkpoint, path)
    loaded = load_vae(path)
    assert loaded.decode(torch.zeros(1, 4)).dtype == torch.float32
    torch.testing.assert_close(loaded.decode(torch.ones(1, 4)), vae.decode(torch.ones(1, 4)), rtol=0, atol=0.02)


@pytest.mark.parametrize("options", [{"likelihood": "bernoulli"}, {"likelihood": "laplace", "sigma": 0.3}], ids=str)
def test_a_loaded_vae_has_its_likelihood(options, path):
    vae = VAE(**HYPERPARAMETERS, **options).eval()
    torch.save(content(vae, **options), path)
    loaded = load_vae(path)
    x = 2 * torch.rand(vae.sample(2).shape, generator=torch.Generator().manual_seed(0)) - 1
    one, other = (v(x, torch.zeros(2, 4))[0].value for v in (vae, loaded))
    torch.testing.assert_close(one, other)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert_refused(tmp_path / "none.ckpt")
    assert_refused(tmp_path)


@pytest.mark.parametrize(
    "written", [b"", b"\0", b"Dear reader,\nI am not a checkpoint.\n", b"PK\3\4", os.urandom(5000)]
)
def test_a_file_of_something_else_is_refused(written, path):
    path.write_bytes(written)
    assert_refused(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(part, path):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    assert_refused(path)


def save_by_pickle(value, path):
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize("save", [torch.save, save_by_pickle], ids=["torch", "pickle"])
@pytest.mark.parametrize("place", ["alone", "hyper_parameters", "state_dict", "beside"])
def test_a_pickled_object_is_refused_and_never_run(save, place, vae, path, tmp_path):
    hostile = Hostile(tmp_path / "mark")
    save(hostile if place == "alone" else {**content(vae), place: {"x": hostile}}, path)
    assert_refused(path)
    assert not hostile.mark.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert hostile.mark.exists()  # it would have been run


@pytest.mark.parametrize("value", [None, 3, "text", [], {}, {"state_dict": {}}, {"hyper_parameters": {}}], ids=str)
def test_a_file_without_weights_or_hyperparameters_is_refused(value, path):
    torch.save(value, path)
    assert_refused(path)


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"latent_dim": "x"},
        {"latent_dim": 5},
        {"latent_dim": 0},
        {"latent_dim": None},
        {"latent_dim": 4.5},
        {"latent_dim": 10**30},
        {"image_size": 64},
        {"image_size": 33},
        {"channels": 3},
        {"width": 16},
        {"width": [8]},
        {"likelihood": "poisson"},
        {"likelihood": []},
        {"sigma": "x"},
        {"sigma": -1.0},
    ],
    ids=str,
)
def test_hyperparameters_that_do_not_fit_are_refused(hyperparameters, vae, path):
    torch.save(content(vae, **hyperparameters), path)
    assert_refused(path)


@pytest.mark.parametrize("value", [None, [], "text", {1: 2}, {"latent_dim": 4}], ids=str)
@pytest.mark.parametrize("key", ["state_dict", "hyper_parameters"])
def test_parts_of_another_kind_are_refused(key, value, vae, path):
    torch.save({**content(vae), key: value}, path)
    assert_refused(path)


WEIGHT = "vae.encoder.posterior.bias"
BAD_WEIGHTS = {
    "another shape": torch.zeros(7),
    "not a tensor": "x",
    "one NaN": torch.tensor([0.0] * 7 + [float("nan")]),
    "one infinity": torch.tensor([0.0] * 7 + [float("-inf")]),
}


@pytest.mark.parametrize("weight", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_a_bad_weight_is_refused(weight, vae, path):
    checkpoint = content(vae)
    assert WEIGHT in checkpoint["state_dict"]
    checkpoint["state_dict"][WEIGHT] = weight
    torch.save(checkpoint, path)
    assert_refused(path)


def test_a_missing_or_unknown_weight_is_refused(vae, path):
    missing, unknown = content(vae), content(vae)
    del missing["state_dict"][WEIGHT]
    unknown["state_dict"]["vae.extra"] = torch.zeros(1)
    for wrong in (missing, unknown):
        torch.save(wrong, path)
        assert_refused(path)


def test_a_weight_that_the_file_does_not_hold_is_refused(vae, path):
    name = "vae.encoder.posterior.weight"
    whole = content(vae)
    whole["state_dict"][name] = torch.zeros(1).expand(whole["state_dict"][name].shape)
    torch.save(whole, path)
    assert_refused(path)


@pytest.mark.parametrize("options", [{"latent_dim": 10**9}, {"width": 8 * 10**6}, {"latent_dim": 10**40}], ids=str)
def test_sizes_that_were_made_up_are_refused_before_memory_is_taken(options, vae, path):
    torch.save(content(vae, **options), path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kB"


@pytest.mark.parametrize("written", [0, FORMAT + 1, "1", None, [1]], ids=str)
def test_another_format_is_refused(written, vae, path):
    torch.save(content(vae) | {"format": written}, path)
    assert_refused(path)


EARLIER = {"network": "residual", "whiten": False, "prior": "normal"}  # before format 3
FORMAT_1 = {  # prefixes of weights, and options, as they were called
    "vae.inactive": "vae.asleep",
    "vae.pca_latents.": "vae.anchors.",
}
FORMAT_1_OPTIONS = {
    "pca_share": "anchor_share",
    "inactive_below": "prune",
    "moment_weight": "moments",
    "adversarial_weight": "critic",
    "cycle_weight": "cycle",
}


def test_a_checkpoint_of_format_1_has_the_names_of_today(path):
    new = VAE(**HYPERPARAMETERS, **EARLIER, likelihood="gaussian", pca_share=0.05, inactive_below=1.0).eval()
    weights = {"vae." + name: weight for name, weight in new.state_dict().items()}
    training = {"worth": torch.ones(4), "critic.layers.0.bias": torch.ones(1)}
    options = {
        "pca_share": 0.05,
        "inactive_below": 1.0,
        "moment_weight": 2.0,
        "adversarial_weight": 3.0,
        "cycle_weight": 4.0,
    }

    def old(name):
        begun = next((begun for begun in FORMAT_1 if name.startswith(begun)), "")
        return FORMAT_1.get(begun, "") + name.removeprefix(begun)

    old_weights = {old(name): weight for name, weight in weights.items()}
    assert len(old_weights.keys() & weights.keys()) == len(weights) - 5  # the flag and four of the components
    old_options = {FORMAT_1_OPTIONS[name]: value for name, value in options.items()}
    torch.save(
        {"state_dict": training | old_weights, "hyper_parameters": HYPERPARAMETERS | old_options, "epoch": 3}, path
    )
    found = read(path)
    defaults = EARLIER | {"likelihood": "gaussian", "sigma": None, "palette": 0, "classes": ()}
    assert found.keys() == {"state_dict", "hyper_parameters"}, "its training cannot go on"
    assert found["hyper_parameters"] == HYPERPARAMETERS | options | defaults
    assert found["state_dict"].keys() == weights.keys()
    assert_same_pictures(new, load_vae(path))


def test_a_checkpoint_of_format_1_without_options_has_the_defaults_of_its_time(path):
    old = VAE(**HYPERPARAMETERS, **EARLIER, likelihood="gaussian", pca_share=0.0, inactive_below=0.0).eval()
    weights = {"vae." + name: weight for name, weight in old.state_dict().items()}
    torch.save({"state_dict": weights, "hyper_parameters": HYPERPARAMETERS}, path)
    loaded = load_vae(path)
    assert loaded.config == old.config
    assert_same_pictures(old, loaded)


def test_a_checkpoint_of_format_2_has_residual_networks_and_no_others(path):
    options = {"likelihood": "wavelet", "pca_share": 0.05, "inactive_below": 1.0}
    old = VAE(**HYPERPARAMETERS, **EARLIER, **options).eval()
    torch.save(content(old, **options) | {"format": 2}, path)
    loaded = load_vae(path)
    assert loaded.config == old.config
    assert_same_pictures(old, loaded)
    torch.save(content(VAE(**HYPERPARAMETERS)) | {"format": 2}, path)
    assert_refused(path)


def test_a_checkpoint_without_a_prior_has_the_normal_one(path):
    old = VAE(**HYPERPARAMETERS, prior="normal").eval()
    written = content(old) | {"format": 3}
    del written["hyper_parameters"]["prior"]
    torch.save(written, path)
    loaded = load_vae(path)
    assert loaded.config == old.config
    assert_same_pictures(old, loaded)


def test_a_vae_is_loaded_onto_a_device_and_an_unknown_one_is_refused(path):
    loaded = load_vae(path, device="meta")
    assert {value.device.type for value in loaded.state_dict().values()} == {"meta"}
    for device in ("nonsense", "cuda:99"):
        with pytest.raises(UserError, match=f"device {device}: there is none that torch can use; take cpu") as caught:
            load_vae(path, device)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("seed", "count"), [(0, 20), pytest.param(1, 200, marks=pytest.mark.slow)])
def test_mutations_load_to_a_finite_model_or_are_refused(seed, count, vae, path):
    whole, chance, told = path.read_bytes(), random.Random(seed), []
    for _ in range(count):
        path.write_bytes(mutated(whole, chance))
        try:
            found = load_vae(path)
        except UserError as error:
            told.append(str(error))
        else:
            assert all(weight.isfinite().all() for weight in found.parameters())
    assert 0 < len(told) < count
    assert all(str(path) in message and len(message.splitlines()) == 1 for message in told)


def nested(depth):
    return [nested(depth - 1)] * 2 if depth else 0


HOSTILE_VALUES = {"tensor": torch.ones(3), "nested": nested(12), "long": "x" * 100_000, "digits": 10**6000}


@pytest.mark.parametrize("value", HOSTILE_VALUES.values(), ids=HOSTILE_VALUES)
@pytest.mark.parametrize("place", ["format", "hyper_parameters", "datamodule_hyper_parameters"])
def test_values_that_are_no_options_are_refused_in_a_short_line(value, place, vae, path):
    wrong = content(vae)
    wrong[place] = value if place == "format" else {**wrong.get(place, {}), "latent_dim": value}
    torch.save(wrong, path)
    with pytest.raises(UserError) as caught:
        load_vae(path)
    assert len(str(caught.value)) < 500


def test_a_file_that_unpacks_to_more_than_it_is_is_refused(path, tmp_path):
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "packed.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
        packed.writestr("more", bytes(10_000_000))
    with pytest.raises(UserError, match="no readable checkpoint"):
        load_vae(tmp_path / "packed.ckpt")


TOO_LARGE = {  # for float32, for the networks' sums, and for nobody, at first sight
    "float64 beyond float32": lambda weight: torch.full_like(weight, 1e300, dtype=torch.float64),
    "finite sums beyond float32": lambda weight: torch.full_like(weight, 1e30),
    "numbers that blow up on the way": lambda weight: weight * 1e12,
}


@pytest.mark.parametrize("enlarge", TOO_LARGE.values(), ids=TOO_LARGE)
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_model_whose_pictures_or_codes_are_not_finite_is_refused(enlarge, part, vae, path):
    wrong = content(vae)
    for name, weight in wrong["state_dict"].items():
        if part in name:
            wrong["state_dict"][name] = enlarge(weight)
    torch.save(wrong, path)
    assert_refused(path)


def test_a_likelihood_that_was_calibrated_must_have_a_scale(vae, path):
    wrong = content(vae)
    wrong["state_dict"]["vae.likelihood.scale"] = torch.tensor(float("nan"))
    torch.save(wrong, path)
    assert_refused(path)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32, torch.float8_e4m3fn], ids=str)
def test_weights_of_another_kind_are_refused(dtype, vae, path):
    wrong = content(vae)
    wrong["state_dict"] = {name: weight.to(dtype) for name, weight in wrong["state_dict"].items()}
    torch.save(wrong, path)
    assert_refused(path)


def test_last_checkpoints_are_the_files_of_that_name_the_newest_first(tmp_path):
    assert last_checkpoints(tmp_path) == last_checkpoints(tmp_path / "none") == []
    ages = {"a/version_0/last.ckpt": 30, "b/version_0/last.ckpt": 10, "a/version_1/last.ckpt": 20, "b/best.ckpt": 0}
    for name, age in ages.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / "a" / "last.ckpt").symlink_to("nowhere")
    names = [str(path.relative_to(tmp_path)) for path in last_checkpoints(tmp_path)]
    assert names == ["b/version_0/last.ckpt", "a/version_1/last.ckpt", "a/version_0/last.ckpt"]


def test_a_stripped_checkpoint_is_smaller_and_loads_the_same(vae, path, tmp_path):
    target = tmp_path / "new folder" / "small.ckpt"
    strip_checkpoint(path, target)
    assert target.stat().st_size < 0.7 * path.stat().st_size
    assert_same_pictures(vae, load_vae(target))
    kept = torch.load(target, weights_only=True)
    assert kept.keys() == {"state_dict", "hyper_parameters", "format"}
    assert kept["hyper_parameters"] == content(vae)["hyper_parameters"]


def test_a_checkpoint_can_be_stripped_in_place_and_again(vae, path):
    strip_checkpoint(path, path)
    once = path.stat().st_size
    strip_checkpoint(path, path)
    assert path.stat().st_size == once
    assert_same_pictures(vae, load_vae(path))
    assert list(path.parent.iterdir()) == [path]


def test_stripping_what_is_no_checkpoint_leaves_its_target_alone(path, tmp_path):
    (tmp_path / "text").write_text("not a checkpoint")
    old = path.read_bytes()
    with pytest.raises(UserError, match="text"):
        strip_checkpoint(tmp_path / "text", path)
    assert path.read_bytes() == old


def test_the_strip_command_says_what_is_wrong_in_one_line(tmp_path, one_line_error):
    line = one_line_error(checkpoint.main, str(tmp_path / "none.ckpt"), str(tmp_path / "small.ckpt"))
    assert "none.ckpt" in line
    assert "two files" in one_line_error(checkpoint.main, "last.ckpt")
