"""The READMEs are true: commands and Python run, links lead somewhere, the options and files that they name exist."""

import contextlib
import functools
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from clicks import click_track, save_wave
from conftest import scene
from parsers import short_start  # noqa: F401
from readme import KEYFRAMES, PAGES, PROGRAMS, ROOT, SHIPPED, Page, recipes

import render
import train
from vae import checkpoint

LONGEST = {Path("README.md"): 170}
OTHER_PROGRAMS = {  # what tests them
    "python3 -m venv": ".ci/run",
    "pip install": ".ci/run",
    "ruff ": ".ci/run",
    "pytest": ".ci/run",
    "tensorboard ": "training/test_tensorboard.py",
    "torchrun ": "training/test_together.py",
    "srun ": "training/test_together.py",
    "python -m tests.benchmarks": "those who have the sets",
    "python -m tests.gpu": "gpu/test_gpu.py",
    "python -m pytest ": "gpu/test_gpu.py",
    "#": "the shell",
}
DOWNLOADS = {"CIFAR10"}

HEALTH = ["--health.pairs=1", "--health.pictures=2", "--health.frames=3", "--trainer.enable_progress_bar=false"]
FEW = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--data.limit=100", *HEALTH]
TINY = ["--data.image_size=32", "--model.width=8", "--watch.frames=3", *FEW]
MOVING = ["--frames=4", "--size=32", "--tune=2"]
LONG = {"tour": ["--frames=2", "--size=32"]}
STILL = {command: ["--size=32", "--tune=2"] for command in ("strip", "traverse", "analogy")}
SMALL = STILL | LONG | {"samples": ["--size=32"], "lines": ["--pairs=8"], "explore": ["--tune=2"], "export": []}
SMALL |= {"growth": ["--size=32", "--seconds=1"]}


@pytest.fixture(params=PAGES, ids=lambda page: str(page.path))
def page(request: pytest.FixtureRequest) -> Page:
    return request.param


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings."""
    headings = re.findall(r"^#+ (.*)", text, re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_commands_and_python_are_found_in_their_order():
    text = """# X\n\nA.\n\n    python train.py fit  # here\n    pip install x\n\n```python\nif x:\n\n    y\n```\n
- z\n    python no.py\n\n    python render.py a 'b c'\n"""
    page = Page(Path("x.md"), text)
    assert page.steps == [["train.py", "fit"], "if x:\n\n    y\n", ["render.py", "a", "b c"]]
    assert page.shell == ["python train.py fit  # here", "pip install x", "python render.py a 'b c'"]
    assert sum(len(page.commands) for page in PAGES) >= 45


def test_pages_are_short_and_open_with_a_sentence(page: Page):
    assert len(page.text.splitlines()) <= LONGEST.get(page.path, 200)
    title, blank, opening, *_ = page.text.splitlines()
    assert title.startswith("# ")
    assert not blank
    assert re.match(r"[A-Z`]\w+", opening)


def test_pictures_and_links_lead_somewhere(page: Page):
    assert all(picture.stat().st_size > 1000 for picture in page.pictures)
    assert {picture.stem for picture in page.pictures} <= recipes().keys() | {"patterns", "tensorboard", "projector"}
    for target, anchor in re.findall(r"(?<!!)\[[^\]]*\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.prose):
        path = (ROOT / page.path.parent / target).resolve() if target else ROOT / page.path
        assert path.exists(), target
        assert not anchor or anchor in anchors(Page(path, path.read_text()).prose), f"{target}#{anchor}"


def test_each_line_of_shell_is_run_here_or_elsewhere(page: Page):
    for line in page.shell:
        assert line.startswith((*PROGRAMS, *OTHER_PROGRAMS)), line


def test_files_and_names_that_are_named_exist(page: Page):
    for name in re.findall(r"`([\w./]+/|[\w./]*/[\w.]+\.(?:py|yaml|html|ckpt)|\.ci/run)`", page.prose):
        assert any((place / name).exists() for place in (ROOT, ROOT / page.path.parent)) or name.startswith(
            ("renders/", "checkpoints/", "logs/")
        ), name
    if page.path.name == "CONTRIBUTING.md":
        sources = "\n".join(path.read_text() for room in ("data", "vae") for path in (ROOT / room).rglob("*.py"))
        for name in set(re.findall(r"`(\w*[A-Z]\w*|\w+_\w+)`", page.prose)):
            assert re.search(rf"\b{name}\b", sources), name


@functools.cache
def options_of(program: str, command: str) -> frozenset[str]:
    """The options in the help of a command."""
    help_text = io.StringIO()
    with contextlib.redirect_stdout(help_text), pytest.raises(SystemExit):
        {"train.py": train.main, "render.py": render.main}[program]([command, "--help", "all"])
    flags = {flag.replace("-", "_") for flag in re.findall(r"--([\w.-]+)", help_text.getvalue())}
    return frozenset(flags | {flag.partition(".")[0] for flag in flags if "." in flag})  # a group of options is one


def options_in(text: str) -> set[str]:
    """The options that a text names, spelled as in the help."""
    names = re.findall(r"(?<![\w-])--([a-z][\w.-]*\w)", text)
    return {name.replace("-", "_") for name in names}


def test_options_that_are_named_exist(page: Page):
    known: set[str] = set()
    for program, *words in (words for each in PAGES for words in each.commands if words[0] != "-m"):
        command = "fit" if program == "train.py" and words[0].startswith("--") else words[0] if words else "slerp"
        known |= options_of(program, command)
        if program != "render.py" or words:
            assert options_in(" ".join(words)) <= options_of(program, command), words
    others = [line for line in page.shell if line.startswith(tuple(OTHER_PROGRAMS))]
    text = functools.reduce(lambda text, line: text.replace(line, ""), others, page.text)
    assert options_in(text) <= known, options_in(text) - known


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the commands name; the newest checkpoint in it is of a tiny model."""
    folder = tmp_path_factory.mktemp("template")
    for name in ("home/pictures", "icons", "SETS/base", "checkpoints"):
        (folder / name).mkdir(parents=True)
    for seed in range(40):
        scene(seed).save(folder / "home/pictures" / f"{seed}.png")
        for name in ("icons", "SETS/base"):
            scene(seed).save(folder / name / f"{seed}.png")
    for number, name in enumerate(("smiling", "sad")):
        (folder / name).mkdir()
        for seed in range(4):
            scene(100 + 4 * number + seed).save(folder / name / f"{seed}.png")
    for number, name in enumerate(("bag", "boot", "dress", "sandal", "sneaker", "trouser")):
        (folder / "home/clothes" / name).mkdir(parents=True)
        for seed in range(4):
            scene(200 + 4 * number + seed).save(folder / "home/clothes" / name / f"{seed}.png")
    for name in ("cat", "dog", "a", "b", "c", "d"):
        scene(ord(name[0])).save(folder / f"{name}.png")
    save_wave(folder / "song.ogg", click_track(2, [0.5, 1.2]))
    for name in (SHIPPED, "checkpoints/lines.ckpt", "checkpoints/pictures.ckpt"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / KEYFRAMES, folder / KEYFRAMES)
    with at(folder):
        train.main(["fit", *TINY])
        for name in ("a.ckpt", "b.ckpt"):
            shutil.copyfile("checkpoints/patterns/version_0/last.ckpt", name)
    return folder


@contextlib.contextmanager
def at(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("WANDB_MODE", "offline")
        patch.chdir(folder)
        yield


def squeezed(code: str) -> str:
    """Code without what a formatter may change."""
    return "".join(code.replace('"', "'").split()).replace(",)", ")")


def run(words: list[str]) -> None:
    """Runs a command, as small as it can be without becoming another one."""
    program, *rest = words
    for option in ("--minutes", "--realism.every_n_epochs"):  # few steps or frames take its place, and few pictures
        if option in rest:
            place = rest.index(option)
            rest = rest[:place] + rest[place + 2 :]
    if program == "-m":
        checkpoint.main(rest[1:])
    elif program == "render.py":
        if rest[:1] == ["studio"]:  # a server, which tests/render/test_studio.py runs
            return
        for plan in [rest] if rest else [["linear"], ["compare"]]:
            count = ["--count=3"] if "--count" in plan and not {"noise", "--durations"} & set(plan) else []
            paths = ["--paths=slerp"] if "33" in plan else []  # of a model that is not tiny
            own = {"--durations", "--audio"} & set(plan)  # they say how many frames
            small = [word for word in SMALL.get(plan[0], MOVING) if not own or "--frames" not in word]
            render.main([*plan, *small, *count, *paths])
    elif any(word.startswith("--print_config") for word in rest):
        written = io.StringIO()
        with contextlib.redirect_stdout(written), pytest.raises(SystemExit) as done:
            train.main(rest[: rest.index(">")])
        assert not done.value.code
        Path(rest[-1]).write_text(written.getvalue())
    else:
        more = ["--trainer.max_epochs=2"] if rest[-1] == "last" or "folders" in rest else []
        more += ["--model.decoder_share=0.9"] if "folders" in rest else []  # classes are learnt when it begins
        train.main([*rest, *(HEALTH if rest[0] in ("validate", "test") else [*TINY, *more])])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_commands_and_python_run(page: Page, template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    place = shutil.copytree(template, tmp_path / "place")
    with at(place):
        for step in page.steps:
            if isinstance(step, list):
                if not DOWNLOADS & set(step):
                    capsys.readouterr()
                    run(step)
                if "vae_weights.pth" in step:
                    (printed,) = re.findall("^model = .*", capsys.readouterr().out, re.M)
                    assert squeezed(printed) in squeezed(page.text)
            else:
                gan = torch.nn.Sequential(torch.nn.ConvTranspose2d(100, 3, 64), torch.nn.Tanh())
                names: dict[str, object] = {"generator": gan}
                exec(step, names)
                assert any(isinstance(value, torch.Tensor) for value in names.values())
