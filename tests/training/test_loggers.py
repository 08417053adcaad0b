"""Other loggers: each gets the numbers, the morphs and the pictures by its own means, and never a network is asked."""

from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK, Run, events
from PIL import Image

import train
from vae import optional
from vae.render.growth.morph_files import find_morphs

OFFLINE = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
PATHS = ("linear", "slerp", "loop")
STILLS = ("reconstruction", "samples")


@pytest.fixture
def trained(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Trains with a logger that keeps its files below a folder, and with TensorBoard's; returns the run."""

    def fit(kind: str, **options: object) -> Run:
        small = Run(tmp_path, run.pictures, run.cache, "", "")
        chosen = [f"--trainer.logger.{name}={value}" for name, value in options.items()]
        more = ["--watch.every_n_epochs=1", "--trainer.max_epochs=1", "--trainer.limit_train_batches=3"]
        train.main(small.arguments(*QUICK, *more, f"--trainer.logger={kind}", *chosen))
        return small

    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    return fit


def assert_same_film(one: Path, other: Path) -> None:
    with Image.open(one) as ours, Image.open(other) as theirs:
        assert ours.n_frames == theirs.n_frames > 1
        for index in range(ours.n_frames):
            ours.seek(index)
            theirs.seek(index)
            assert np.array_equal(np.asarray(ours.convert("RGB")), np.asarray(theirs.convert("RGB")))


def assert_tiles(picture: Path, rows: int) -> None:
    with Image.open(picture) as image:
        assert image.size == (8 * 66 + 2, rows * 66 + 2)


@pytest.mark.slow
@pytest.mark.skipif(not optional.find_spec("wandb"), reason="wandb is not installed")
def test_weights_and_biases_gets_numbers_morphs_and_pictures(trained, tmp_path: Path, capsys):
    import wandb

    small = trained("WandbLogger", save_dir=tmp_path)
    try:
        summary = dict(wandb.run.summary)
        files = Path(wandb.run.dir)
    finally:
        wandb.finish()
    assert {"train/elbo", "val/elbo", "smoothness/cycle/slerp"} <= set(summary)
    for path in PATHS:
        (shown,) = summary[f"images/morph/{path}"]["videos"]
        assert shown["path"].endswith(".gif")
        assert_same_film(files / shown["path"], find_morphs(small.logs, path)[0])
    for name, rows in zip(STILLS, (2, 4), strict=True):
        assert_tiles(files / summary[f"images/{name}"]["filenames"][0], rows)
    assert f"Morphs: {small.logs / 'morphs'}, " in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not optional.find_spec("mlflow"), reason="mlflow is not installed")
def test_mlflow_gets_numbers_morphs_and_pictures(trained, tmp_path: Path):
    from mlflow import MlflowClient

    uri = f"file:{tmp_path / 'mlruns'}"
    small = trained("MLFlowLogger", tracking_uri=uri)
    client = MlflowClient(uri)
    (found,) = client.search_runs([client.get_experiment_by_name("lightning_logs").experiment_id])
    assert {"train/elbo", "val/elbo", "smoothness/cycle/slerp"} <= set(found.data.metrics)
    assert found.data.params["latent_dim"] == "4"
    (number,) = client.get_metric_history(found.info.run_id, "val/elbo")
    artifacts = Path(found.info.artifact_uri.removeprefix("file:"))
    for path in PATHS:
        assert_same_film(artifacts / f"images/morph/{path}/{number.step:012d}.gif", find_morphs(small.logs, path)[0])
    for name, rows in zip(STILLS, (2, 4), strict=True):
        (picture,) = artifacts.glob(f"images/images*{name}*.png")
        assert_tiles(picture, rows)


@pytest.mark.parametrize(("kind", "extra"), [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow")])
def test_a_missing_package_is_one_line(kind, extra, run: Run, tmp_path: Path, monkeypatch, one_line_error):
    monkeypatch.setattr(optional, "find_spec", lambda _: None)
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    line = one_line_error(train.main, *small.arguments(f"--trainer.logger={kind}"))
    assert line == f"train.py: {extra}: is not installed; pip install -e '.[{extra}]'"
    assert not [*tmp_path.rglob("version_*")]


@pytest.mark.slow
def test_morphs_go_to_loggers_where_no_files_are_written(run: Run, tmp_path: Path):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    logger = ["--trainer.logger=TensorBoardLogger", f"--trainer.logger.save_dir={tmp_path / 'own'}"]
    plan = ["--watch.every_n_epochs=1", "--trainer.max_epochs=1", "--trainer.limit_train_batches=3"]
    train.main(small.arguments(*QUICK, *plan, *logger, "--trainer.enable_checkpointing=false"))
    (log,) = (tmp_path / "own").rglob("events.*")
    assert len(events(log.parent).Tags()["images"]) == 5
    assert not small.logs.exists()
