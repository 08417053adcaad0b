import io
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml
from conftest import EPOCHS, FRAMES, QUICK, Run, copy, events, fill_with_odd_pictures, scene, without_bars
from forked import start
from parsers import short_start  # noqa: F401
from PIL import Image, ImageChops
from torch.utils._python_dispatch import TorchDispatchMode

import render
import train
from data.synthetic.lines import lines as draw_lines
from data.transforms import to_tensor
from vae import checkpoint
from vae.model.elbo import kl_divergence
from vae.model.likelihoods import LIKELIHOODS
from vae.render.growth.morph_files import find_morphs
from vae.training.averaging import ExponentialMovingAverage
from vae.training.cli.precision import resolve_precision
from vae.training.module import VAETraining
from vae.training.runs.run_folder import claim_version_folder, next_version

BRIEF = [*QUICK, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
MORPHS = {f"images/morph/{path}": FRAMES for path in ("linear", "slerp")} | {"images/morph/loop": 4 * (FRAMES // 2)}


def test_the_first_line_and_the_last_lines_tell_what_where_and_what_next(run: Run):
    first, second, third, *_ = run.output.splitlines()
    assert first == f"Training on {run.pictures} for {EPOCHS} epochs: {run.checkpoints}"
    assert second == f"CPU with 1 thread, {resolve_precision(None, 'cpu')}. Starting from random weights"
    held_out = re.fullmatch(
        r"51 pictures, 32×32 RGB, 2 left out \(broken\); ([0-9]+) of them held out for validation", third
    )
    assert held_out
    assert 0 < int(held_out[1]) < 20
    *_, done, verdict, watch, morphs, render = run.output.splitlines()
    assert str(run.checkpoints / "last.ckpt") in done
    assert verdict.startswith("Reconstructions are ")
    assert watch.endswith(f"tensorboard --logdir {run.root / 'logs'} --samples_per_plugin images=200")
    assert morphs.startswith(f"Morphs: {run.logs / 'morphs'}, ")
    assert render.endswith(f"python render.py slerp --checkpoint {run.checkpoints / 'last.ckpt'}")


def test_what_the_last_lines_say_to_do_next_can_be_done(run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, told = run.output.splitlines()[-1].split("render.py ")
    render.main([*told.split(), "--frames=2", "--size=32"])
    assert (tmp_path / "renders/slerp.gif").is_file()
    _, told = run.output.splitlines()[-2].removesuffix(" makes a film").split("render.py ")
    render.main([*told.split(), "--seconds=1", "--size=32"])
    assert (tmp_path / "renders/growth.gif").is_file()


def test_nothing_but_ours_is_printed(run: Run):
    lines = without_bars(run.errors)
    assert [line.split()[0] for line in lines] == ["Left", "White", "1", "Skipped"]
    assert "Skipped 2 of" in lines[3]
    assert not re.search("tip|litlogger|GPU available|Seed set", run.output + run.errors, re.IGNORECASE)


@pytest.mark.parametrize("tag", MORPHS)
def test_every_epoch_shows_morphs_that_move(run: Run, tag: str):
    shown = events(run.logs).Images(tag)
    assert len(shown) == EPOCHS
    for event in shown:
        assert len(event.encoded_image_string) < 2_000_000
        gif = Image.open(io.BytesIO(event.encoded_image_string))
        assert gif.format == "GIF"
        assert gif.n_frames == MORPHS[tag]
        assert gif.info["loop"] == 0
        first = gif.convert("RGB")
        gif.seek(gif.n_frames // 2)
        assert ImageChops.difference(first, gif.convert("RGB")).getbbox()


def test_every_epoch_shows_reconstructions_and_samples(run: Run):
    log = events(run.logs)
    for tag in ("images/reconstruction", "images/samples"):
        assert len(log.Images(tag)) == EPOCHS
        assert Image.open(io.BytesIO(log.Images(tag)[0].encoded_image_string)).size[0] > 100


def test_scalars_tell_of_the_elbo_and_of_smoothness(run: Run):
    log = events(run.logs)
    terms = ("elbo", "reconstruction", "kl", "bits_per_dim", "sigma", "active_units")
    expected = {f"{stage}/{term}" for stage in ("train", "val") for term in terms} | {"train/lr", "train/beta"}
    numbers = ("cycle", "off_manifold", "sharp_mid", "jump")
    expected |= {"latent/aggregate_mean", "latent/aggregate_variance", "reconstruction/sharpness"}
    expected |= {"samples/sharpness", "samples/saturation"}
    expected |= {f"smoothness/{number}/{path}" for number in numbers for path in ("linear", "slerp")}
    assert expected <= set(log.Tags()["scalars"])
    assert "epoch" not in log.Tags()["scalars"]
    last = {tag: log.Scalars(tag)[-1].value for tag in expected}
    assert last["val/elbo"] == pytest.approx(last["val/reconstruction"] - last["val/kl"], rel=1e-4)
    assert len(log.Scalars("smoothness/cycle/slerp")) == EPOCHS
    assert "custom_scalars__config__" in log.Tags()["tensors"]


def test_last_is_the_last_state_and_best_the_best_elbo(run: Run):
    values = [event.value for event in events(run.logs).Scalars("val/elbo")]
    last, best = (checkpoint.read(run.checkpoints / f"{name}.ckpt") for name in ("last", "best"))
    assert last["epoch"] == EPOCHS - 1
    assert best["epoch"] == values.index(max(values))
    assert {path.name for path in run.checkpoints.iterdir()} == {"last.ckpt", "best.ckpt", "config.yaml"}


class Hurried(TorchDispatchMode):
    """Refuses what would make the host wait until a GPU has counted."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket not in (
            torch.ops.aten._local_scalar_dense,
            torch.ops.aten.nonzero,
            torch.ops.aten.masked_select,
            torch.ops.aten.equal,
        ), f"{func} waits"
        return func(*args, **(kwargs or {}))


def test_the_host_does_not_wait_in_a_step(run: Run, tmp_path: Path, monkeypatch):
    seen = set()

    def hurry(kind, name):
        usual = getattr(kind, name)

        def hurried(self, *words, **named):
            with Hurried():
                result = usual(self, *words, **named)
            module = self if kind is VAETraining else words[1]
            seen.add((name, module.decoder_phase))
            return result

        monkeypatch.setattr(kind, name, hurried)

    names = ("training_step", "backward", "configure_gradient_clipping", "on_before_optimizer_step")
    for name in names:
        hurry(VAETraining, name)
    names += ("on_train_batch_end",)
    hurry(ExponentialMovingAverage, "on_train_batch_end")
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments(*QUICK, "--trainer.log_every_n_steps=50"))
    assert events(small.logs).Tags()["images"] == []  # watching can be turned off
    assert seen == {(name, sharpening) for name in names for sharpening in (False, True)}
    with pytest.raises(AssertionError, match="waits"), Hurried():
        torch.ones(1).item()


def test_the_model_learns(run: Run, tmp_path: Path, monkeypatch):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    plain = ["--model.beta=1", "--model.beta_start=1", "--model.warmup_steps=1", "--model.ema_decay=0.5"]
    train.main(small.arguments(*QUICK, "--trainer.max_epochs=4", *plain))
    elbo = [event.value for event in events(small.logs).Scalars("val/elbo")]
    assert elbo[-1] > elbo[0] + 100


def test_the_size_is_stated_once_and_reaches_the_model(run: Run):
    vae = checkpoint.load_vae(run.checkpoints / "last.ckpt")
    assert (vae.image_size, vae.channels, vae.latent_dim) == (32, 3, 4)
    config = yaml.safe_load((run.checkpoints / "config.yaml").read_text())
    assert config["data"]["image_size"] == 32
    assert "image_size" not in config["model"]


def test_ckpt_path_last_resumes_in_the_same_folder(run: Run, tmp_path: Path, capsys):
    again = copy(run, tmp_path)
    train.main(
        [
            "fit",
            f"--trainer.default_root_dir={again.root}",
            "--ckpt_path=last",
            f"--data.cache_dir={run.cache}",
            f"--trainer.max_epochs={EPOCHS + 1}",
            "--trainer.limit_train_batches=2",
            "--trainer.enable_progress_bar=false",
            *QUICK,
        ]
    )
    before = checkpoint.read(run.checkpoints / "last.ckpt")
    after = checkpoint.read(again.checkpoints / "last.ckpt")
    assert after["epoch"] == EPOCHS
    assert after["global_step"] > before["global_step"]
    assert after["hyper_parameters"] == before["hyper_parameters"]
    assert after["datamodule_hyper_parameters"] == before["datamodule_hyper_parameters"]
    assert not (again.checkpoints.parent / "version_1").exists()
    assert len(events(again.logs).Scalars("val/elbo")) == EPOCHS + 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model.width", "16"),
        ("data.val_fraction", "0.5"),
        pytest.param("data.fit", "pad", marks=pytest.mark.slow),
        pytest.param("model.latent_dim", "8", marks=pytest.mark.slow),
        pytest.param("data.image_size", "64", marks=pytest.mark.slow),
    ],
)
def test_options_that_contradict_the_checkpoint_are_refused_by_name(run: Run, one_line_error, option, value):
    untouched = (run.checkpoints / "last.ckpt").read_bytes()
    where = [f"--trainer.default_root_dir={run.root}", f"--ckpt_path={run.checkpoints / 'last.ckpt'}"]
    line = one_line_error(train.main, "fit", *where, f"--{option}={value}")
    assert option in line
    assert value in line
    assert (run.checkpoints / "last.ckpt").read_bytes() == untouched


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_end_that_was_planned(run: Run, tmp_path: Path, one_line_error):
    again = copy(run, tmp_path)
    where = [f"--trainer.default_root_dir={again.root}", f"--data.cache_dir={run.cache}"]
    assert "--trainer.max_epochs" in one_line_error(train.main, "fit", *where, "--ckpt_path=last")
    config = again.checkpoints / "config.yaml"
    config.write_text(config.read_text().replace(f"max_epochs: {EPOCHS}", f"max_epochs: {EPOCHS + 2}"))
    train.main(["fit", *where, "--ckpt_path=last", "--trainer.enable_progress_bar=false", *QUICK])
    assert checkpoint.read(again.checkpoints / "last.ckpt")["epoch"] == EPOCHS + 1


@pytest.mark.slow
def test_beta_does_not_rise_again_when_a_finished_run_goes_on(run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("vae.training.module._BETA_FALL", 1.0)  # these latents are not active yet
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    words = small.arguments(*QUICK, "--model.beta_start=100", "--model.beta=10")
    train.main(words)
    done = len(events(small.logs).Scalars("train/beta"))
    brief = ["--trainer.max_epochs=8", "--trainer.limit_train_batches=1", "--trainer.check_val_every_n_epoch=20"]
    train.main([*words, "--ckpt_path=last", *brief])  # at a quarter of the new plan
    assert {event.value for event in events(small.logs).Scalars("train/beta")[done:]} == {10}


@pytest.mark.slow
def test_a_renamed_run_can_be_resumed(run: Run, tmp_path: Path):
    again = copy(run, tmp_path)
    again.checkpoints.rename(again.checkpoints.with_name("mine"))
    train.main(again.arguments("--ckpt_path=last", f"--trainer.max_epochs={EPOCHS + 1}"))
    assert checkpoint.read(again.checkpoints.with_name("mine") / "last.ckpt")["epoch"] == EPOCHS


@pytest.mark.slow
def test_morphs_that_cannot_be_shown_do_not_stop_a_training(run: Run, tmp_path: Path, monkeypatch, caplog):
    def fail(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vae.training.loggers.morph_logger.encode_animation", fail)
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments())
    assert checkpoint.read(small.checkpoints / "last.ckpt")["epoch"] == EPOCHS - 1
    assert caplog.text.count("No space left") == 1


@pytest.mark.slow
def test_few_pictures_give_no_false_numbers_and_no_false_alarm(tmp_path: Path, caplog):
    (tmp_path / "pictures").mkdir()
    for seed in range(6):
        scene(seed).save(tmp_path / "pictures" / f"{seed}.png")
    small = Run(tmp_path, tmp_path / "pictures", tmp_path / "cache", "", "")
    train.main(small.arguments("--data.val_fraction=0.05"))
    assert "collapsing" not in caplog.text
    assert events(small.logs).Scalars("smoothness/cycle/slerp")[-1].value < 100


def test_an_interrupt_says_how_to_go_on(run: Run, tmp_path: Path, monkeypatch, capsys):
    small = Run(tmp_path, run.pictures, run.cache, "", "")

    def interrupt(self, x, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr("vae.training.module.VAETraining.training_step", interrupt)
    with pytest.raises(SystemExit) as caught:
        train.main(small.arguments())
    assert caught.value.code == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.slow
def test_options_that_agree_or_do_not_matter_are_accepted(run: Run, tmp_path: Path):
    again = copy(run, tmp_path)
    more = f"--trainer.max_epochs={EPOCHS + 1}"
    train.main(again.arguments("--ckpt_path=last", more, "--data.batch_size=4", "--model.compile=false"))


def test_validate_and_test_measure_a_checkpoint(run: Run, capsys):
    for command in ("validate", "test"):
        train.main(
            [
                command,
                f"--ckpt_path={run.checkpoints / 'last.ckpt'}",
                f"--trainer.default_root_dir={run.root}",
                f"--data.cache_dir={run.cache}",
                "--trainer.enable_progress_bar=false",
            ]
        )
    printed = capsys.readouterr().out
    for name in ("val/elbo", "val/bits_per_dim", "latent/aggregate_variance", "smoothness/sharp_mid/slerp"):
        assert name in printed
    assert "samples/sharpness" in printed

    def number(name: str) -> float:
        return float(re.search(rf"{name}[^-\d]+(-?[\d.]+)", printed)[1])

    assert number("test/iwae") >= number("test/elbo")


def test_a_stripped_checkpoint_can_be_validated_but_not_resumed(run: Run, tmp_path: Path, one_line_error, capsys):
    target = tmp_path / "small.ckpt"
    checkpoint.strip_checkpoint(run.checkpoints / "last.ckpt", target)
    data = checkpoint.read(target)["datamodule_hyper_parameters"]
    assert data["source"] == run.pictures.name
    assert str(run.root) not in str(data)
    train.main(["validate", f"--ckpt_path={target}", f"--data.cache_dir={run.cache}", f"--data.source={run.pictures}"])
    capsys.readouterr()
    assert "weights only" in one_line_error(train.main, "fit", f"--ckpt_path={target}")


def test_a_second_run_gets_the_next_number_even_if_the_logs_were_deleted(tmp_path: Path):
    (tmp_path / "checkpoints" / "version_4").mkdir(parents=True)
    (tmp_path / "logs" / "version_2").mkdir(parents=True)
    (tmp_path / "logs" / "version_x").mkdir()
    assert next_version(tmp_path / "checkpoints", tmp_path / "logs") == 5
    assert next_version(tmp_path / "nowhere") == 0


def test_runs_that_start_in_the_same_moment_get_folders_of_their_own(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: claim_version_folder(tmp_path / "checkpoints", tmp_path / "logs"), range(40)))
    assert sorted(folder.name for folder in folders) == sorted(f"version_{number}" for number in range(40))


def test_last_starts_afresh_where_there_is_none(run: Run, tmp_path: Path, capsys):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments(*BRIEF, "--ckpt_path=last"))
    assert "afresh" in capsys.readouterr().out
    assert (small.checkpoints / "last.ckpt").is_file()


def test_print_config_writes_a_file_that_config_reads(tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as caught:
        train.main(["fit", "--model.latent_dim=5", "--print_config"])
    assert caught.value.code == 0
    file = tmp_path / "run.yaml"
    file.write_text(capsys.readouterr().out)
    with pytest.raises(SystemExit):
        train.main(["fit", f"--config={file}", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["latent_dim"] == 5


@pytest.mark.parametrize("words", [[], ["--model.latent_dim=5"]], ids=str)
def test_fit_is_what_no_command_means(words, capsys):
    with pytest.raises(SystemExit):
        train.main([*words, "--print_config"])
    assert "latent_dim" in capsys.readouterr().out


def test_help_texts_are_the_docstrings(capsys):
    with pytest.raises(SystemExit):
        train.main(["fit", "--help", "all"])
    told = " ".join(capsys.readouterr().out.split())
    assert "weight of the KL term at the end of its schedule" in told
    assert "colour behind transparent pixels" in told


_OFTEN_FIXED = ["--model.beta_start=0", "--model.free_bits=0.1", "--model.sigma=0.2"]
_LIKELIHOODS = [(name, options) for name in LIKELIHOODS for options in ([], _OFTEN_FIXED)]


@pytest.mark.parametrize(
    ("likelihood", "options"),
    [("laplace", _OFTEN_FIXED), *(pytest.param(*each, marks=pytest.mark.slow) for each in _LIKELIHOODS)],
)
def test_every_likelihood_trains_without_a_logger(run: Run, tmp_path: Path, likelihood, options):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments(*BRIEF, "--trainer.logger=false", f"--model.likelihood={likelihood}", *options))
    assert checkpoint.load_vae(small.checkpoints / "last.ckpt").latent_dim == 4
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
def test_another_logger_gets_the_numbers_and_morphs_are_files_all_the_same(run: Run, tmp_path: Path, capsys):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(
        small.arguments(
            "--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'csv'}", "--trainer.max_epochs=1"
        )
    )
    (metrics,) = (tmp_path / "csv").rglob("metrics.csv")
    assert "smoothness/cycle/slerp" in metrics.read_text()
    assert len(find_morphs(small.logs, "slerp")) == 1
    assert f"Morphs: {small.logs / 'morphs'}, " in capsys.readouterr().out


@pytest.mark.parametrize(
    "written", ["--trainer.callbacks+=", pytest.param("--trainer.callbacks=", marks=pytest.mark.slow)]
)
def test_a_callback_joins_ours(run: Run, tmp_path: Path, written: str):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    callback = f"{written}lightning.pytorch.callbacks.LearningRateMonitor"
    train.main(small.arguments(*BRIEF, callback))
    assert (small.checkpoints / "last.ckpt").is_file()
    assert any(tag.startswith("lr-") for tag in events(small.logs).Tags()["scalars"])


@pytest.mark.slow
def test_grey_images_train_and_show(tmp_path: Path):
    small = Run(tmp_path, Path("lines"), tmp_path / "cache", "", "")
    train.main([*small.arguments("--trainer.max_epochs=1", "--data.limit=40"), "--data.source=lines"])
    assert checkpoint.load_vae(tmp_path / "checkpoints/lines/version_0/last.ckpt").channels == 1


def parts(weights: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    return torch.cat([weight.flatten() for name, weight in weights.items() if name.startswith(prefix)])


def test_in_the_last_share_the_encoder_rests_and_the_discriminator_learns(run: Run, tmp_path: Path, monkeypatch):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    each = {}

    def keep(self, checkpoint):
        each[self.current_epoch] = {name: weight.clone() for name, weight in self.state_dict().items()}

    monkeypatch.setattr("vae.training.module.VAETraining.on_save_checkpoint", keep)
    train.main(small.arguments(*QUICK, "--model.decoder_share=0.5", "--model.ema_decay=0"))
    middle, end, discriminator = each[0], each[1], "losses.adversarial."
    assert torch.equal(parts(middle, "vae.encoder."), parts(end, "vae.encoder."))
    assert not torch.equal(parts(middle, "vae.decoder."), parts(end, "vae.decoder."))
    assert not torch.equal(parts(middle, discriminator), parts(end, discriminator))
    assert {"train/discriminator_loss", "train/adversarial_loss"} <= set(events(small.logs).Tags()["scalars"])


@pytest.mark.parametrize(
    ("inactive_below", "inactive"),
    [
        ("2", [0, 0, 1, 1]),
        pytest.param("1e9", [0, 0, 1, 1], marks=pytest.mark.slow),
        pytest.param("0", None, marks=pytest.mark.slow),
    ],
)
def test_latents_that_say_next_to_nothing_are_inactive_once_the_encoder_rests(
    run: Run, tmp_path: Path, monkeypatch, inactive_below: str, inactive: list[int] | None
):
    monkeypatch.setattr("vae.training.module._INITIAL_KL", 0.0)
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    lines = ["--data.source=lines", "--data.limit=160", "--trainer.max_epochs=2", *QUICK]
    loud = [
        "--model.warmup_steps=1",
        "--model.beta=1000",
        "--model.beta_start=1000",
        "--model.ema_decay=0",
        "--model.decoder_share=0.5",
    ]
    pca = ["--model.pca_share=0.05", "--model.whiten=false"]  # the first two latents
    train.main([*small.arguments(*loud, *pca, f"--model.inactive_below={inactive_below}"), *lines])
    vae = checkpoint.load_vae(tmp_path / "checkpoints/lines/version_0/last.ckpt")
    assert (vae.inactive if inactive is None else vae.inactive.tolist()) == inactive
    x = to_tensor(draw_lines(7, torch.arange(8), 32))
    kl = kl_divergence(*vae.encode(x)).mean(0)
    assert [value < 1e-6 for value in kl.tolist()] == [bool(flag) for flag in inactive or [0, 0, 0, 0]]


ALL_PARTS = [  # of the recipe, and more latents than PCA gives
    *("--model.latent_dim=8", "--model.pca_share=0.05", "--model.whiten=false", "--model.inactive_below=1"),
    *("--model.moment_weight=40", "--model.cycle_weight=5", "--model.beta_start=100"),
]


def trained_weights(run: Run, root: Path, *options: str) -> dict[str, torch.Tensor]:
    small = Run(root, run.pictures, run.cache, "", "")
    unwatched = [*QUICK, "--trainer.logger=false"]
    train.main(small.arguments(*ALL_PARTS, *unwatched, *options))
    return checkpoint.load_vae(checkpoint.last_checkpoints(small.checkpoints.parent)[0]).state_dict()


@pytest.fixture(scope="module")
def usual_weights(run: Run, tmp_path_factory) -> dict[str, torch.Tensor]:
    return trained_weights(run, tmp_path_factory.mktemp("usual"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "off",
    [
        ["network=residual"],
        ["likelihood=wavelet"],
        ["likelihood=bernoulli"],
        ["beta_start=10"],
        ["beta=1"],
        ["free_bits=9"],
        ["hold_share=0"],
        ["ema_decay=0"],
        ["moment_weight=0"],
        ["pca_share=0"],
        ["pca_share=0", "whiten=true"],
        ["decoder_share=0"],
        ["inactive_below=0"],
        ["adversarial_weight=0"],
        ["cycle_weight=0"],
        ["adversarial_weight=0", "cycle_weight=0"],
        ["palette=5"],
        ["perceptual=lite0"],
        [
            "likelihood=gaussian",
            "sigma=0.7071",
            "beta=1",
            "beta_start=1",
            "moment_weight=0",
            "pca_share=0",
            "decoder_share=0",
        ],
    ],
    ids=" ".join,
)
def test_every_part_of_the_recipe_is_off_or_on_by_its_option(
    usual_weights: dict[str, torch.Tensor], run: Run, tmp_path: Path, off: list[str]
):
    weights = trained_weights(run, tmp_path, *[f"--model.{option}" for option in off])
    assert parts(weights, "encoder.").isfinite().all()
    assert parts(weights, "decoder.").isfinite().all()
    both = weights.keys() & usual_weights.keys()
    assert weights.keys() != usual_weights.keys() or any(not torch.equal(weights[n], usual_weights[n]) for n in both)


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model(usual_weights: dict[str, torch.Tensor], run: Run, tmp_path: Path):
    weights = trained_weights(run, tmp_path)
    assert weights.keys() == usual_weights.keys()
    assert all(torch.equal(weights[name], usual_weights[name]) for name in weights)
    other = trained_weights(run, tmp_path, "--seed_everything=1")
    assert not torch.equal(parts(other, "decoder."), parts(weights, "decoder."))


@pytest.mark.parametrize(
    "metric",
    [
        pytest.param("smoothness/cycle/linear", marks=pytest.mark.slow),
        pytest.param("smoothness/sharp_mid/slerp", marks=pytest.mark.slow),
    ],
)
def test_best_is_the_best_by_any_metric(run: Run, tmp_path: Path, metric: str):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments(*QUICK, f"--checkpoint_metric={metric}", "--trainer.max_epochs=3"))
    values = [event.value for event in events(small.logs).Scalars(metric)]
    ranks = {"cycle": min, "sharp_mid": max}
    best = ranks[metric.split("/")[1]](values)
    assert checkpoint.read(small.checkpoints / "best.ckpt")["epoch"] == values.index(best)


def test_the_kl_of_every_dimension_is_a_histogram(run: Run):
    log = events(run.logs)
    assert len(log.Histograms("latent/kl")) == EPOCHS
    assert log.Histograms("latent/kl")[-1].histogram_value.num == 4


COMPILING = """
import lightning.pytorch as pl, torch
from pathlib import Path

compile_, networks = torch.nn.Module.compile, []

def compile_so(network):
    networks.append(network)
    compile_(network, backend={backend!r})

torch.nn.Module.compile = compile_so

class Compiling(pl.Callback):
    def on_fit_end(self, trainer, pl_module):
        Path("compiled").write_text(str(len(networks)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_compiled_networks_train_to_the_end_and_leave_a_plain_checkpoint(backend, run: Run, tmp_path: Path):
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a compiler")
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    # machine code for each phase, precision and batch size takes minutes; that all are traced is tried without it
    few = ["--model.decoder_share=0", "--trainer.limit_val_batches=0", "--trainer.precision=32-true"]
    few = few if backend == "inductor" else []
    words = small.arguments("--model.compile=true", "--trainer.max_epochs=1", *QUICK, *few)
    (tmp_path / "compiling.py").write_text(COMPILING.format(backend=backend))
    words, said = [*words, "--trainer.callbacks=compiling.Compiling"], tmp_path / "said.txt"
    if backend == "inductor":
        command = [sys.executable, train.__file__, *words]
        alone = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path), "TORCHINDUCTOR_DEBUG_COMPILE": "1"}
        with said.open("w") as output:  # not optimised: g++ is the most of it
            code = subprocess.run(command, cwd=tmp_path, env=alone, stdout=output, stderr=output).returncode
    else:
        code = start(words, tmp_path, said).wait()
    assert code == 0, said.read_text()
    assert (tmp_path / "compiled").read_text() == "2"
    compiled, plain = checkpoint.read(small.checkpoints / "last.ckpt"), checkpoint.read(run.checkpoints / "last.ckpt")
    plain_names = [name for name in plain["state_dict"] if not few or not name.startswith("losses.adversarial")]
    assert list(compiled["state_dict"]) == plain_names
    assert checkpoint.load_vae(small.checkpoints / "last.ckpt")


@pytest.mark.slow
def test_the_command_line_trains_on_patterns_and_renders(tmp_path: Path):
    here = Path(train.__file__).parent
    words = ["--data.limit=64", "--trainer.max_epochs=1", f"--data.cache_dir={tmp_path / 'cache'}"]
    words += ["--data.image_size=32", "--model.width=8", *QUICK]
    alone = {"cwd": tmp_path, "env": os.environ | {"OMP_NUM_THREADS": "1"}, "capture_output": True, "text": True}
    trained = subprocess.run([sys.executable, here / "train.py", *words], **alone)
    assert trained.returncode == 0, trained.stderr
    rendered = subprocess.run([sys.executable, here / "render.py"], **alone)
    assert rendered.returncode == 0, rendered.stderr
    told = rendered.stdout.splitlines()
    assert "checkpoints/patterns/version_0/last.ckpt" in told[0]
    assert "renders" in told[-1]
    assert {file.name for file in (tmp_path / "renders").iterdir()} == {
        "linear.gif", "slerp.gif", "loop.gif", "compare.gif",
    }  # fmt: skip
    for file in (tmp_path / "renders").iterdir():
        with Image.open(file) as image:
            assert image.n_frames >= 20
            assert image.n_frames * image.info["duration"] >= 1000
            assert image.width == (512 if file.stem == "compare" else 256)


def test_odd_pictures_are_what_the_fixture_says(tmp_path: Path):
    good, broken = fill_with_odd_pictures(tmp_path)
    assert (good, broken) == (51, 2)
