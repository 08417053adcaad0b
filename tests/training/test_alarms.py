"""A training that goes astray ends, or leaves the step out, and what was good before it stays."""

import copy as copies
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import EPOCHS, QUICK, Run, copy, events
from parsers import short_start  # noqa: F401

import train
from vae import checkpoint
from vae.training.callbacks import CollapseWarning
from vae.training.module import VAETraining

SKIP = [*QUICK, "--model.on_nonfinite=skip", "--model.skip_at_most=3"]


def poison_pictures(patch: pytest.MonkeyPatch, batches: set[int]) -> None:
    """Everything that is worked out from the batch is not finite then."""
    honest = VAETraining.training_step
    patch.setattr(
        VAETraining, "training_step", lambda self, x, batch_idx: honest(self, x / (batch_idx not in batches), batch_idx)
    )


def poison_losses(patch: pytest.MonkeyPatch, batches: set[int]) -> None:
    honest = VAETraining.training_step
    patch.setattr(
        VAETraining,
        "training_step",
        lambda self, x, batch_idx: honest(self, x, batch_idx) * (float("nan") if batch_idx in batches else 1),
    )


def poison_gradients(patch: pytest.MonkeyPatch, batches: set[int]) -> None:
    def poison(self):
        if self.trainer.fit_loop.epoch_loop.batch_idx in batches:
            next(self.vae.decoder.parameters()).grad[0] = float("inf")

    patch.setattr(VAETraining, "on_after_backward", poison)


POISONS = {"pictures": poison_pictures, "losses": poison_losses, "gradients": poison_gradients}
every_poison = pytest.mark.parametrize(
    "poison",
    [POISONS["pictures"], *(pytest.param(POISONS[name], marks=pytest.mark.slow) for name in ("losses", "gradients"))],
)


@every_poison
def test_what_is_not_finite_ends_the_training_with_its_step_and_seed(
    poison, run: Run, tmp_path: Path, one_line_error, monkeypatch
):
    again = copy(run, tmp_path)
    kept = (again.checkpoints / "last.ckpt").read_bytes()
    before = checkpoint.read(again.checkpoints / "last.ckpt")
    seen = before["plan"]["pictures_seen"] + 2 * 8
    poison(monkeypatch, {2})
    words = again.arguments(*QUICK, "--ckpt_path=last", f"--trainer.max_epochs={EPOCHS + 1}")
    line = one_line_error(train.main, *words, code=1)
    assert f"batch 2 of epoch {EPOCHS} (after {seen} pictures)" in line
    assert (again.checkpoints / "last.ckpt").read_bytes() == kept


def everything_learnt(module: VAETraining) -> dict[str, torch.Tensor]:
    state = dict(module.state_dict())
    for number, moments in module.optimizers().state_dict()["state"].items():
        state |= {f"{number}.{name}": value for name, value in moments.items()}
    return copies.deepcopy(state | module.train_posterior.metric_state)


@every_poison
def test_a_step_that_is_skipped_leaves_no_trace(poison, run: Run, tmp_path: Path, monkeypatch, caplog):
    poison(monkeypatch, {1, 3})
    changed: dict[int, list[str]] = {}
    before: dict[str, torch.Tensor] = {}

    begin, end = VAETraining.on_train_batch_start, VAETraining.on_train_batch_end

    def remember(self, batch, batch_idx):
        begin(self, batch, batch_idx)
        before.update(everything_learnt(self))

    def compare(self, outputs, batch, batch_idx):
        end(self, outputs, batch, batch_idx)
        after = everything_learnt(self)
        changed[batch_idx] = [name for name in before if not torch.equal(before[name], after[name])]

    monkeypatch.setattr(VAETraining, "on_train_batch_start", remember)
    monkeypatch.setattr(VAETraining, "on_train_batch_end", compare)
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments(*SKIP, "--trainer.max_epochs=1"))
    assert [batch for batch, names in changed.items() if not names] == [1, 3]
    assert re.findall(r"number (\d) of at most 3", caplog.text) == ["1", "2"]
    assert checkpoint.load_vae(small.checkpoints / "last.ckpt")


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
@pytest.mark.slow
def test_no_more_steps_are_skipped_than_stated_even_after_a_resume(
    run: Run, tmp_path: Path, one_line_error, monkeypatch
):
    poison_gradients(monkeypatch, {1, 3})
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments(*SKIP, "--trainer.max_epochs=1"))
    more = ["--ckpt_path=last", "--trainer.max_epochs=2"]
    line = one_line_error(train.main, *small.arguments(*SKIP, *more), code=1)
    assert "3 steps were skipped" in line
    assert "batch 3 of epoch 1" in line
    train.main(small.arguments(*SKIP, *more, "--model.skip_at_most=4"))
    assert checkpoint.read(small.checkpoints / "last.ckpt")["epoch"] == 1


@pytest.mark.slow
def test_a_resumed_training_may_begin_to_skip(run: Run, tmp_path: Path, monkeypatch):
    again = copy(run, tmp_path)
    poison_losses(monkeypatch, {1})
    train.main(again.arguments(*SKIP, "--ckpt_path=last", f"--trainer.max_epochs={EPOCHS + 1}"))
    assert checkpoint.read(again.checkpoints / "last.ckpt")["epoch"] == EPOCHS


def test_weights_that_are_not_finite_are_not_kept_within_an_epoch_either(
    run: Run, tmp_path: Path, one_line_error, monkeypatch
):
    small = Run(tmp_path, run.pictures, run.cache, "", "")

    def poison(self, optimizer, **options):
        if self.trainer.global_step == 2:
            next(self.vae.decoder.parameters()).grad.fill_(float("inf"))

    monkeypatch.setattr(VAETraining, "configure_gradient_clipping", poison)
    every = [*QUICK, "--checkpoint_every_n_steps=1", "--trainer.log_every_n_steps=50"]
    assert "not finite" in one_line_error(train.main, *small.arguments(*every), code=1)
    assert checkpoint.read(small.checkpoints / "last.ckpt")["global_step"] == 2
    assert checkpoint.load_vae(small.checkpoints / "last.ckpt")


@pytest.mark.slow
def test_weights_that_are_not_finite_are_never_kept(run: Run, tmp_path: Path, one_line_error, monkeypatch):
    again = copy(run, tmp_path)
    kept = (again.checkpoints / "last.ckpt").read_bytes()

    def poison(self, optimizer, **options):
        next(self.vae.decoder.parameters()).grad.fill_(float("inf"))

    monkeypatch.setattr(VAETraining, "configure_gradient_clipping", poison)
    more = f"--trainer.max_epochs={EPOCHS + 1}"
    words = again.arguments(*QUICK, "--ckpt_path=last", more, "--trainer.limit_train_batches=1")
    assert "not finite" in one_line_error(train.main, *words, code=1)
    assert (again.checkpoints / "last.ckpt").read_bytes() == kept


def test_a_tenth_of_the_latents_or_fewer_is_a_collapse_and_is_warned_of(caplog):
    module = SimpleNamespace(vae=SimpleNamespace(latent_dim=20), beta_factor=torch.tensor(0.5))
    for active, warns in ((0, True), (2, True), (3, False), (None, False)):
        metrics = {} if active is None else {"val/active_units": torch.tensor(float(active))}
        trainer = SimpleNamespace(callback_metrics=metrics, is_global_zero=True, sanity_checking=False)
        CollapseWarning().on_validation_end(trainer, module)
        assert (f"{active} of 20 latent dimensions are active" in caplog.text) == warns
        assert ("β falls until more are; it is at 0.5 of what was planned" in caplog.text) == warns
        caplog.clear()


COLLAPSE = [
    *("--model.beta=1e6", "--model.beta_start=1e6", "--model.decoder_share=0", "--model.warmup_steps=1"),
    *("--model.ema_decay=0.5", "--trainer.max_epochs=20"),
]


@pytest.mark.slow
def test_beta_falls_while_the_posterior_is_collapsed(run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("vae.training.module._INITIAL_KL", 0.2)  # nats: so few steps would not see them fall
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments(*QUICK, *COLLAPSE))
    factor = checkpoint.read(small.checkpoints / "last.ckpt")["state_dict"]["beta_factor"]
    betas = [each.value for each in events(small.logs).Scalars("train/beta")]
    assert betas[0] == pytest.approx(1e6)
    assert betas[-1] == pytest.approx(1e6 * float(factor), rel=0.03)
    assert factor < 0.9
    assert betas == sorted(betas, reverse=True)


def test_beta_stays_where_latents_are_active(run: Run):
    assert checkpoint.read(run.checkpoints / "last.ckpt")["state_dict"]["beta_factor"] == 1
