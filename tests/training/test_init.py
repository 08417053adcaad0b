"""`--init`: a new training starts from the weights of another one, as far as they fit, and says so."""

from pathlib import Path

import torch
import yaml
from conftest import QUICK, Run, fill
from parsers import short_start  # noqa: F401
from torch.nn.functional import avg_pool2d, interpolate

import train
from vae import checkpoint
from vae.checkpoint import DISCRIMINATOR, strip_checkpoint
from vae.training.runs import initial_weights

NEVER = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--model.lr=1e-30"]


def begin(run: Run, tmp_path: Path, *more: str) -> tuple[dict, dict]:
    """The weights and the config of a training whose only step changes next to nothing."""
    train.main([*run.arguments(f"--trainer.default_root_dir={tmp_path}", *NEVER, *QUICK), *more])
    last = next(tmp_path.rglob("last.ckpt"))
    config = yaml.safe_load((last.parent / "config.yaml").read_text())
    return checkpoint.read(last)["state_dict"], config


def networks(weights: dict) -> dict:
    return {name: weight for name, weight in weights.items() if name.startswith(("vae.encoder.", "vae.decoder."))}


def test_a_training_starts_from_all_weights_that_fit(run: Run, tmp_path: Path, capsys):
    file = run.checkpoints / "last.ckpt"
    weights, config = begin(run, tmp_path, f"--init={file}")
    start = checkpoint.read(file)["state_dict"]
    taken = networks(weights) | {name: each for name, each in weights.items() if name.startswith(DISCRIMINATOR)}
    assert len(taken) > len(networks(weights)) > 0
    for name, weight in taken.items():
        torch.testing.assert_close(weight, start[name], msg=name)
    assert config["init"] == str(file)
    assert f"Starting from the weights of {file}" in capsys.readouterr().out


def test_layers_of_another_shape_are_told_and_start_at_random(run: Run, tmp_path: Path, capsys):
    file = run.checkpoints / "last.ckpt"
    weights, _ = begin(run, tmp_path, f"--init={file}", "--model.latent_dim=6")
    start, left = checkpoint.read(file)["state_dict"], capsys.readouterr().out.partition("at random: ")[2]
    assert left.splitlines()[0] == "encoder.posterior, decoder.project"
    for name, weight in networks(weights).items():
        if not name.startswith(("vae.encoder.posterior", "vae.decoder.project")):
            torch.testing.assert_close(weight, start[name], msg=name)


def test_models_of_larger_pictures_take_all_layers_and_the_additional_ones_pass_on(run: Run, tmp_path: Path, capsys):
    begin(run, tmp_path / "small", "--data.image_size=48")
    file = next((tmp_path / "small").rglob("last.ckpt"))
    begin(run, tmp_path / "large", "--data.image_size=96", f"--init={file}")
    vaes = [checkpoint.load_vae(file), checkpoint.load_vae(next((tmp_path / "large").rglob("last.ckpt")))]
    said = capsys.readouterr().out
    assert "; 4 more layers for larger pictures, which begin by passing on; --init none starts at random" in said
    small, large = ([*vae.encoder.features] for vae in vaes)
    assert len(large) == len(small) + 3
    x = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    *small, _ = small  # which flattens
    for layer, other in zip(small, large, strict=False):
        torch.testing.assert_close(layer(x), other(x), atol=1e-4, rtol=1e-4)
        x = layer(x)
    torch.testing.assert_close(large[len(small)](x), avg_pool2d(x, 2), atol=1e-4, rtol=1e-4)
    small, large = ([*vae.decoder.layers] for vae in vaes)
    h = torch.rand(2, 32, 3, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(large[2](h), interpolate(h, scale_factor=2), atol=1e-4, rtol=1e-4)
    for layer, other in zip(small, large[3:], strict=True):
        torch.testing.assert_close(layer(h), other(h), atol=1e-4, rtol=1e-4)
        h = layer(h)


def test_the_shipped_weights_are_where_pictures_start_that_fit_them(run: Run, tmp_path: Path, monkeypatch, capsys):
    shipped = tmp_path / "pictures.ckpt"
    strip_checkpoint(run.checkpoints / "last.ckpt", shipped)
    monkeypatch.setattr(initial_weights, "SHIPPED_FOR_PICTURES", shipped)
    start = networks(checkpoint.read(shipped)["state_dict"])
    for number, (more, fits) in enumerate(
        [([], True), (["--init=none"], False), (["--model.latent_dim=6"], False), (["--data.source=patterns"], False)]
    ):
        limited = ["--data.limit=24"] if "--data.source=patterns" in more else []
        weights, config = begin(run, tmp_path / str(number), *more, *limited)
        equal = all(
            weight.shape == start[name].shape and torch.allclose(weight, start[name])
            for name, weight in networks(weights).items()
        )
        assert equal == fits, more
        assert config["init"] == (str(shipped) if fits else "none")
        assert ("Starting from the weights of" in capsys.readouterr().out) == fits


def test_weights_that_cannot_be_taken_are_one_line_and_leave_nothing(run: Run, tmp_path: Path, one_line_error):
    words = run.arguments(f"--trainer.default_root_dir={tmp_path / 'root'}")
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes((run.checkpoints / "last.ckpt").read_bytes()[:1000])
    assert "no such checkpoint" in one_line_error(train.main, *words, f"--init={tmp_path / 'missing.ckpt'}")
    assert "no readable checkpoint" in one_line_error(train.main, *words, f"--init={damaged}")
    wide = ["--model.width=40", "--model.latent_dim=7"]
    line = one_line_error(train.main, *words, *wide, f"--init={run.checkpoints / 'last.ckpt'}")
    assert "no layer fits" in line
    assert "--init none" in line
    content = torch.load(run.checkpoints / "last.ckpt", weights_only=True)
    content["state_dict"]["vae.encoder.posterior.bias"][0] = torch.nan
    torch.save(content, damaged)
    assert "posterior.bias" in one_line_error(train.main, *words, f"--init={damaged}")
    assert not list((tmp_path / "root").rglob("*.ckpt"))


def test_a_training_that_goes_on_has_weights(run: Run, tmp_path: Path, one_line_error):
    last = run.checkpoints / "last.ckpt"
    words = [f"--ckpt_path={last}", f"--init={last}", "--trainer.max_epochs=9"]
    assert "contradicts --ckpt_path" in one_line_error(train.main, *run.arguments(), *words)


def test_stripped_weights_are_enough_for_another_training(run: Run, tmp_path: Path):
    file = tmp_path / "small.ckpt"
    strip_checkpoint(run.checkpoints / "last.ckpt", file)
    assert file.stat().st_size < (run.checkpoints / "last.ckpt").stat().st_size / 2
    pictures = fill(tmp_path / "others", 20)
    weights, _ = begin(run, tmp_path / "root", f"--init={file}", f"--data.source={pictures}")
    start = checkpoint.read(file)["state_dict"]
    assert any(name.startswith(DISCRIMINATOR) for name in start)
    for name, weight in networks(weights).items():
        torch.testing.assert_close(weight, start[name], msg=name)
