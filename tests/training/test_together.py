"""Processes that train together learn what one alone would, and leave one run."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree

import pytest
import torch
from conftest import EPOCHS, QUICK, TOGETHER, Run, events, heed
from forked import start as fork
from forked import start_two as fork_two
from parsers import short_start  # noqa: F401
from torch.multiprocessing import start_processes

import train
from vae import checkpoint
from vae.model.distributed import all_gather, all_mean, local_part
from vae.model.likelihoods import build_likelihood
from vae.training import environment as launch
from vae.training.module import VAETraining
from vae.training.runs.lock import RunLock

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
ALONE = [sys.executable]
EXACT = ["--trainer.precision=32-true", "--trainer.accelerator=cpu", "--watch.every_n_epochs=0"]
WIDE = ["--model.width=16"]  # with one channel in a group, its bias would learn from rounding alone
SPY = """
import os, signal, time
import lightning.pytorch as pl, torch
from vae.training.loggers import morph_logger

class Keep(pl.Callback):
    def __init__(self, stop_after: int = 0, slow: bool = False):
        self.seen, self.stop_after = [], stop_after
        if slow:
            morph_logger.encode_animation = self.fail

    def fail(self, *words):
        time.sleep(1)
        raise OSError("the disk is full")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pictures = [hash(picture.numpy().tobytes()) for picture in batch]
        self.seen += [(trainer.current_epoch, number) for number in pictures]
        learnt = dict(pl_module.named_parameters())
        name = f"rank{trainer.global_rank}of{trainer.world_size}.pt"
        torch.save({"learnt": learnt, "seen": self.seen, "step": trainer.global_step}, name)
        if trainer.global_step == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
"""


def start(launcher: list[str], here: Path, words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """`train.py` from a launcher, in a folder where it leaves what its processes have seen."""
    here.mkdir(exist_ok=True)
    (here / "spy.py").write_text(SPY)
    paths = os.environ | {"PYTHONPATH": str(here), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"} | more
    command = [*launcher, train.__file__, *words]
    return subprocess.run(command, cwd=here, env=paths, capture_output=True, text=True, timeout=300, preexec_fn=heed)


def forked(processes: int, here: Path, words: list[str]) -> tuple[set[int], str]:
    """The exit codes and what is said of so many processes, as `start` would start them but for their own start."""
    here.mkdir(exist_ok=True)
    (here / "spy.py").write_text(SPY)
    said = here / "said.txt"
    started = [fork(words, here, said)] if processes == 1 else fork_two(words, here, said)
    return {process.wait() for process in started}, said.read_text()


def kept(here: Path, rank: int, world: int) -> dict:
    return torch.load(here / f"rank{rank}of{world}.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ALONE], ids=["torchrun", "Lightning"])
def test_two_processes_train_one_run_on_every_picture_once(launcher, run: Run, tmp_path: Path):
    """Also where the first one takes long over a rendering that fails. torchrun needs no further option."""
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    spy = ["--trainer.callbacks=spy.Keep", f"--trainer.callbacks.slow={'true' if launcher == ALONE else 'false'}"]
    devices = TOGETHER if launcher == ALONE else ["--trainer.accelerator=cpu"]
    done = start(launcher, tmp_path, small.arguments(*spy, *devices))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Training on") == done.stdout.count("Render:") == 1
    assert done.stderr.count("the disk is full") == (launcher == ALONE)
    assert checkpoint.read(small.checkpoints / "last.ckpt")["epoch"] == EPOCHS - 1
    assert [path.name for path in small.checkpoints.parent.iterdir()] == ["version_0"]
    assert len(events(small.logs).Tags()["images"]) == (0 if launcher == ALONE else 5)
    ours, theirs = (kept(tmp_path, rank, 2) for rank in (0, 1))
    assert all(torch.equal(ours["learnt"][name], theirs["learnt"][name]) for name in ours["learnt"])
    for epoch in range(EPOCHS):
        seen = [number for each in (ours, theirs) for at, number in each["seen"] if at == epoch]
        assert len(seen) == len(set(seen)) == 40 // 16 * 16


@pytest.mark.slow
def test_two_processes_learn_and_measure_what_one_does(run: Run, tmp_path: Path):
    ends, curves = [], []
    for name, processes, batch in (("one", 1, 16), ("two", 2, 8)):
        small = Run(tmp_path / name, run.pictures, run.cache, "", "")
        plan = [*EXACT, f"--data.batch_size={batch}", "--trainer.max_epochs=4", "--model.free_bits=0.01", *WIDE]
        plan += ["--model.whiten=false"]  # directions in which codes vary alike are any
        codes, told = forked(processes, small.root, small.arguments(*plan, *QUICK))
        assert codes == {0}, told
        ends.append(checkpoint.read(small.checkpoints / "last.ckpt")["state_dict"])
        log = events(small.logs)
        assert len(log.Scalars("train/discriminator_loss")) >= 2  # the last share has been reached
        tags = [tag for tag in log.Tags()["scalars"] if tag.startswith(("train/", "val/"))]
        curves.append({tag: [event.value for event in log.Scalars(tag)] for tag in tags})
    assert curves[0].keys() == curves[1].keys()
    for tag, values in curves[0].items():
        assert curves[1][tag] == pytest.approx(values, rel=1e-3, abs=1e-4), tag
    for name, weight in ends[0].items():
        atol = 1e-3 if "discriminator" in name else 1e-4  # it learns quickly and without momentum, from rounding too
        torch.testing.assert_close(ends[1][name], weight, rtol=1e-3, atol=atol, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [6, 4])
def test_one_process_goes_on_where_two_have_stopped(batch, run: Run, tmp_path: Path):
    """With batches as large as theirs to the same weights; with others it sees the pictures that they had not."""
    plans = {"two": (2, 143, "--data.batch_size=3"), "one": (1, 0, "--data.batch_size=6")}
    for name, (processes, code, plan) in list(plans.items())[: 2 if batch == 6 else 1]:
        small = Run(tmp_path / name, run.pictures, run.cache, "", "")
        stop = ["--trainer.callbacks=spy.Keep", f"--trainer.callbacks.stop_after={10 if name == 'two' else 0}"]
        words = small.arguments(*EXACT, *QUICK, *WIDE, plan, "--trainer.max_epochs=3", *stop)
        codes, told = forked(processes, small.root, words)
        assert codes == {code}, told
    two, one = (Run(tmp_path / name, run.pictures, run.cache, "", "") for name in ("two", "one"))
    before = [kept(two.root, rank, 2)["seen"] for rank in (0, 1)]
    assert checkpoint.read(two.checkpoints / "last.ckpt")["global_step"] == 10
    words = ["fit", "--ckpt_path=last", *EXACT, f"--data.batch_size={batch}", "--trainer.callbacks=spy.Keep"]
    codes, told = forked(1, two.root, [*words, "--trainer.enable_progress_bar=false", *QUICK])
    assert codes == {0}, told
    ended = checkpoint.read(two.checkpoints / "last.ckpt")
    assert ended["epoch"] == 2
    after = kept(two.root, 0, 1)["seen"]
    halved = [number for seen in (*before, after) for at, number in seen if at == 1]
    assert len(halved) == len(set(halved)) >= 36
    if batch == 6:
        for name, weight in checkpoint.read(one.checkpoints / "last.ckpt")["state_dict"].items():
            atol = (
                1e-3 if "decoder" in name or "discriminator" in name else 1e-4
            )  # it learns from rounding, and teaches it
            torch.testing.assert_close(ended["state_dict"][name], weight, rtol=1e-3, atol=atol, msg=name)
    assert ended["plan"]["progress"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "Lightning"])
def test_two_processes_go_on_with_the_newest_run_unless_it_is_in_use(launcher, run: Run, tmp_path: Path):
    for number in (0, 1):
        copied = tmp_path / "checkpoints" / "pictures" / f"version_{number}"
        copytree(run.checkpoints, copied)
        os.utime(copied / "last.ckpt", (1_000_000 + number, 1_000_000 + number))
    others = RunLock()
    others.acquire(copied)
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    words = small.arguments("--ckpt_path=last", f"--trainer.max_epochs={EPOCHS + 1}", *QUICK)

    real = {"torchrun": (TORCHRUN, words), "Lightning": (ALONE, [*words, *TOGETHER])}[launcher]
    refused = start(real[0], tmp_path, real[1])
    assert refused.returncode != 0
    assert refused.stderr.count("version_1: process") == 1
    others.release()
    if launcher == "torchrun":
        codes, told = forked(2, tmp_path, words)
    else:
        done = start(ALONE, tmp_path, real[1])
        codes, told = {done.returncode}, done.stdout + done.stderr
    assert codes == {0}, told
    ends = [checkpoint.read(path)["epoch"] for path in sorted((tmp_path / "checkpoints").rglob("last.ckpt"))]
    assert ends == [EPOCHS - 1, EPOCHS]
    assert not list(tmp_path.rglob("run.lock"))


@pytest.mark.slow
def test_a_machine_that_does_not_find_the_checkpoint_is_noticed_by_all(run: Run, tmp_path: Path):
    first = Run(tmp_path / "rank0", run.pictures, run.cache, "", "")
    train.main(first.arguments(*EXACT, *QUICK, "--trainer.max_epochs=1"))
    words = first.arguments(*EXACT, *QUICK, "--ckpt_path=last", "--trainer.max_epochs=3", "--data.batch_size=4")
    places = [[f"--trainer.default_root_dir={tmp_path}/rank{rank}"] for rank in (0, 1)]
    processes = fork_two(words, tmp_path, tmp_path / "said.txt", places)
    assert 0 not in [process.wait() for process in processes]
    told = [line for line in (tmp_path / "said.txt").read_text().splitlines() if line.startswith("train.py:")]
    assert told
    assert all("a disk that all share" in line for line in told)


def _check_statistics(rank: int, folder: str, whole: torch.Tensor) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    own = local_part(whole).clone().requires_grad_()
    assert torch.equal(all_gather(own.detach()), whole)
    scale = build_likelihood("gaussian").train()
    loss = -scale.log_prob(torch.zeros_like(own), own).mean() + all_mean(own.mean()).square()
    loss.backward()
    torch.save((loss.detach(), own.grad, scale.scale), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*use of fork")
def test_a_loss_of_the_whole_batch_has_its_own_gradient_on_every_process(tmp_path: Path):
    whole = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    start_processes(_check_statistics, (str(tmp_path), whole), nprocs=2, start_method="fork")
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    everything = whole.clone().requires_grad_()
    scale = build_likelihood("gaussian").train()
    loss = -scale.log_prob(torch.zeros_like(everything), everything).mean() + everything.mean().square()
    loss.backward()
    torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, loss.detach())
    torch.testing.assert_close(torch.cat([part[1] for part in parts]) / 2, everything.grad)
    assert torch.equal(parts[0][2], parts[1][2])
    torch.testing.assert_close(parts[0][2], scale.scale)


ELASTIC = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}
DEFAULTS = {"trainer.strategy": "auto", "trainer.devices": "auto", "trainer.num_nodes": 1}
SLURM = {"SLURM_NTASKS": "6", "SLURM_NNODES": "3", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "77"}


@pytest.mark.parametrize("told", [ELASTIC, SLURM], ids=["torchrun", "srun"])
def test_the_launcher_says_how_many_processes_there_are(told, monkeypatch, one_line_error):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert launch.launcher_options(DEFAULTS) == {"trainer.devices": 2, "trainer.num_nodes": 3}
    assert "--trainer.devices 4" in one_line_error(train.main, "fit", "--trainer.devices=4")
    assert "--trainer.num_nodes 2" in one_line_error(train.main, "fit", "--trainer.num_nodes=2")


def test_torchrun_within_a_slurm_job_is_torchruns(monkeypatch):
    for name, value in (SLURM | {"SLURM_NTASKS": "3"} | ELASTIC).items():
        monkeypatch.setenv(name, value)
    assert launch.launcher_options(DEFAULTS) == {"trainer.devices": 2, "trainer.num_nodes": 3}
    assert launch.cluster_plugins() == []
    assert launch.stopping_signals() == (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def test_tasks_that_are_not_dealt_evenly_are_refused(monkeypatch, one_line_error):
    for name, value in (SLURM | {"SLURM_NTASKS": "5"}).items():
        monkeypatch.setenv(name, value)
    assert "--ntasks-per-node" in one_line_error(train.main, "fit")


def test_strategies_that_were_not_made_to_work_are_refused(one_line_error):
    for strategy in ("fsdp", "ddp_spawn"):
        assert f"--trainer.strategy {strategy}" in one_line_error(train.main, "fit", f"--trainer.strategy={strategy}")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM])
def test_a_job_that_slurm_ends_keeps_its_step_and_is_queued_again_if_it_was_asked_for(sent, run: Run, tmp_path: Path):
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    told = SLURM | {"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    told |= {"SLURM_NODEID": "0", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    small = Run(tmp_path, run.pictures, run.cache, "", "")
    words = small.arguments("--trainer.max_epochs=50", "--watch.every_n_epochs=0", "--checkpoint_every_n_steps=1")
    said = tmp_path / "said.txt"
    process = fork(words, tmp_path, said, **told)
    while not (small.checkpoints / "last.ckpt").is_file():
        assert process.poll() is None, said.read_text()
        time.sleep(0.02)
    process.send_signal(sent)
    code, errors = process.wait(60), said.read_text()
    assert code == 128 + sent, errors
    assert "--ckpt_path" in errors.splitlines()[-1]
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.is_file() else None) == ("requeue 77\n" if sent == signal.SIGUSR1 else None)
    assert not list(tmp_path.rglob("hpc_ckpt*"))


@pytest.mark.slow
def test_two_processes_validate_as_one_does(run: Run, tmp_path: Path):
    """Every held-out picture counts once, and has noise of its own."""
    found, where = [], [f"--data.source={run.pictures}", f"--data.cache_dir={run.cache}"]
    for processes in (1, 2):
        measured = ["validate", f"--ckpt_path={run.checkpoints / 'last.ckpt'}", *where]
        codes, told = forked(processes, tmp_path / str(processes), [*measured, "--trainer.precision=32-true"])
        assert codes == {0}, told
        names = ("val/elbo", "val/kl", "val/active_units", "latent/aggregate_variance", "smoothness/cycle/slerp")
        found.append([float(re.search(rf"{name}[\s│]+(\S+)", told)[1]) for name in names])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_another_batch_size_goes_on_with_the_pictures_that_were_not_seen(run: Run, tmp_path: Path, monkeypatch):
    seen: list[tuple[int, bytes]] = []
    usual = VAETraining.training_step

    def watch(self, x, batch_idx):
        seen.extend((self.current_epoch, picture.numpy().tobytes()) for picture in x)
        if len(seen) == 64:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, x, batch_idx)

    small = Run(tmp_path, run.pictures, run.cache, "", "")
    monkeypatch.setattr(VAETraining, "training_step", watch)
    with pytest.raises(SystemExit):
        train.main(small.arguments(*QUICK))
    stopped = checkpoint.read(small.checkpoints / "last.ckpt")
    assert (stopped["global_step"], stopped["plan"]["pictures_seen"]) == (8, 41 + 3 * 8)
    train.main(small.arguments(*QUICK, "--ckpt_path=last", "--data.batch_size=4"))
    second = [picture for epoch, picture in seen if epoch == 1]
    assert len(second) == len(set(second)) == 40
    rates = [event.value for event in events(small.logs).Scalars("train/lr")]
    assert len(rates) == 8 + 4
