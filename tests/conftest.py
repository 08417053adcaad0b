"""Pictures as people have them, and one small training that many tests look into."""

import contextlib
import io
import os
import random
import re
import shutil
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from data.datamodule import ImageData
from vae.render.formats.format import FORMATS
from vae.render.formats.video import encode_video
from vae.tuning import keyframe_tuning

REMARK = re.compile("Skipped |Left out: |White is |[0-9,]+ files? holds? more than one picture")
BAR = re.compile(r"Looking into|Preparing|(.*: +| *)[0-9]+%\|")
torch.set_num_threads(1)  # the models are too small to share
SIDE, FRAMES, EPOCHS = 32, 4, 2
VIDEO = tuple(suffix for suffix, form in FORMATS.items() if form.encoder is encode_video)
QUICK = ["--watch.every_n_epochs=0", "--health.pairs=1", "--health.pictures=2", "--health.frames=3"]  # little measured
TOGETHER = ["--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp"]  # two processes


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Whole suites run on several cores; benchmarks alone, and named tests sooner than workers would start."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return 0 if named or config.option.markexpr == "benchmark" else min(os.cpu_count() or 1, 4)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds a model that another one, or the user, has fitted to the same pictures."""
    monkeypatch.setattr(keyframe_tuning, "CACHE", str(tmp_path_factory.getbasetemp() / f"fitted-{uuid.uuid4().hex}"))


def scene(seed: int, width: int = 60, height: int = 48) -> Image.Image:
    """A smooth RGB picture unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def fill_with_odd_pictures(folder: Path) -> tuple[int, int]:
    """Writes pictures of every kind, flat and nested, and broken ones; returns how many of each."""
    nested = folder / "a" / "b"
    nested.mkdir(parents=True)
    for seed in range(40):
        scene(seed).save(folder / f"plain{seed}.png")
    rgba = scene(50).convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize(rgba.size))
    rgba.save(folder / "rgba.png")
    scene(51).quantize(16).save(folder / "palette.png")
    scene(52).quantize(16).save(nested / "animated.gif", save_all=True, append_images=[scene(53).quantize(16)])
    Image.fromarray(np.linspace(0, 65535, 48 * 60).reshape(48, 60).astype(np.uint16)).save(folder / "deep.png")
    scene(54).convert("CMYK").save(folder / "print.jpg", quality=95)
    scene(55).save(nested / "photo.JPEG", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6
    scene(56).save(folder / "turned.jpg", quality=95, exif=turned)
    scene(57).convert("L").save(folder / "grey.webp", lossless=True)
    scene(58).save(folder / "old.bmp")
    scene(59).save(nested / "scan.tiff")
    scene(60).save(folder / "new.avif")
    good = 40 + 11
    whole = (folder / "plain0.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "letter.png").write_text("Dear reader, I am not a picture.")
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden.png").write_text("not looked at either")
    return good, 2


def fill(folder: Path, count: int) -> Path:
    """Writes so many ordinary pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        scene(index).save(folder / f"{index}.png")
    return folder


def data_of(tmp_path: Path, folder: Path, **options: Any) -> ImageData:
    """A folder's pictures, cached beside it."""
    return ImageData(str(folder), 32, cache_dir=str(tmp_path / "cache"), val_fraction=0.4, **options)


def count_of(data: ImageData) -> int:
    """How many pictures it serves."""
    data.prepare_data()
    data.setup("fit")
    return len(data.train_set) + len(data.val_set)


def faults_in(told: str) -> list[str]:
    """The lines on standard error that are no remark on the pictures of a folder."""
    return [line for line in without_bars(told) if not REMARK.match(line)]


def told_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was written to standard error since the last look, but for progress bars."""
    return without_bars(capsys.readouterr().err)


def without_bars(told: str) -> list[str]:
    """Lines, but for progress bars, which slow machines show."""
    lines = told.replace("\r", "\n").splitlines()
    return [line for line in lines if line.strip() and not BAR.match(line)]


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """A file with something wrong in it: flipped bits, or a stretch that is lost, doubled, zeroed or elsewhere."""
    start = chance.randrange(len(whole))
    end = min(len(whole), start + chance.choice([1, 4, 64, 1024, len(whole)]))
    before, middle, after = (memoryview(whole)[part] for part in (slice(start), slice(start, end), slice(end, None)))
    flipped = bytearray(whole)
    for _ in range(chance.choice([1, 8, 64])):
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    around = ([before, *parts, after] for parts in ([bytes(len(middle))], [middle, middle], []))
    return b"".join(chance.choice([[flipped], *around, [after, middle, before], [before]]))


@dataclass(frozen=True)
class Run:
    """What one `train.main()` left behind."""

    root: Path
    pictures: Path
    cache: Path
    output: str
    errors: str

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints" / "pictures" / "version_0"

    @property
    def logs(self) -> Path:
        return self.root / "logs" / "pictures" / "version_0"

    def arguments(self, *more: str) -> list[str]:
        return [
            "fit",
            f"--trainer.default_root_dir={self.root}",
            f"--data.source={self.pictures}",
            f"--data.cache_dir={self.cache}",
            f"--data.image_size={SIDE}",
            "--data.batch_size=8",
            "--data.val_fraction=0.2",
            "--model.latent_dim=4",
            "--model.width=8",
            "--model.inactive_below=0",  # so few steps teach latents so little that none would move a morph
            f"--trainer.max_epochs={EPOCHS}",
            "--trainer.log_every_n_steps=1",
            "--trainer.enable_progress_bar=false",
            f"--watch.frames={FRAMES}",
            "--health.pairs=2",
            "--health.pictures=8",
            *more,
        ]


def heed():
    """Signals that a job in the background, or one of nohup's, ignores."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def film(count=12, side=96):
    """A coarse noise picture that drifts: hard to compress, but not as hard as noise."""
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 256, (14, 30, 3), dtype=np.uint8)).resize((side * 2, side))
    return [np.asarray(wide.crop((3 * k, 0, 3 * k + side, side))) for k in range(count)]


def copy(run: Run, tmp_path: Path) -> Run:
    shutil.copytree(run.root, tmp_path / "copy")
    return Run(tmp_path / "copy", run.pictures, run.cache, "", "")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    fill_with_odd_pictures(root / "pictures")
    with pytest.MonkeyPatch.context() as patch:
        output, errors = io.StringIO(), io.StringIO()
        patch.chdir(root)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            planned = Run(root, root / "pictures", root / "cache", "", "")
            train.main(planned.arguments())
    return Run(root, root / "pictures", root / "cache", output.getvalue(), errors.getvalue())


@contextlib.contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of folders are decoded in this process."""
    from in_process import InProcess

    monkeypatch.setattr("data.image_files.decode_pool.WorkerProcess", InProcess)


@pytest.fixture
def one_line_error(capsys: pytest.CaptureFixture[str]):
    """Runs a command that must end with that exit code and one line on standard error; returns that line."""

    def check(main, *args: str, code: int = 2) -> str:
        with pytest.raises(SystemExit) as caught:
            main(list(args))
        assert caught.value.code == code
        lines = faults_in(capsys.readouterr().err)
        assert len(lines) == 1, lines
        return lines[0]

    return check
