"""A wheel has all that the programs need, claims few names, and runs from any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from readme import ROOT

pytestmark = pytest.mark.slow
FEW = ["--data.limit=64", "--data.cache_dir=cache", "--trainer.enable_progress_bar=false", "--watch.every_n_epochs=0"]
FEW += ["--health.pairs=1", "--health.pictures=2", "--health.frames=3", "--data.batch_size=16"]
SPY = """
import lightning.pytorch as pl

class Spy(pl.Callback):
    def on_fit_end(self, trainer, pl_module):
        open(f"rank{trainer.global_rank}of{trainer.world_size}", "x").close()
"""


def run(command: list[object], place: Path, **more: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | more
    return subprocess.run(
        list(map(str, command)), cwd=place, env=variables, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a source distribution, as `python -m build` does."""
    place = tmp_path_factory.mktemp("build")
    ignored = shutil.ignore_patterns(".git", "build", "dist", "*.egg-info", "logs", "renders", "version_*", ".venv")
    shutil.copytree(ROOT, place / "source", ignore=ignored)
    build = "import sys; from setuptools import build_meta; getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2])"
    made = run([sys.executable, "-c", build, "sdist", place], place / "source")
    assert made.returncode == 0, made.stderr
    (archive,) = place.glob("*.tar.gz")
    shutil.unpack_archive(archive, place, filter="data")
    made = run([sys.executable, "-c", build, "wheel", place], place / archive.name.removesuffix(".tar.gz"))
    assert made.returncode == 0, made.stderr
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has the wheel, and the libraries of this one."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False, symlinks=True)
    variables = {"base": str(place), "platbase": str(place)}
    packages = Path(sysconfig.get_path("purelib", "venv", variables))
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    own = Path(sysconfig.get_path("scripts", "venv", variables))
    install = [sys.executable, "-m", "pip", "--python", own / "python", "install", "--no-deps", "--no-index"]
    installed = run([*install, "--ignore-installed", wheel], place)
    assert installed.returncode == 0, installed.stderr
    return own


def test_a_wheel_claims_two_names_and_has_the_models(wheel: Path):
    with zipfile.ZipFile(wheel) as files:
        names = {name for name in files.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"data", "vae"}
    assert {f"vae/checkpoints/{path.name}" for path in (ROOT / "checkpoints").glob("*.ckpt")} <= names
    sources = {path.relative_to(ROOT).as_posix() for room in ("data", "vae") for path in (ROOT / room).rglob("*.*")}
    assert {name for name in sources if name.endswith((".py", ".html", ".yaml"))} <= names


def test_the_console_command_renders_from_an_empty_folder(programs: Path, tmp_path: Path):
    done = run([programs / "latent-loom", "render", "strip", "--count=2", "--steps=3", "--size=32"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "vae/checkpoints/patterns.ckpt" in done.stdout.splitlines()[0].replace(os.sep, "/")
    assert " Next: latent-loom render compare " in done.stdout
    assert [path.name for path in tmp_path.rglob("*.*")] == ["strip.png"]


def test_the_console_command_trains_in_two_processes_and_goes_on(programs: Path, tmp_path: Path):
    (tmp_path / "spy.py").write_text(SPY)
    words = [programs / "latent-loom", "train", "fit", "--config=tiny", "--trainer.accelerator=cpu", *FEW]
    words += ["--trainer.callbacks=spy.Spy"]
    done = run([*words, "--trainer.devices=2", "--trainer.max_steps=2"], tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("rank*")} == {"rank0of2", "rank1of2"}
    assert "Render: latent-loom render slerp --checkpoint checkpoints/patterns/version_0/last.ckpt" in done.stdout
    words += ["--ckpt_path=last", "--trainer.max_steps=3"]
    assert run(words, tmp_path, PYTHONPATH=str(tmp_path)).returncode == 0
    assert [path.name for path in tmp_path.glob("checkpoints/*/*")] == ["version_0"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trian"], "latent-loom: trian: no such program; did you mean train?"),
        (["train", "fitt"], "latent-loom train: fitt: no such command, file or folder; did you mean fit?"),
        (["render", "slerp", "--x=1"], "latent-loom render: --x: no such option; see latent-loom render slerp --help"),
        (
            ["render", "slerp", "--checkpoint=none.ckpt"],
            "latent-loom render: none.ckpt: no such checkpoint; train one with latent-loom train",
        ),
    ],
)
def test_mistakes_name_the_console_command(words: list[str], line: str, programs: Path, tmp_path: Path):
    done = run([programs / "latent-loom", *words], tmp_path)
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (2, "", [line])


@pytest.mark.parametrize("word", ["", "--help"])
def test_help_names_the_programs(word: str, programs: Path, tmp_path: Path):
    done = run([programs / "latent-loom", *filter(None, [word])], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "latent-loom train --help" in done.stdout


@pytest.mark.parametrize("name", ["data/picture.png", "data.py", "data/__init__.py"])
def test_a_folder_of_pictures_called_data_does_no_harm_and_a_module_is_named(name: str, programs: Path, tmp_path: Path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / "script.py").write_text("import vae.console")
    assert run([programs / "latent-loom", "--help"], tmp_path).returncode == 0
    done = run([programs / "python", "script.py"], tmp_path)
    if name.endswith(".py"):
        hidden = f"ImportError: {tmp_path / name}: hides the package `data` that vae needs; give it another name"
        assert done.stderr.splitlines()[-1] == hidden
    else:
        assert done.returncode == 0, done.stderr
