"""Training: the step, what is around it, and the data."""

import time

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks import on_all_and_one
from data.datamodule import ImageData
from data.rng import uniform
from data.synthetic.patterns import FACTORS, draw_patterns, patterns
from data.transforms import to_tensor
from vae.model.elbo import Elbo, kl_divergence
from vae.model.vae import VAE
from vae.training.health_logger import HealthLogger
from vae.training.loggers.morph_logger import MorphLogger
from vae.training.module import VAETraining
from vae.training.optimizer import clip_gradients

pytestmark = pytest.mark.benchmark
BATCH = 32


def step_of(vae, optimizer, x, autocast):
    """One plain step on the ELBO."""

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            mu, logvar = vae.encode(x)
            logits = vae.logits(vae.reparameterize(mu, logvar, torch.randn_like(mu)))
            elbo = Elbo(vae.likelihood.log_prob(logits, x), kl_divergence(mu, logvar))
            loss = (10.0 * elbo.kl.sum(1) - elbo.reconstruction).mean() / vae.dims
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@on_all_and_one
def test_a_step_in_our_precision_against_plain_float32(report, in_turn, matrix_rate):
    x = to_tensor(patterns(0, torch.arange(BATCH), 64))
    steps = []
    for layout, autocast in ((torch.channels_last, True), (torch.contiguous_format, False)):
        vae = VAE().to(memory_format=layout)
        optimizer = torch.optim.AdamW(vae.parameters(), fused=autocast)
        steps.append(step_of(vae, optimizer, x.contiguous(memory_format=layout), autocast))
    ours, theirs = in_turn(*steps, repeats=15)
    with FlopCounterMode(display=False) as counter:
        steps[1]()
    report(
        "training step: times faster than plain float32 NCHW",
        theirs / ours,
        2,
        detail=f"{BATCH / ours:.0f} images/s",
        promise=1.2,
        limit=theirs / (counter.get_total_flops() / matrix_rate(torch.bfloat16)),
    )


class Clock(pl.Callback):
    """When each step of the Trainer ended."""

    def __init__(self):
        self.ends = []

    def on_train_batch_end(self, *_):
        self.ends.append(time.perf_counter())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    data = ImageData(limit=2048, cache_dir=str(tmp_path_factory.mktemp("cache")))
    data.prepare_data()
    data.setup("fit")
    return data


@on_all_and_one
def test_what_lightning_and_logging_add_to_a_step(report, images, tmp_path):
    """The Trainer with its logger, bar and average of the weights, and a bare loop of the same step, in turn."""
    theirs, bare = [], []
    for _ in range(3):
        clock, module = Clock(), VAETraining(decoder_share=0.0)
        trainer = pl.Trainer(
            default_root_dir=tmp_path, max_steps=60, precision="bf16-mixed", callbacks=[clock],
            enable_checkpointing=False, enable_model_summary=False, limit_val_batches=0, gradient_clip_val=1.0,
        )  # fmt: skip
        trainer.fit(module, images)
        images.trainer = None  # which would go on where it stopped
        theirs += list(np.diff(clock.ends[10:]))
        (optimizer,) = trainer.optimizers
        ends = []
        for batch in images.train_dataloader():
            x = images.on_after_batch_transfer(batch, 0)
            with torch.autocast("cpu", torch.bfloat16):
                loss = module.training_step(x, 0)
            optimizer.zero_grad()
            loss.backward()
            clip_gradients([module.vae, module.discriminator], 1.0)
            optimizer.step()
            ends.append(time.perf_counter())
        bare += list(np.diff(ends[10:]))
    whole, least = float(np.median(theirs)), float(np.median(bare))
    what = "Lightning, logging, callbacks, averaging: over a bare loop"
    detail = f"{1e3 * (whole - least):.1f} ms on {1e3 * least:.0f}"
    report(what, whole / least - 1, 0.03, more=False, detail=detail, promise=0.15)


def test_the_share_of_the_callbacks_in_an_epoch_of_the_default_run(report, images, tmp_path):
    spent = []

    def timed(callback):
        finish = callback.on_validation_epoch_end

        def run(*words):
            start = time.perf_counter()
            finish(*words)
            spent.append(time.perf_counter() - start)

        callback.on_validation_epoch_end = run
        return callback

    clock = Clock()
    trainer = pl.Trainer(
        default_root_dir=tmp_path, max_epochs=2, limit_train_batches=60, precision="bf16-mixed",
        callbacks=[clock, timed(HealthLogger()), timed(MorphLogger())],
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(VAETraining(), images)
    images.trainer = None
    seconds = sum(spent[2:])  # of the second epoch: in the first the charts are laid out too
    epoch = 486 * float(np.median(np.diff(clock.ends)))
    detail = f"{seconds:.1f} s of {epoch + seconds:.0f} s"
    what = "an epoch's health, morphs and pictures: share of the default's"
    report(what, seconds / (epoch + seconds), 0.05, more=False, detail=detail, promise=0.15)


@on_all_and_one
def test_the_loader_against_image_folder(report, in_turn, tmp_path):
    for kind in ("png", "jpg"):
        folder = tmp_path / kind
        (folder / "all").mkdir(parents=True)
        for index, picture in enumerate(patterns(1, torch.arange(1024), 128)):
            Image.fromarray(picture.numpy()).save(folder / "all" / f"{index:04d}.{kind}")
        usual = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor()])
        theirs = DataLoader(ImageFolder(folder, usual), BATCH, shuffle=True)
        ours = ImageData(str(folder), cache_dir=str(tmp_path / "cache"), val_fraction=0.1)
        ours.prepare_data()
        ours.setup("fit")
        loader = ours.train_dataloader()

        def mine(loader=loader, ours=ours):
            return sum(len(ours.on_after_batch_transfer(batch, 0)) for batch in loader)

        def usually(theirs=theirs):
            return sum(len(x) for x, _ in theirs)

        a, b = in_turn(mine, usually, repeats=5)
        ratio = (b / usually()) / (a / mine())
        report(f"an image from a folder, epoch 2, {kind}: times faster than ImageFolder", ratio, 25, promise=10)


@on_all_and_one
def test_the_share_of_data_in_a_step(report, in_turn, images):
    x = to_tensor(patterns(0, torch.arange(BATCH), 64)).contiguous(memory_format=torch.channels_last)
    vae = VAE().to(memory_format=torch.channels_last)
    batches = iter(images.train_dataloader())
    load, step = in_turn(
        lambda: images.on_after_batch_transfer(next(batches), 0),
        step_of(vae, torch.optim.AdamW(vae.parameters()), x, True),
        repeats=15,
    )
    report("the loader's share of a training step", load / (load + step), 0.02, more=False, promise=0.05)
    (made,) = in_turn(lambda: patterns(2, torch.arange(BATCH), 64), repeats=15)
    report("drawing a batch of patterns, over a training step", made / step, 0.05, more=False, promise=0.5)


@on_all_and_one
def test_patterns_in_batches_against_one_by_one(report, in_turn):
    """In batches of 32, which is how they are drawn for the cache."""
    factors = uniform(0, torch.arange(BATCH), len(FACTORS))

    def one_by_one():
        for factor in factors:
            draw_patterns(factor[None], 64)

    theirs, ours = in_turn(one_by_one, lambda: draw_patterns(factors, 64), repeats=15)
    report("patterns in a batch: times faster than one by one", theirs / ours, 5, promise=1.2)
