"""The README's commands, and the pictures that they make.

    python tests/readme.py

runs those commands whose result is shown there, trainings too, and makes every picture anew.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from conftest import chromium
from PIL import Image
from test_tensorboard import main as picture_of_tensorboard

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = "checkpoints/patterns.ckpt"
PAD = "explore.html#set=0&x=0.6&y=0.4"
_PROGRAMS = ("python train.py", "python render.py", "python -m vae.checkpoint")


def commands(text: str) -> list[list[str]]:
    """The words of every command in the indented blocks of a text that starts one of our programs, without comments."""
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(_PROGRAMS)]


def blocks(text: str) -> list[str]:
    """The Python of a text."""
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def shown(text: str) -> list[Path]:
    """The pictures that a text shows, in their order."""
    return [Path(name) for name in re.findall(r"!\[[^\]]*\]\(([^ )]+)", text)]


def _result(words: list[str]) -> Path:
    """What a rendering command writes."""
    suffix = {"explore": ".html", "strip": ".png", "traverse": ".png", "samples": ".png"}.get(words[1], ".gif")
    return Path(words[words.index("--out") + 1]) if "--out" in words else Path(f"renders/{words[1]}{suffix}")


def _screenshot(page: Path, picture: Path) -> None:
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 560, "height": 720})
        tab.goto(f"file://{page}")
        tab.wait_for_selector("html[data-ready]")
        tab.screenshot(path=picture)


def _run(words: list[str], place: Path) -> None:
    subprocess.run([sys.executable, ROOT / words[0], *words[1:]], cwd=place, check=True)


def _make(picture: Path, words: list[str], place: Path) -> None:
    """Runs a command in a place of its own and keeps its result as a picture of the README."""
    _run([*words, *([] if "--checkpoint" in words else ["--checkpoint", SHIPPED])], place)
    made, target = place / _result(words), ROOT / picture
    if made.suffix == ".html":
        _screenshot(made.with_name(PAD), made := place / "pad.png")
        Image.open(made).convert("RGB").quantize(128).save(target)
    elif target.suffix == made.suffix == ".gif":
        shutil.copyfile(made, target)
    else:
        with Image.open(made) as image:
            image.seek(9 if made.suffix == ".gif" else 0)
            still = image.convert("RGB")
        (still.quantize(256) if made.suffix == ".gif" else still).save(target, optimize=True)


def main() -> None:
    """Makes each picture by the first command of the README whose result is called so, or for the pad is a page.

    Those of TensorBoard and of the patterns come from the default training and from the README's Python; what is
    rendered from a checkpoint of another training comes after that.
    """
    text = (ROOT / "README.md").read_text()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "checkpoints").mkdir()
        shutil.copyfile(ROOT / SHIPPED, place / SHIPPED)
        rendered = {}
        for words in commands(text):
            if words[0] == "render.py" and words[1:]:
                rendered.setdefault("pad" if words[1] == "explore" else _result(words).stem, words)
            elif "--trainer.default_root_dir" in words:
                _run(words, place)
        for picture in shown(text):
            if picture.stem in rendered:
                _make(picture, rendered[picture.stem], place)
        for code in blocks(text):
            if "save_image" in code:
                subprocess.run(
                    [sys.executable, "-c", code], cwd=place, env=os.environ | {"PYTHONPATH": ROOT}, check=True
                )
                shutil.copyfile(place / "patterns.png", ROOT / ".github/patterns.png")
        _run(["train.py"], place)
        picture_of_tensorboard(f"{place}/logs", f"{ROOT}/.github/tensorboard.png")


if __name__ == "__main__":
    main()
