"""The README's commands, and the pictures that they make.

    python tests/readme.py

runs those commands whose result is shown there and makes every picture anew.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = "checkpoints/patterns.ckpt"
PAD = "explore.html#set=0&x=0.6&y=0.4"
_PROGRAMS = ("python train.py", "python render.py", "python -m vae.checkpoint")


def commands(text: str) -> list[list[str]]:
    """The words of every command in the indented blocks of a text that starts one of our programs, without comments."""
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(_PROGRAMS)]


def shown(text: str) -> list[Path]:
    """The pictures that a text shows, in their order."""
    return [Path(name) for name in re.findall(r"!\[[^\]]*\]\(([^ )]+)", text)]


def _result(words: list[str]) -> Path:
    """What a rendering command writes."""
    suffix = {"explore": ".html", "strip": ".png", "traverse": ".png", "samples": ".png"}.get(words[1], ".gif")
    return Path(words[words.index("--out") + 1]) if "--out" in words else Path(f"renders/{words[1]}{suffix}")


def _screenshot(page: Path, picture: Path) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 560, "height": 720})
        tab.goto(f"file://{page}")
        tab.wait_for_selector("html[data-ready]")
        tab.screenshot(path=picture)
        browser.close()


def _make(picture: Path, words: list[str], place: Path) -> None:
    """Runs a command in a place of its own and keeps its result as a picture of the README."""
    checkpoint = [] if "--checkpoint" in words else ["--checkpoint", SHIPPED]
    subprocess.run([sys.executable, ROOT / "render.py", *words[1:], *checkpoint], cwd=place, check=True)
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
    """Makes each picture by the first command of the README whose result is called so, or for the pad is a page."""
    text = (ROOT / "README.md").read_text()
    rendered = {}
    for words in commands(text):
        if words[0] == "render.py" and words[1:]:
            rendered.setdefault("pad" if words[1] == "explore" else _result(words).stem, words)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "checkpoints").symlink_to(ROOT / "checkpoints")
        for picture in shown(text):
            if picture.stem in rendered:
                _make(picture, rendered[picture.stem], Path(place))
            else:
                print(f"{picture}: no command in the README makes it", flush=True)


if __name__ == "__main__":
    main()
