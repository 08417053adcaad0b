"""Configurations: the recipes that come along, and what `--print_config` says of each key."""

from pathlib import Path

import pytest
import yaml
from conftest import Run
from parsers import (
    one_parser,  # noqa: F401
    printed_config,
)
from test_together import forked

import train
from vae import checkpoint
from vae.training.cli.config import recipes, resolve_config

LITTLE = [
    *("--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"),
    *("--trainer.limit_val_batches=1", "--trainer.enable_progress_bar=false"),
    *("--data.limit=24", "--data.batch_size=4"),
    *("--data.val_fraction=0.3", "--data.workers=0", "--model.width=8"),
    *("--health.pairs=1", "--health.pictures=4", "--watch.every_n_epochs=1", "--watch.frames=3"),
]


def flat(tree: dict, prefix: str = "") -> dict[str, object]:
    """By dotted paths."""
    leaves = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return leaves


def test_every_recipe_is_read_and_the_default_one_is_what_happens_by_itself() -> None:
    for name in recipes():
        recipe = flat(yaml.safe_load(Path(resolve_config(name)).read_text()))
        options = flat(yaml.safe_load(printed_config(f"--config={name}")))
        assert {key: options[key] for key in recipe} == recipe, name
    assert printed_config("--config=default") == printed_config()


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "large")) for n in recipes()])
def test_every_recipe_trains_and_is_kept(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = [*LITTLE, "--data.image_size=32", "--trainer.devices=1", f"--data.cache_dir={tmp_path / 'cache'}"]
    train.main(["fit", f"--config={name}", *small])
    (run,) = (tmp_path / "checkpoints").glob("*/version_0")
    assert (run / "last.ckpt").is_file()
    kept = flat(yaml.safe_load((run / "config.yaml").read_text()))
    recipe = flat(yaml.safe_load(Path(resolve_config(name)).read_text()))
    given = {word[2:].split("=")[0] for word in small} | {"trainer.precision", "minutes"}
    assert {key: kept[key] for key in recipe.keys() - given} == {key: recipe[key] for key in recipe.keys() - given}


@pytest.mark.slow
def test_the_recipe_for_clusters_leaves_counting_to_the_launcher(tmp_path: Path):
    codes, told = forked(2, tmp_path, ["fit", "--config=cluster", *LITTLE, "--trainer.limit_train_batches=1.0"])
    assert codes == {0}, told
    kept = checkpoint.read(next((tmp_path / "checkpoints").rglob("last.ckpt")))
    assert kept["global_step"] == 2, "and not the 4 of one process"
    assert (tmp_path / "latent-loom-cache").is_dir()


def test_a_file_of_the_recipes_name_goes_before_it(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert yaml.safe_load(printed_config("--config=tiny"))["data"]["image_size"] == 32
    (tmp_path / "tiny").mkdir()
    assert yaml.safe_load(printed_config("--config=tiny"))["data"]["image_size"] == 32, "a folder is no configuration"
    (tmp_path / "tiny").rmdir()
    (tmp_path / "tiny").write_text("data: {image_size: 48}")
    assert yaml.safe_load(printed_config("--config=tiny"))["data"]["image_size"] == 48


def test_every_key_is_explained_above_it():
    lines = printed_config().splitlines()
    keys = [number for number, line in enumerate(lines) if line.lstrip()[:1].isalpha()]
    assert len(keys) > 80
    bare = [lines[number] for number in keys if not lines[number - 1].lstrip().startswith("# ")]
    assert bare == []
    text = " ".join(line.strip(" #") for line in lines)
    for meaning in (
        "weight of the KL term at the end of its schedule",
        "share held out for validation",
        "frames from one keyframe to the next",
        "pairs of them whose morphs are measured",
        "what best.ckpt is best by",
        "Accumulates gradients over k batches",
    ):
        assert meaning in text


def test_what_is_printed_is_read_again(tmp_path: Path) -> None:
    printed = printed_config()
    for words in (
        [],
        ["--model.sigma=0.5", "--data.source=/a folder/with: a colon # and more", "--trainer.max_time=null"],
        ["--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks.logging_interval=step"],
        ["--trainer.default_root_dir=" + "a long name\n\n# of three lines\nmodel: " * 9],
    ):
        text = printed_config(*words)
        (tmp_path / "run.yaml").write_text(text)
        assert printed_config(f"--config={tmp_path / 'run.yaml'}") == text, words
        assert (text == printed) == (not words)


def test_a_runs_own_config_is_read_again(run: Run, tmp_path: Path):
    kept = run.checkpoints / "config.yaml"
    assert "# weight of the KL term" in kept.read_text()
    again = yaml.safe_load(printed_config(f"--config={kept}"))
    assert again["data"]["source"] == str(run.pictures)
    assert again == yaml.safe_load(kept.read_text())


def test_yaml_that_is_given_in_place_of_a_file_is_taken():
    assert yaml.safe_load(printed_config("--config", "model: {beta: 3.0}"))["model"]["beta"] == 3
