"""Pictures are the same if their content is: a run goes on wherever they are, and not on others."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from conftest import EPOCHS, QUICK, SIDE, Run, fill, scene
from parsers import short_start  # noqa: F401
from test_runs import QUIET, contents, files

import train
from data.datamodule import ImageData
from data.fingerprint import check_fingerprint, describe_changes, fingerprint
from data.system.errors import UserError
from vae import checkpoint
from vae.training.module import VAETraining

COUNT = 30
BRIEF = "--trainer.limit_train_batches=1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """A short training, of which each test gets a copy that lies where the first one did."""
    root = tmp_path_factory.mktemp("moved")
    run = Run(root / "now", fill(root / "now" / "pictures", COUNT), root / "cache", "", "")
    train.main(run.arguments(*QUICK, *QUIET))
    shutil.copytree(run.root, root / "whole")
    return run


@pytest.fixture
def run(trained: Run) -> Run:
    shutil.rmtree(trained.root)
    shutil.copytree(trained.root.with_name("whole"), trained.root)
    return trained


def words(run: Run, *more: str, command: str = "fit") -> list[str]:
    """What goes on for one more epoch."""
    plan = [f"--trainer.max_epochs={EPOCHS + 1}"] if command == "fit" else []
    where = [f"--trainer.default_root_dir={run.root}", f"--data.cache_dir={run.cache}", *plan]
    return [command, *where, *(QUICK if command == "fit" else []), *QUIET[:1], *more]


@pytest.mark.parametrize(
    "how", ["renamed", *(pytest.param(how, marks=pytest.mark.slow) for how in ("moved", "copied", "linked"))]
)
def test_a_run_goes_on_where_its_pictures_are_now(how, run: Run, capsys, one_line_error):
    last = run.checkpoints / "last.ckpt"
    place = run.root / "nas" / "pictures" if how == "moved" else run.root / "kittens"
    place.parent.mkdir(exist_ok=True)
    if how == "copied":
        shutil.copytree(run.pictures, place)
    else:
        run.pictures.rename(place if how != "linked" else run.root / "elsewhere")
    if how == "linked":
        place.symlink_to(run.root / "elsewhere")
    train.main(words(run, f"--ckpt_path={last}", f"--data.source={place}", BRIEF))
    after = checkpoint.read(last)
    assert after["epoch"] == EPOCHS
    assert after["datamodule_hyper_parameters"]["source"] == os.path.realpath(place)
    assert yaml.safe_load((run.checkpoints / "config.yaml").read_text())["data"]["source"] == str(place)
    assert files(run.root / "checkpoints") == files(run.root / "logs") == ["pictures"]
    assert files(run.checkpoints.parent) == ["version_0"]
    assert "since" not in capsys.readouterr().out
    assert f"has trained {EPOCHS + 1}" in one_line_error(train.main, *words(run, "--ckpt_path=last"))  # found again


@pytest.mark.parametrize("command", ["fit", pytest.param("validate", marks=pytest.mark.slow)])
def test_pictures_that_are_gone_are_asked_for(command, run: Run, one_line_error):
    run.pictures.rename(run.root / "kittens")
    before = contents(run.root)
    line = one_line_error(train.main, *words(run, "--ckpt_path=last", command=command))
    assert f"{run.checkpoints / 'last.ckpt'}: its pictures were in {run.pictures}, which is gone" in line
    assert f"--ckpt_path {run.checkpoints / 'last.ckpt'} --data.source" in line
    assert contents(run.root) == before


@pytest.mark.parametrize("command", ["fit", pytest.param("validate", marks=pytest.mark.slow)])
def test_pictures_that_were_added_and_removed_are_told(command, run: Run, capsys):
    (run.pictures / "3.png").unlink()
    for seed in (100, 101, 102):
        scene(seed).save(run.pictures / f"{seed}.png")
    (run.pictures / "copy.png").write_bytes((run.pictures / "4.png").read_bytes())  # of which there is one already
    (run.pictures / "5.png").rename(run.pictures / "renamed.png")
    train.main(words(run, "--ckpt_path=last", *[BRIEF] * (command == "fit"), command=command))
    told = [line for line in capsys.readouterr().out.splitlines() if "since" in line]
    assert told == [f"{run.pictures}: of the pictures 3 were added and 1 was removed since the checkpoint was kept"]
    if command == "fit":
        assert len(checkpoint.read(run.checkpoints / "last.ckpt")["ImageData"]["pictures"]) == COUNT + 2


@pytest.mark.parametrize("where", ["another folder", pytest.param("the same folder", marks=pytest.mark.slow)])
def test_other_pictures_are_refused_before_anything_is_written(where, run: Run, one_line_error, capsys):
    more = ["--ckpt_path=last"]
    if where == "the same folder":
        shutil.rmtree(run.pictures)
    place = run.pictures if where == "the same folder" else run.root / "others"
    place.mkdir()
    for seed in range(100, 120):
        scene(seed).save(place / f"{seed}.png")
    scene(0).save(place / "0.png")  # one in common
    if where == "another folder":
        more = [f"--ckpt_path={run.checkpoints / 'last.ckpt'}", f"--data.source={place}"]
    ImageData(str(place), SIDE, cache_dir=str(run.cache)).prepare_data()  # which shows its progress if it takes long
    capsys.readouterr()
    before = contents(run.root)
    line = one_line_error(train.main, *words(run, *more))
    assert str(place) in line
    assert f"of the {COUNT} pictures that it was trained on, 1 " in line
    assert "contradicts" in line
    assert "without --ckpt_path" in line
    assert contents(run.root) == before


@pytest.mark.slow
def test_a_run_that_was_stopped_within_an_epoch_goes_on_with_fewer_pictures(run: Run, monkeypatch):
    shutil.rmtree(run.root / "checkpoints")
    shutil.rmtree(run.root / "logs")
    seen: list[int] = []
    usual = VAETraining.training_step

    def watch(self, x, batch_idx):
        seen.append(self.current_epoch)
        if len(seen) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, x, batch_idx)

    plan = ["--data.batch_size=4", "--trainer.max_epochs=2", *QUICK]
    monkeypatch.setattr(VAETraining, "training_step", watch)
    with pytest.raises(SystemExit):
        train.main(run.arguments(*plan))
    assert len(seen) == 4  # of 6 batches
    for number in range(13):
        (run.pictures / f"{number}.png").unlink()
    train.main(words(run, "--ckpt_path=last", "--trainer.max_epochs=2"))
    assert checkpoint.read(run.checkpoints / "last.ckpt")["epoch"] == 1
    assert seen[4:] == [0] + [1] * 3  # of three batches two are as good as done


@pytest.mark.slow
def test_a_checkpoint_of_an_earlier_version_does_not_know_its_pictures_elsewhere(run: Run, one_line_error):
    last = run.checkpoints / "last.ckpt"
    old = checkpoint.read(last)
    del old["ImageData"]
    torch.save(old, last)
    shutil.copytree(run.pictures, run.root / "kittens")
    more = [f"--ckpt_path={last}", f"--data.source={run.root / 'kittens'}"]
    assert "contradicts" in one_line_error(train.main, *words(run, *more))


ODD = {
    "a number": 7,
    "no pictures": {},
    "words": {"pictures": "many"},
    "bytes": {"pictures": torch.arange(9, dtype=torch.uint8)},
    "floats": {"pictures": torch.ones(9)},
    "a square": {"pictures": torch.arange(9).view(3, 3)},
    "nothing": {"pictures": torch.arange(0)},
    "one number for ever": {"pictures": torch.zeros(1, dtype=torch.int64).expand(2**40)},
    "steps": {"pictures": torch.arange(18)[::2]},
    "disorder": {"pictures": torch.tensor([3, 1, 2])},
    "sparse": {"pictures": torch.arange(9).to_sparse()},
}


@pytest.mark.filterwarnings("ignore")  # of sparse tensors
def test_a_checkpoint_that_says_odd_things_of_its_pictures_is_refused(run: Run, one_line_error):
    for what, odd in ODD.items():
        with pytest.raises(UserError, match="pictures"):
            check_fingerprint(odd, what)
    last = run.checkpoints / "last.ckpt"
    torch.save(checkpoint.read(last) | {"ImageData": ODD["words"]}, last)
    line = one_line_error(train.main, *words(run, "--ckpt_path=last"))
    assert str(last) in line
    assert "pictures" in line


def test_changes_are_counted_by_content():
    def of(*numbers: int) -> torch.Tensor:
        return fingerprint([bytes([number] * 16) for number in numbers])

    assert describe_changes(of(1, 2, 2, 200), of(200, 1, 1, 2), "cats") is None
    assert describe_changes(of(1, 2), of(1, 2, 200), "cats") == "1 was added"
    assert describe_changes(of(1, 2, 200), of(200), "cats") == "2 were removed"
    with pytest.raises(UserError, match="of the 2 pictures that it was trained on, 0 are there"):
        describe_changes(of(1, 2), of(3, 4, 5), "cats")


def test_procedural_pictures_have_no_fingerprint(tmp_path: Path):
    data = ImageData("patterns", 32, limit=20, cache_dir=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    assert data.state_dict() == {}
