"""A checkpoint is a stranger's file: what it says of a training is looked at before it is used, and names no file."""

import copy as copies
import shutil

import pytest
import torch
import yaml
from conftest import EPOCHS, QUICK, Run, copy
from parsers import short_start  # noqa: F401

import train
from data.system.errors import UserError
from vae import checkpoint
from vae.training.averaging import ExponentialMovingAverage
from vae.training.module import VAETraining
from vae.training.runs.training_state import checked_state

MORE = f"--trainer.max_epochs={EPOCHS + 1}"
QUIET = [*QUICK, "--trainer.enable_progress_bar=false"]


def resume(run: Run, *more: str) -> list[str]:
    return [
        "fit",
        f"--trainer.default_root_dir={run.root}",
        f"--ckpt_path={run.checkpoints / 'last.ckpt'}",
        f"--data.cache_dir={run.cache}",
        MORE,
        *QUIET,
        *more,
    ]


def rewrite(run: Run, change) -> None:
    """Changes the contents of a run's last.ckpt."""
    path = run.checkpoints / "last.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


@pytest.fixture
def victim(tmp_path):
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "letter.txt").write_text("to be kept")
    return folder


BEST = "ModelCheckpoint{'monitor': 'val/elbo', 'mode': 'max', 'every_n_train_steps': 0, 'every_n_epochs': 1, "
BEST += "'train_time_interval': None}"
PLACES = {
    "another file system": lambda run, victim: f"local://{victim}",
    "a folder beside": lambda run, victim: f"{run.checkpoints}/../../../../{victim.name}",
    "a file of the run's own": lambda run, victim: str(run.checkpoints / "config.yaml"),
}


_SLOW_PLACES = [(kind, place) for kind in ("ModelCheckpoint", "BestCheckpoint") for place in PLACES][:-1]


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("BestCheckpoint", "a file of the run's own"),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in _SLOW_PLACES),
    ],
)
def test_no_name_in_a_checkpoint_is_removed(place, kind, run: Run, tmp_path, victim):
    again = copy(run, tmp_path)
    named, least = PLACES[place](again, victim), torch.tensor(-1e30)

    def change(content):
        content["callbacks"] = {
            BEST.replace("ModelCheckpoint", kind): {
                "monitor": "val/elbo", "best_model_score": least, "score": least, "current_score": least,
                "best_model_path": named, "kth_best_model_path": named, "best_k_models": {named: least},
                "kth_value": least, "last_model_path": named,
            }
        }  # fmt: skip

    rewrite(again, change)
    train.main(resume(again, "--trainer.limit_train_batches=1"))
    assert (victim / "letter.txt").read_text() == "to be kept"
    assert checkpoint.read(again.checkpoints / "last.ckpt")["epoch"] == EPOCHS
    assert (again.checkpoints / "config.yaml").is_file()
    assert (again.checkpoints / "best.ckpt").is_file()


@pytest.mark.slow
def test_a_users_own_model_checkpoint_removes_no_name_either_and_its_files_stay(run: Run, tmp_path, victim, capsys):
    mine = ["--trainer.callbacks+=ModelCheckpoint", f"--trainer.callbacks.dirpath={tmp_path / 'mine'}"]
    small = Run(tmp_path / "small", run.pictures, run.cache, "", "")
    train.main(small.arguments("--trainer.max_epochs=1", *QUIET, *mine))
    kept = list((tmp_path / "mine").iterdir())
    assert len(kept) == 1

    def change(content):
        (state,) = (state for name, state in content["callbacks"].items() if name.startswith("ModelCheckpoint"))
        state["best_model_path"] = state["last_model_path"] = f"local://{victim}"

    rewrite(small, change)
    train.main(resume(small, *mine))
    assert (victim / "letter.txt").is_file()
    assert kept[0].is_file()
    assert len(list((tmp_path / "mine").iterdir())) == 2
    assert (small.checkpoints / "config.yaml").is_file()  # not beside the user's own
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ModelCheckpoint: ")]
    assert len(told) == 1


def each_moment(content, make):
    for state in content["optimizer_states"][0]["state"].values():
        state |= {name: make(old) for name, old in state.items() if name != "step"}


def first_moments(kind, name, make):
    """Changes one number of the first weight with such moments: Muon's are `momentum`, AdamW's `exp_avg`."""

    def change(content):
        states = content["optimizer_states"][0]["state"].values()
        state = next(state for state in states if kind in state)
        state[name] = make(state[kind])

    return change


def setting(*keys, value):
    def change(content):
        *way, last = keys
        place = content
        for key in way:
            place = place[key]
        place[last] = value

    return change


GROUP = ("optimizer_states", 0, "param_groups", 0)
MUON, ADAM = "momentum", "exp_avg"
LOOPS = ("loops", "fit_loop", "epoch_loop.batch_progress", "current", "ready")
HOSTILE = {
    "moments of one number": lambda content: each_moment(content, lambda old: torch.zeros(1)),
    "moments of another shape": lambda content: each_moment(content, lambda old: old.flatten()[:-1]),
    "moments that are a view of one number": lambda content: each_moment(
        content, lambda old: torch.zeros(1).expand(old.shape)
    ),
    "sparse moments": lambda content: each_moment(content, lambda old: old.to_sparse()),
    "whole moments": lambda content: each_moment(content, lambda old: old.int()),
    "float8 moments": lambda content: each_moment(content, lambda old: old.to(torch.float8_e5m2)),
    "moments that are not finite": lambda content: each_moment(content, lambda old: old / 0),
    "moments beyond float32": lambda content: each_moment(content, lambda old: old.double() + 1e300),
    "squares below 0": first_moments(ADAM, "exp_avg_sq", lambda old: -torch.ones_like(old)),
    "a moment that is a word": first_moments(ADAM, "exp_avg", lambda old: "x"),
    "a momentum that is a word": first_moments(MUON, "momentum", lambda old: "x"),
    "a momentum with squares": first_moments(MUON, "exp_avg_sq", lambda old: old.square()),
    "moments with a momentum": first_moments(ADAM, "momentum", lambda old: old),
    "no moments": setting("optimizer_states", 0, "state", 0, value={}),
    "a step of 0": first_moments(ADAM, "step", lambda old: torch.tensor(0.0)),
    "a step to come": first_moments(ADAM, "step", lambda old: torch.tensor(1e9)),
    "a step that is a word": first_moments(ADAM, "step", lambda old: "x"),
    "half a step": first_moments(ADAM, "step", lambda old: 1.5),
    "a weight that is not there": setting("optimizer_states", 0, "state", 10**6, value={}),
    "weights of another order": setting(*GROUP, "params", value=[0]),
    "no groups": setting("optimizer_states", 0, "param_groups", value=[]),
    "no optimizer": setting("optimizer_states", value=[{}]),
    "two optimizers": setting("optimizer_states", value=[{}, {}]),
    "a loop's place that is a word": setting(*LOOPS, value="x"),
    "a loop's place below 0": setting(*LOOPS, value=-3),
    "a loop's place of many digits": setting(*LOOPS, value=10**6000),
    "no loops": setting("loops", value={}),
    "steps of many digits": setting("global_step", value=10**6000),
    "weights in training that are not finite": setting(
        "current_model_state", "vae.encoder.posterior.bias", value=torch.full((8,), torch.inf)
    ),
    "weights in training that are one number": setting(
        "current_model_state", "vae.encoder.posterior.bias", value=torch.zeros(1)
    ),
    "an average of words": setting("averaging_state", "n_averaged", value="x"),
    "no average": setting("averaging_state", value={}),
    "a running mean that is not finite": setting(
        "state_dict", "losses.moment_matching.mean", value=torch.full((4,), torch.nan)
    ),
    "progress beyond the end": setting("plan", "progress", value=2.0),
    "a place below 0": setting("plan", "pictures_seen", value=-1),
    "an epoch without pictures": setting("plan", "pictures_per_epoch", value=0),
    "an end below 0": setting("plan", "pictures_planned", value=-1),
    "an end of many digits": setting("plan", "pictures_planned", value=10**6000),
    "a plan's seed of many digits": setting("plan", "seed", value=10**6000),
    "callbacks that are a word": setting("callbacks", value="x"),
    "a callback's state that is a word": setting("callbacks", "NonFiniteGuard", value="x"),
}


def test_a_state_that_no_training_leaves_is_refused_in_one_line(run: Run):
    path = run.checkpoints / "last.ckpt"
    whole = torch.load(path, weights_only=True)
    module = VAETraining(**whole["hyper_parameters"])
    for name, change in HOSTILE.items():
        content = copies.deepcopy(whole)
        change(content)
        try:
            line = f"taken: {checked_state(content, module, path)}"
        except UserError as error:
            line = str(error)
        assert str(path) in line, name
        assert len(line.splitlines()) == 1, name
        assert len(line) < 500, name


@pytest.mark.parametrize(
    "fault",
    [
        "moments of one number",
        pytest.param("weights of another order", marks=pytest.mark.slow),
        pytest.param("steps of many digits", marks=pytest.mark.slow),
    ],
)
def test_it_is_refused_before_anything_is_made(fault, run: Run, tmp_path, one_line_error):
    again = copy(run, tmp_path)
    rewrite(again, HOSTILE[fault])
    elsewhere = again.root / "elsewhere.ckpt"
    shutil.copy(again.checkpoints / "last.ckpt", elsewhere)
    shutil.copy(again.checkpoints / "config.yaml", again.root)
    before = sorted(again.root.rglob("*"))
    named = [*resume(again), f"--ckpt_path={elsewhere}", f"--data.source={run.pictures}"]
    assert str(elsewhere) in one_line_error(train.main, *named)
    assert "last.ckpt" in one_line_error(train.main, *resume(again))
    assert sorted(again.root.rglob("*")) == before


def test_what_a_training_leaves_is_taken_over_as_it_is(run: Run):
    path = run.checkpoints / "last.ckpt"
    content = checkpoint.read(path)
    module = VAETraining(**content["hyper_parameters"])
    taken = checked_state(copies.deepcopy(content), module, path)
    states = [content["optimizer_states"][0]["state"], taken["optimizer_states"][0]["state"]]
    assert states[0].keys() == states[1].keys()
    for index, old in states[0].items():
        new = states[1][index]
        assert all(torch.equal(old[name], new[name]) and old[name].dtype == new[name].dtype for name in old)
        assert [value.stride() for value in new.values()] == [value.stride() for value in old.values()]
    for name in ("loops", "plan", "global_step", "epoch"):
        assert taken[name] == content[name], name
    for name in ("state_dict", "current_model_state"):
        assert all(torch.equal(taken[name][key], weight) for key, weight in content[name].items())
    for old, new in zip(
        content["optimizer_states"][0]["param_groups"], taken["optimizer_states"][0]["param_groups"], strict=True
    ):
        assert {key: value for key, value in old.items() if value != new[key] and key != "lr"} == {}


# What a file proposes


def test_a_checkpoint_from_elsewhere_does_not_choose_the_folder_that_is_read(run: Run, tmp_path, one_line_error):
    again = copy(run, tmp_path)
    rewrite(again, setting("datamodule_hyper_parameters", "source", value="/"))
    shutil.copy(again.checkpoints / "config.yaml", tmp_path)
    path = shutil.move(again.checkpoints / "last.ckpt", tmp_path / "last.ckpt")
    for command in ("fit", "validate"):
        line = one_line_error(train.main, command, f"--trainer.default_root_dir={again.root}", f"--ckpt_path={path}")
        assert "--data.source" in line


@pytest.mark.slow
def test_a_checkpoint_does_not_choose_where_pictures_are_kept(run: Run, tmp_path, monkeypatch):
    again, chosen = copy(run, tmp_path), tmp_path / "chosen by the file"
    rewrite(again, setting("datamodule_hyper_parameters", "cache_dir", value=str(chosen)))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    train.main([word for word in resume(again) if not word.startswith("--data.cache_dir")])
    assert not chosen.exists()
    assert (tmp_path / "home" / ".cache" / "latent-loom").is_dir()


AMOUNTS = {"limit": 10**12, "batch_size": 10**9}


@pytest.mark.parametrize("name", ["limit", pytest.param("batch_size", marks=pytest.mark.slow)])
def test_a_checkpoint_does_not_ask_for_large_amounts(name, run: Run, tmp_path, one_line_error):
    again = copy(run, tmp_path)
    rewrite(again, setting("datamodule_hyper_parameters", name, value=AMOUNTS[name]))
    assert f"--data.{name}" in one_line_error(train.main, *resume(again))


@pytest.mark.slow
def test_a_checkpoint_does_not_start_a_thousand_processes(run: Run, tmp_path):
    again = copy(run, tmp_path)
    rewrite(again, setting("datamodule_hyper_parameters", "workers", value=1000))
    train.main(resume(again))
    assert checkpoint.read(again.checkpoints / "last.ckpt")["datamodule_hyper_parameters"]["workers"] == 0


# Runs that were moved, and their configs


def best_score(run: Run) -> float:
    (score,) = (
        state["score"] for name, state in checkpoint.read(run.checkpoints / "last.ckpt")["callbacks"].items()
        if name.startswith("BestCheckpoint")
    )  # fmt: skip
    return score


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("root renamed", marks=pytest.mark.slow),
        pytest.param("copied", marks=pytest.mark.slow),
        pytest.param("of an earlier version", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_moved_keeps_its_best_weights(how, run: Run, tmp_path):
    again = copy(run, tmp_path)
    best = 1e6  # better than anything to come

    def change(content):
        (name,) = (name for name in content["callbacks"] if name.startswith("BestCheckpoint"))
        if how == "of an earlier version":
            del content["callbacks"][name]
            state = {"monitor": "val/elbo", "best_model_score": torch.tensor(best), "best_model_path": "/old/best.ckpt"}
            content["callbacks"][BEST] = state
        else:
            content["callbacks"][name] = {"score": best}

    rewrite(again, change)
    if how == "root renamed":
        again = Run(again.root.rename(tmp_path / "renamed"), run.pictures, run.cache, "", "")
    kept = (again.checkpoints / "best.ckpt").read_bytes()
    train.main(resume(again))
    assert (again.checkpoints / "best.ckpt").read_bytes() == kept
    assert best_score(again) == best


@pytest.mark.slow
def test_where_the_best_weights_are_gone_new_ones_are_kept(run: Run, tmp_path):
    again = copy(run, tmp_path)
    (again.checkpoints / "best.ckpt").unlink()
    train.main(resume(again))
    assert (again.checkpoints / "best.ckpt").is_file()


def another_run(config, run):
    plan = yaml.safe_load(config.read_text())
    plan["model"]["beta"] = 77.0
    config.write_text(yaml.safe_dump(plan))


def a_word_for_a_number(config, run):
    plan = yaml.safe_load(config.read_text())
    plan["trainer"]["max_epochs"] = "many"
    config.write_text(yaml.safe_dump(plan))


CONFIGS = {
    "of words for numbers": a_word_for_a_number,
    "missing": lambda config, run: config.unlink(),
    "of another run": another_run,
    "no config": lambda config, run: config.write_text("- dear reader"),
    "a folder": lambda config, run: (config.unlink(), config.mkdir()),
}


@pytest.mark.parametrize(
    "change",
    [pytest.param(change, id=name, marks=pytest.mark.slow) for name, change in CONFIGS.items()],
)
def test_a_run_without_its_config_is_refused_unless_its_plan_is_named(change, run: Run, tmp_path, one_line_error):
    again = copy(run, tmp_path)
    config = again.checkpoints / "config.yaml"
    shutil.copy(config, tmp_path / "plan.yaml")
    change(config, run)
    line = one_line_error(train.main, *resume(again))
    assert str(config) in line
    assert "--config" in line
    if not config.is_dir():
        train.main([*resume(again)[:1], f"--config={tmp_path / 'plan.yaml'}", *resume(again)[1:]])
        assert yaml.safe_load(config.read_text())["trainer"]["gradient_clip_val"] == 1.0


@pytest.mark.slow
def test_a_resumed_run_keeps_its_seed_and_refuses_another(run: Run, tmp_path, one_line_error):
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments("--seed_everything=5", "--trainer.max_epochs=1", *QUIET))
    assert "--seed_everything" in one_line_error(train.main, *resume(small, "--seed_everything=6"))
    train.main(resume(small))
    assert yaml.safe_load((small.checkpoints / "config.yaml").read_text())["seed_everything"] == 5
    train.main(resume(small, "--seed_everything=5", f"--trainer.max_epochs={EPOCHS + 2}"))


@pytest.mark.slow
def test_flags_in_a_checkpoint_are_those_of_the_training_and_no_average(run: Run, tmp_path, monkeypatch):
    seen, save = [], ExponentialMovingAverage.on_save_checkpoint

    def keep(self, trainer, module, content):
        save(self, trainer, module, content)
        seen.append([content[part]["vae.inactive"].clone() for part in ("state_dict", "current_model_state")])

    monkeypatch.setattr(ExponentialMovingAverage, "on_save_checkpoint", keep)
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    train.main(small.arguments("--model.inactive_below=1e9", "--model.decoder_share=0.5", *QUIET))
    train.main(resume(small, "--trainer.max_epochs=3"))
    assert {int(average.sum()) for average, _ in seen} == {0, 2}, "two stay active"
    assert all(set(average.tolist()) <= {0, 1} for average, _ in seen)
    assert all(torch.equal(average, training) for average, training in seen)
