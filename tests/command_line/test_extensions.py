"""Loggers and callbacks that an option names: whatever they raise is one line with that option, and a remedy."""

import shlex
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import Run, copy
from parsers import (
    error_of,
    one_parser,  # noqa: F401
    parts_of,
)
from test_config import LITTLE

import train
from vae import checkpoint
from vae.training.runs.checkpointing import LastCheckpoint

OWN = """
import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger

class Fails(pl.Callback):
    def __init__(self, at="start"):
        self.at = at
        self.look("start", KeyError("boom\\\\nof two lines"))
    def look(self, at, fault):
        if at == self.at:
            raise fault
    def setup(self, trainer, pl_module, stage):
        self.look("setup", RuntimeError("boom"))
    def on_fit_start(self, trainer, pl_module):
        self.look("fit", AssertionError())
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 2:
            self.look("step", FileNotFoundError(2, "No such file", "palette.txt"))
    def on_validation_end(self, trainer, pl_module):
        self.look("validation", ZeroDivisionError("boom"))
    def teardown(self, trainer, pl_module, stage):
        self.look("end", TypeError("boom"))

class Server(Logger):
    name, version = "server", 0
    def __init__(self, at):
        self.at = at
        if at == "start":
            raise ConnectionError("no server there")
    def log_hyperparams(self, *args, **kwargs):
        if self.at == "options":
            raise TimeoutError("no server there")
    def log_metrics(self, metrics, step=None):
        if self.at == "numbers":
            raise RuntimeError("no server there")

class Neither:
    pass
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules of the user's own."""
    (tmp_path / "own_parts.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("import a_package_of_no_such_name\n")
    (tmp_path / "own_raising.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


CALLBACK, LOGGER = "--trainer.callbacks+=", "--trainer.logger="
# what is typed; what the line must name; what its remedy must name
AT_ONCE = [
    (f"{LOGGER}CometLogger", "CometLogger: ", "leave it out"),
    (f"{LOGGER}CSVLogger", "CSVLogger: the following arguments are required: save_dir", "mend that"),
    (f"{CALLBACK}EarlyStopping", "required: monitor", "mend that"),
    (f"{CALLBACK}EarlyStoping", "EarlyStoping", "EarlyStopping"),
    (f"{LOGGER}CSVLoger", "CSVLoger", "CSVLogger"),
    (
        f"{CALLBACK}EarlyStopping --trainer.callbacks.monitr=a",
        "EarlyStopping: Option 'monitr'",
        "mend that",
    ),
    (
        f"{CALLBACK}EarlyStopping --trainer.callbacks.monitor=a --trainer.callbacks.patience=long",
        "EarlyStopping: patience long",
        "mend that",
    ),
    (
        f"{CALLBACK}EarlyStopping --trainer.callbacks.monitor=val/elbo --trainer.callbacks.mode=up",
        "got up",
        "leave it out",
    ),
    (f"{CALLBACK}ModelCheckpoint --trainer.callbacks.save_top_k=-2", "save_top_k=-2", "leave it out"),
    (f"{CALLBACK}LearningRateMonitor {LOGGER}false", "LearningRateMonitor: ", "leave it out"),
    (f"{CALLBACK}Timer --trainer.callbacks.duration=soon", "Timer: ", "leave it out"),
    (f"{CALLBACK}BackboneFinetuning", "BackboneFinetuning: ", "leave it out"),
    (
        f"{LOGGER}CSVLogger --trainer.logger.save_dir=/proc/none",
        "/proc/none",
        "leave it out",
    ),
    (f"{CALLBACK}own_parts.Nothing", "own_parts.Nothing", "another"),
    (f"{CALLBACK}own_parts.Neither", "own_parts.Neither", "another"),
    (f"{CALLBACK}own_missing.Nothing", "No module named 'own_missing'", "another"),
    (f"{CALLBACK}own_broken.Nothing", "No module named 'a_package_of_no_such_name'", "another"),
    (f"{CALLBACK}own_raising.Nothing", "not today", "another"),
    ("--config '{trainer: {callbacks: [{class_path: own_raising.Nothing}]}}'", "not today", "another"),
    ("--config '{trainer: {logger: {class_path: CometLogger}}}'", "CometLogger: ", "leave it out"),
    (f"{CALLBACK}own_parts.Fails", "own_parts.py, line 11", "leave it out"),
    (f"{CALLBACK}own_parts.Fails --trainer.callbacks.at=setup", "RuntimeError: boom (own_parts.py", "leave it out"),
    (f"{CALLBACK}own_parts.Fails --trainer.callbacks.at=fit", "AssertionError (own_parts.py", "leave it out"),
    (f"{LOGGER}own_parts.Server --trainer.logger.at=start", "Server: ConnectionError: no server", "leave it out"),
    (f"{LOGGER}own_parts.Server --trainer.logger.at=options", "Server: TimeoutError: no server", "leave it out"),
]
JARGON = ("Traceback", "Parser key", "<class", "typing.", "Union", "subtypes")
WORDS = [*LITTLE, "--data.image_size=32", "--watch.every_n_epochs=0", "--data.cache_dir=cache"]


@pytest.mark.filterwarnings("ignore:.*was not registered.*")
@pytest.mark.parametrize("rows", [AT_ONCE[::3], pytest.param(AT_ONCE, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_fault_before_the_training_is_one_line_and_leaves_no_run(rows, place: Path) -> None:
    for typed, named, suggested in rows:
        line = error_of(train.main, "fit", *WORDS, *shlex.split(typed))
        fault, remedy = parts_of(line)
        assert named in fault, typed
        assert suggested in remedy, typed
        assert not [word for word in JARGON if word in line], typed
        assert not [*place.rglob("version_*"), *place.rglob("lightning_logs")], typed


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        pytest.param(
            f"{CALLBACK}own_parts.Fails --trainer.callbacks.at=step",
            "Fails: FileNotFoundError",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            f"{CALLBACK}own_parts.Fails --trainer.callbacks.at=validation",
            "Fails: ZeroDivisionError: boom (own_parts.py, line",
            marks=pytest.mark.slow,
        ),
        (f"{CALLBACK}EarlyStopping --trainer.callbacks.monitor=val_loss", "`val/elbo`"),
        (f"{LOGGER}own_parts.Server --trainer.logger.at=numbers", "Server: RuntimeError: no server there"),
    ],
)
def test_a_fault_in_the_training_is_one_line_that_says_how_to_go_on(typed, named, place: Path, one_line_error):
    often = ["--trainer.log_every_n_steps=1", "--checkpoint_every_n_steps=1"]
    line = one_line_error(train.main, "fit", *WORDS, *often, *shlex.split(typed), code=1)
    assert named in line
    assert "fit again" in line or "--ckpt_path" in line


def test_a_fault_of_our_own_keeps_its_traceback(place: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_):
        raise LookupError("ours")

    monkeypatch.setattr(LastCheckpoint, "on_train_epoch_end", broken)
    with pytest.raises(LookupError, match="ours"):
        train.main(["fit", *WORDS, f"{CALLBACK}own_parts.Fails", "--trainer.callbacks.at=never"])


def test_those_that_work_are_left_alone(run: Run, tmp_path: Path):
    mine = copy(run, tmp_path)
    stop = {"class_path": "EarlyStopping", "init_args": {"monitor": "samples/sharpness", "mode": "max", "patience": 9}}
    rates = {"class_path": "LearningRateMonitor"}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [stop, rates]}}))
    more = [
        f"--config={tmp_path / 'more.yaml'}",
        f"--ckpt_path={mine.checkpoints / 'last.ckpt'}",
        "--watch.every_n_epochs=0",
    ]
    train.main([*mine.arguments(*more), "--trainer.max_epochs=3"])
    kept = checkpoint.read(mine.checkpoints / "last.ckpt")
    assert kept["epoch"] == 2
    assert isinstance(kept["global_step"], int)
    assert torch.isfinite(kept["state_dict"]["kl_average"]).all()
