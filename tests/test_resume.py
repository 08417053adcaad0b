"""A training that was stopped at any moment ends with the very same weights as one that was not."""

import shutil

import pytest
import torch
from conftest import Run, scene

import train
from vae import checkpoint
from vae.keeping import LastCheckpoint

PICTURES, BATCHES = 30, 3  # batches in an epoch
PLAN = ["--checkpoint_every_n_steps=1", "--model.decoder_share=0.4", "--model.warmup_steps=2", "--health.pictures=4"]
QUIET = ["--trainer.enable_progress_bar=false", "--watch.every_n_epochs=0"]
pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed")  # the tests resume copies


def learnt(run: Run) -> dict[str, torch.Tensor]:
    """All tensors of the last checkpoint by their names: weights, their average, the optimizers' moments."""
    found: dict[str, torch.Tensor] = {}

    def gather(value, name):
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, (dict, list, tuple)):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                gather(part, f"{name}.{key}")

    content = checkpoint.read(run.checkpoints / "last.ckpt")
    for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers"):
        gather(content[part], part)
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few") / "pictures"
    folder.mkdir()
    for seed in range(PICTURES):
        scene(seed).save(folder / f"{seed}.png")
    return folder


VARIANTS = {
    "float32": ["--trainer.precision=32-true", "--trainer.max_epochs=3"],
    "bfloat16": ["--trainer.precision=bf16-mixed", "--trainer.max_epochs=3"],
    "workers": ["--data.workers=2", "--trainer.max_epochs=2"],
    "steps": ["--trainer.max_epochs=-1", "--trainer.max_steps=8"],
    "gathered": ["--trainer.accumulate_grad_batches=2", "--trainer.max_epochs=3"],
    "often validated": ["--trainer.val_check_interval=0.67", "--trainer.max_epochs=2"],
}


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")  # a last epoch cut short is not validated
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_from_the_checkpoint_of_any_step_the_end_is_the_same(options, pictures, tmp_path, monkeypatch):
    cache = pictures.parent / "cache"
    whole = Run(tmp_path / "whole", pictures, cache, "", "")
    days = tmp_path / "days"
    save = LastCheckpoint._save

    def save_and_copy(self, trainer):
        save(self, trainer)
        shutil.copytree(whole.root, days / str(trainer.global_step), dirs_exist_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "_save", save_and_copy)
        train.main(whole.arguments(*PLAN, *QUIET, *options))
    expected = learnt(whole)
    stops = sorted(days.iterdir(), key=lambda day: int(day.name))[:-1]
    assert len(stops) >= 3
    for day in stops:
        again = Run(day, pictures, cache, "", "")
        train.main(["fit", f"--trainer.default_root_dir={day}", "--ckpt_path=last", *QUIET])
        assert same(learnt(again), expected), day.name
