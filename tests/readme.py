"""The READMEs: their commands, Python and pictures.

    python tests/readme.py

runs the commands whose results the READMEs show, trainings too, and makes every picture again.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from conftest import chromium
from PIL import Image

from vae.render.cli.shorthand import expand as render_words
from vae.training.cli.shorthand import expand as train_words

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = "checkpoints/patterns.ckpt"
KEYFRAMES = ".github/keyframes"
PROGRAMS = ("python train.py", "python render.py", "python -m vae.checkpoint")
_FOLDERS = (".github", "checkpoints", "data", "tests", "vae")
_BLOCK = re.compile(
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```\n|(?:(?<=\n\n)|\A)(?P<shell>(?: {4}\S[^\n]*\n)+)",
    re.MULTILINE | re.DOTALL,
)
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^ )]+)")
_OF_SETS = {"classes", "tensorboard", "projector"}  # pictures of trainings on sets that have to be fetched first
_PAD = "explore.html#set=0&x=0.6&y=0.4"


@dataclass(frozen=True)
class Page:
    """A README.

    Attributes:
        path: relative to the root of the repository.
        text: Markdown.
    """

    path: Path
    text: str

    @property
    def prose(self) -> str:
        """The text without blocks of shell and of code."""
        return _BLOCK.sub("\n", self.text)

    @property
    def shell(self) -> list[str]:
        """The lines of the indented blocks."""
        return [line for step in self._blocks() if isinstance(step, list) for line in step]

    @property
    def steps(self) -> list[list[str] | str]:
        """The words of each line that starts one of the programs, and each block of Python, in their order.

        Words are without `python` and comments, short forms in full.
        """
        found: list[list[str] | str] = []
        for block in self._blocks():
            if isinstance(block, str):
                found.append(block)
            else:
                found += [_in_full(shlex.split(line, comments=True)[1:]) for line in block if line.startswith(PROGRAMS)]
        return found

    def _blocks(self) -> list[list[str] | str]:
        """The lines of each block of shell, and the code of each block of Python."""
        found: list[list[str] | str] = []
        for block in _BLOCK.finditer(self.text):
            if block["shell"]:
                found.append([line.strip() for line in block["shell"].splitlines()])
            elif block["language"] == "python":
                found.append(block["code"])
        return found

    @property
    def commands(self) -> list[list[str]]:
        """The words of each line that starts one of the programs."""
        return [step for step in self.steps if isinstance(step, list)]

    @property
    def python(self) -> list[str]:
        """The blocks of Python."""
        return [step for step in self.steps if isinstance(step, str)]

    @property
    def pictures(self) -> list[Path]:
        """The files of the pictures, in their order."""
        return [(ROOT / self.path.parent / name).resolve() for name in _PICTURE.findall(self.text)]


def _in_full(words: list[str]) -> list[str]:
    """The words of a program with its command and the option that pictures belong to."""
    expand = {"render.py": render_words, "train.py": train_words}.get(words[0], list)
    return [words[0], *expand(words[1:])]


def _pages() -> list[Page]:
    found = [*ROOT.glob("*.md"), *(path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.md"))]
    return [Page(path.relative_to(ROOT), path.read_text()) for path in sorted(found)]


PAGES = _pages()


def _output(words: list[str]) -> Path:
    """The file that a rendering command writes."""
    suffix = {"explore": ".html", "strip": ".png", "traverse": ".png", "analogy": ".png", "samples": ".png"}.get(
        words[1], ".gif"
    )
    return Path(words[words.index("--out") + 1]) if "--out" in words else Path(f"renders/{words[1]}{suffix}")


def recipes() -> dict[str, list[str]]:
    """The command that makes a picture, by its name: the first with that output; `explore` for the pad."""
    found: dict[str, list[str]] = {}
    for words in (words for page in PAGES for words in page.commands if words[0] == "render.py" and words[1:]):
        found.setdefault("pad" if words[1] == "explore" else _output(words).stem, words)
    return found


def _screenshot(page: Path, picture: Path) -> None:
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 560, "height": 720})
        tab.goto(f"file://{page}")
        tab.wait_for_selector("html[data-ready]")
        tab.screenshot(path=picture)


def _run(words: list[str], place: Path) -> None:
    subprocess.run([sys.executable, ROOT / words[0], *words[1:]], cwd=place, check=True)


def _make(picture: Path, words: list[str], place: Path) -> None:
    """Runs a command and saves its result as a picture; that of a page is taken by its tests."""
    chosen = "--checkpoint" in words or words[1] == "growth"
    if words[1] == "studio":
        _run(["tests/render/test_studio.py", str(picture)], ROOT)
        return
    _run([*words, *([] if chosen else ["--checkpoint", SHIPPED])], place)
    made = place / _output(words)
    if made.suffix == ".html":
        _screenshot(made.with_name(_PAD), made := place / "pad.png")
        Image.open(made).convert("RGB").quantize(128).save(picture)
    elif picture.suffix == made.suffix == ".gif":
        shutil.copyfile(made, picture)
    else:
        with Image.open(made) as image:
            image.seek(9 if made.suffix == ".gif" else 0)
            still = image.convert("RGB")
        (still.quantize(256) if made.suffix == ".gif" else still).save(picture, optimize=True)


def main() -> None:
    """Makes each picture with its command.

    The picture of the patterns comes from the data's Python; those of sets are left as they are, see `_OF_SETS`.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "checkpoints").mkdir()
        for name in (SHIPPED, "checkpoints/pictures.ckpt"):
            shutil.copyfile(ROOT / name, place / name)
        shutil.copytree(ROOT / KEYFRAMES, place / KEYFRAMES)
        _run(["train.py"], place)
        for words in (words for page in PAGES for words in page.commands if "--trainer.default_root_dir" in words):
            _run(words, place)
        for code in (code for page in PAGES for code in page.python if "save_" in code):
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, "-c", code], cwd=place, env=environment, check=True)
        shutil.copyfile(place / "patterns.png", ROOT / ".github/patterns.png")
        for picture in {picture for page in PAGES for picture in page.pictures if picture.stem not in _OF_SETS}:
            if picture.stem in (commands := recipes()):
                _make(picture, commands[picture.stem], place)


if __name__ == "__main__":
    main()
