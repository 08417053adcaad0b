"""`--realism.every_n_epochs`: the distance of morphs and samples from held-out pictures, to a network's eyes."""

from pathlib import Path

import pytest
import torch
from conftest import EPOCHS, QUICK, SIDE, Run, events, fill
from forked import start_two

import train
from data.datamodule import ImageData
from vae import checkpoint, optional
from vae.inference import decode_all
from vae.metrics import judge
from vae.metrics.judge import features, kernel_distance
from vae.training.loggers import realism_logger
from vae.training.tensorboard.dashboard import LAYOUT

TAGS = ["realism/kid_mid", "realism/kid_prior"]
ON = "--realism.every_n_epochs=1"
SHORT = ["--trainer.limit_train_batches=2", "--trainer.max_epochs=1"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Where a run finds so many pictures that 64 or more are held out."""
    root = tmp_path_factory.mktemp("many")
    return Run(root, fill(root / "pictures", 150), root / "cache", "", "")


def words(many: Run, root: Path, *more: str) -> list[str]:
    return Run(root, many.pictures, many.cache, "", "").arguments(*QUICK, "--data.val_fraction=0.5", *more)


def means(x: torch.Tensor, progress: object = None) -> torch.Tensor:
    """Features that take no time: the means of parts of pictures."""
    return torch.nn.functional.adaptive_avg_pool2d(x.cpu(), 4).flatten(1)


def test_the_numbers_are_logged_and_the_training_is_the_same(many: Run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(realism_logger, "features", means)
    weights = []
    for name, options in (("with", ["--realism.every_n_epochs=2"]), ("without", [])):
        torch.manual_seed(7)
        train.main(words(many, tmp_path / name, *options, SHORT[0]))
        runs = Run(tmp_path / name, many.pictures, many.cache, "", "")
        weights.append(checkpoint.read(runs.checkpoints / "last.ckpt")["state_dict"])
        log = events(runs.logs)
        logged = [tag for tag in log.Tags()["scalars"] if tag.startswith("realism/")]
        assert sorted(logged) == (TAGS if options else [])
        for tag in logged:
            (number,) = log.Scalars(tag)
            assert number.step == log.Scalars("val/elbo")[-1].step, f"after epoch {EPOCHS}"
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert LAYOUT["Realism"]["KID × 1000"] == ["Multiline", TAGS]


@pytest.mark.slow
def test_validate_shows_the_same_numbers_each_time(many: Run, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(realism_logger, "features", means)
    train.main(words(many, tmp_path, *SHORT))
    last = Run(tmp_path, many.pictures, many.cache, "", "").checkpoints / "last.ckpt"
    tables = []
    for _ in range(2):
        capsys.readouterr()
        train.main(["validate", f"--ckpt_path={last}", f"--data.source={many.pictures}", ON, *QUICK])
        tables.append([line for line in capsys.readouterr().out.splitlines() if "realism/" in line])
    assert [
        next(tag for tag in line.split() if "/" in tag) for line in tables[0]
    ] == TAGS  # rich, if it is there, draws lines
    assert tables[0] == tables[1]


SPY = """
import lightning.pytorch as pl
from torch.nn import functional as F
from vae.training.loggers import realism_logger

class Note(pl.Callback):
    def setup(self, trainer, pl_module, stage):
        def means(x, progress=None):
            with open("measured.txt", "a") as file:
                print(trainer.global_rank, file=file)
            return F.adaptive_avg_pool2d(x.cpu(), 4).flatten(1)
        realism_logger.features = means
"""


@pytest.mark.slow
def test_of_two_processes_the_first_one_measures(many: Run, tmp_path: Path):
    (tmp_path / "spy.py").write_text(SPY)
    told = tmp_path / "said.txt"
    both = start_two(words(many, tmp_path, ON, *SHORT, "--trainer.callbacks=spy.Note"), tmp_path, told)
    assert {process.wait() for process in both} == {0}, told.read_text()
    assert (tmp_path / "measured.txt").read_text() == "0\n" * 3
    log = events(Run(tmp_path, many.pictures, many.cache, "", "").logs)
    assert [len(log.Scalars(tag)) for tag in TAGS] == [1, 1]
    assert "sync_dist" not in told.read_text()


def test_the_network_is_built_without_the_random_numbers_of_a_training():
    judge._network.cache_clear()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    features(torch.zeros(1, 3, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_held_out_pictures_are_as_real_as_one_another_and_samples_of_a_new_model_are_not(many: Run, tmp_path: Path):
    train.main(words(many, tmp_path, ON, *SHORT))
    runs = Run(tmp_path, many.pictures, many.cache, "", "")
    data = ImageData(str(many.pictures), SIDE, val_fraction=0.5, cache_dir=str(many.cache))
    data.prepare_data()
    data.setup("validate")
    real = features(torch.stack([picture / 127.5 - 1 for picture in data.val_set]).movedim(-1, 1))
    log = events(runs.logs)
    among_themselves = kernel_distance(real[::2], real[1::2])
    noise = kernel_distance(real, features(torch.rand(64, 3, SIDE, SIDE) * 2 - 1))
    for tag in TAGS:
        assert abs(among_themselves) < 0.1 * min(log.Scalars(tag)[0].value, noise)
    vae = checkpoint.load_vae(runs.checkpoints / "last.ckpt")
    draws = torch.randn(len(real), vae.latent_dim, generator=torch.Generator().manual_seed(0))
    samples = features(decode_all(vae, vae.random_latents(draws)))
    assert kernel_distance(real, samples) == pytest.approx(log.Scalars("realism/kid_prior")[0].value, rel=1e-3)


def test_what_cannot_be_measured_is_one_line(many: Run, run: Run, tmp_path: Path, monkeypatch, one_line_error):
    few = Run(tmp_path, run.pictures, run.cache, "", "").arguments(ON)
    assert "--data.val_fraction" in one_line_error(train.main, *few)
    monkeypatch.setattr(optional, "find_spec", lambda _: None)
    assert "[judge]" in one_line_error(train.main, *words(many, tmp_path, ON))
    assert not [*tmp_path.rglob("version_*")]
