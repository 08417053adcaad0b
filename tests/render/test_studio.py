"""The page of `studio`: its logic, and in a real browser with `pytest -m browser` what a user does.

python tests/render/test_studio.py .github/studio.png    # a picture of the page
"""

import contextlib
import errno
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit
from urllib.request import urlopen

import av
import numpy as np
import pytest
from conftest import Run, chromium, scene
from PIL import Image
from tqdm import tqdm

import render
from data.fit import Fit
from data.image_files.reader import read_picture
from data.system.errors import StorageError, UserError
from vae.latent.timing import EASINGS
from vae.option_groups import parse_options
from vae.render.cli.commands import COMMANDS
from vae.render.cli.parser import build_parser
from vae.render.clips import Between
from vae.render.formats.format import FORMATS
from vae.render.models import SHIPPED
from vae.render.options import MotionOptions, PictureOptions
from vae.render.studio import markup, server
from vae.render.studio.film_options import FilmOptions, check_count
from vae.render.studio.rendering import Rendering, parse_bar
from vae.render.studio.sessions import Sessions
from vae.render.studio.training_log import CURVES, find_runs, fingerprint, newest_morphs, read_scalars, verdict_on
from vae.render.walks.paths import MEANINGS

ROOT = Path(__file__).parents[2]
LINES = SHIPPED.with_name("lines.ckpt")  # small and quick, and grey
PATIENCE = 150  # seconds, for a machine that does much else


def until(ask, patience=PATIENCE):
    """What is answered as soon as that is true of anything."""
    end = time.monotonic() + patience
    while not (answer := ask()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer


# --- the logic ---


@pytest.mark.parametrize("path", MEANINGS)
def test_every_choice_is_a_command_line(path: str, tmp_path: Path):
    usual = FilmOptions(path, 3.5, 384, ".gif", rest=0.5)
    others = {"easing": EASINGS, "suffix": FORMATS, "fit": get_args(Fit), "between": get_args(Between)}
    parser = build_parser(None, path)
    for option, value in [("fps", 25.0), *((option, value) for option, values in others.items() for value in values)]:
        options = replace(usual, **{option: value})
        out = tmp_path / f"film{options.suffix}"
        parsed = parser.parse_args(options.words(["1", "2", "3"], out, tmp_path / "a.ckpt"))[path].as_dict()
        found = {type(group): group for group in (parse_options(group, parsed) for group in COMMANDS[path].groups)}
        motion = found[MotionOptions]
        assert sum(motion.durations) == pytest.approx(3.5, abs=1e-3)
        assert len(motion.durations) == (3 if path == "loop" else 2)
        assert motion.hold == round(0.5 * motion.fps)
        assert found[PictureOptions].out == out
        assert option == "suffix" or parsed[option] == value


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_and_too_many_pictures_have_a_remedy(count: int):
    with pytest.raises(UserError, match=r"picture.*: a film goes through 2 to 8; (add|remove) \d"):
        check_count(count)


def test_what_a_progress_bar_says_is_read_from_it():
    drawn = io.StringIO()
    with tqdm(range(200), "Tuning", file=drawn, mininterval=0, miniters=1) as bar:
        for _ in bar:
            bar.set_postfix_str("28.3 dB", refresh=False)
    found = [parse_bar(line) for line in drawn.getvalue().split("\r") if line.strip()]
    assert all(found)
    assert [progress.share for progress in found] == sorted(progress.share for progress in found)
    assert (found[-1].stage, found[-1].share, found[-1].note) == ("Tuning", 1.0, "28.3 dB")


def test_a_files_name_is_shown_as_text():
    hostile = "<img src=x onerror=alert(1)>.png: not a readable picture; name another one"
    assert "<img" not in markup.note(hostile)
    assert "<img" not in markup.progress_bar(parse_bar("<img src=x>:  50%|##| 1/2 [00:01<00:01,  1.00s/it]"))


def test_sessions_have_their_own_files_which_go_with_them(tmp_path: Path):
    sessions, file = Sessions(tmp_path / "sessions"), tmp_path / "cat.png"
    sessions.folder.mkdir()
    scene(0).save(file)
    one, other = sessions["one"], sessions["other"]
    copies = [one.keep(file), one.keep(file), other.keep(file)]
    assert len(set(copies)) == 3
    assert {copy.name for copy in copies} == {"cat.png"}
    assert markup.without_folders(f"{copies[0]}: no", one.folder) == "cat.png: no"
    one.remove(copies[0])
    assert [copy.exists() for copy in copies] == [False, True, True]
    sessions.close("one")
    assert not one.folder.exists()
    assert copies[2].is_file()
    sessions.close_all()
    assert list(sessions.folder.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_no_part_of_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sessions, file = Sessions(tmp_path), tmp_path / "cat.png"
    scene(0).save(file)
    session = sessions["one"]

    def full(source: Path, copy: Path) -> None:
        copy.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(copy))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match=r"cat\.png: cannot be written .*; free space there"):
        session.keep(file)
    assert not [path for path in session.folder.rglob("*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("keyframes", [["1"], ["no.png", "2"], ["1", "2"]], ids=["one", "missing", "loop of two"])
def test_a_fault_is_the_line_of_the_command_line(keyframes: list[str], tmp_path: Path, one_line_error):
    words = ["loop" if keyframes == ["1", "2"] else "slerp", "--keyframes", *keyframes, f"--out={tmp_path / 'a.gif'}"]
    rendering = Rendering(words)
    assert not list(rendering.progress())
    assert f"render.py: {rendering.fault}" == one_line_error(render.main, *words)


def test_a_training_is_read_from_its_files(run: Run):
    logs = run.root / "logs"
    assert find_runs(logs) == [run.logs]
    assert find_runs(run.root / "nowhere") == []
    before = fingerprint(run.logs)
    assert before == fingerprint(run.logs) != []
    captions = [caption for _, caption in newest_morphs(run.logs)]
    assert [caption.partition(":")[0] for caption in captions] == ["linear", "loop", "slerp"]
    assert all("epoch 2" in caption for caption in captions)
    scalars = read_scalars(run.logs)
    assert {curve.tag for curve in CURVES} <= scalars.keys()
    assert verdict_on(run.logs, scalars).startswith("Reconstructions are")
    assert markup.sparkline(scalars["val/elbo"]).count(",") == len(scalars["val/elbo"])


def test_a_port_that_is_in_use_is_told(one_line_error):
    with socket.socket() as taken:
        taken.bind((server.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "leave it out" in one_line_error(render.main, "studio", f"--port={port}", "--no-browser")


def test_without_gradio_the_extra_is_named(one_line_error, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vae.optional.find_spec", lambda package: None)
    line = one_line_error(render.main, "studio", "--no-browser")
    assert line == "render.py: gradio: is not installed; pip install -e '.[studio]'"


# --- the page in a browser ---


class Studio:
    """A running server, in a folder of its own."""

    def __init__(self, place: Path, *options: str) -> None:
        self.place, self.temporary = place, place / "temporary"
        self.temporary.mkdir(parents=True)
        one_thread = {"OMP_NUM_THREADS": "1", "HOME": str(place), "TMPDIR": str(self.temporary)}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "render.py"), "studio", "--no-browser", *options],
            cwd=place,
            env=os.environ | one_thread,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.url = re.search(r"http://[\d.:]+", self.process.stdout.readline())[0]

    def sessions(self) -> list[Path]:
        return list(self.temporary.glob("latent-loom-*/sessions/*"))

    def close(self) -> str:
        """What it says to Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=PATIENCE)
        return said


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory):
    running = Studio(tmp_path_factory.mktemp("studio"), f"--checkpoint={LINES}")
    yield running
    assert running.close().strip() == "studio: closed"
    assert running.process.returncode == 0
    assert list(running.temporary.glob("latent-loom-*")) == []


class Page:
    """The page, opened in a browser."""

    def __init__(self, browser, url: str, width=1280, height=1000) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(1000 * PATIENCE)
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        self.tab.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.tab.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        self.tab.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.tab.goto(url)
        self.tab.wait_for_selector("#make")
        self.url = url

    def drop(self, *files: Path) -> None:
        before = self.pictures()
        self.tab.locator("#drop input[type=file]").set_input_files(list(map(str, files)))
        until(lambda: self.pictures() != before or self.note())

    def pictures(self) -> int:
        return self.tab.locator("#keyframes img").count()

    def note(self) -> str:
        """The fault that is shown, if there is one."""
        found = self.tab.locator("#note .fault")
        return found.inner_text() if found.count() else ""

    def seconds(self, seconds: float) -> None:
        self.tab.locator("#seconds input[type=number]").fill(str(seconds))
        self.tab.keyboard.press("Tab")

    def choose(self, box: str, option: str) -> None:
        self.tab.locator(f"{box} input").click()
        self.tab.get_by_role("option", name=option, exact=True).click()

    def make(self) -> None:
        self.tab.click("#make")
        self.tab.wait_for_selector("#stop:not([disabled])")

    def film(self, folder: Path) -> Path:
        """The finished film, downloaded."""
        link = self.tab.locator("#film a.download")
        assert until(lambda: link.count() or self.note()), "it takes too long"
        assert not self.note()
        with self.tab.expect_download() as download:
            link.click()
        file = folder / download.value.suggested_filename
        download.value.save_as(file)
        return file

    def close(self) -> None:
        """Closes it; nothing has gone wrong, and nothing was asked of any other machine."""
        self.context.close()
        assert self.faults == []
        assert self.hosts <= {urlsplit(self.url).netloc, ""}


@pytest.fixture
def page(browser, studio: Studio):
    opened = Page(browser, studio.url)
    yield opened
    opened.close()


def scenes(folder: Path, *seeds: int) -> list[Path]:
    files = [folder / f"scene {seed}.png" for seed in seeds]
    for seed, file in zip(seeds, files, strict=True):
        scene(seed).save(file)
    return files


def frames_of(film: Path) -> list[np.ndarray]:
    if film.suffix == ".mp4":
        with av.open(str(film)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with Image.open(film) as image:
        frames = []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
        return frames


def shows(frame: np.ndarray, picture: Path) -> bool:
    expected = read_picture(picture, len(frame), 1).astype(float)
    return float(np.abs(frame - expected).mean()) < 8


@pytest.mark.browser
def test_two_pictures_become_a_film_that_begins_and_ends_with_them(page: Page, tmp_path: Path):
    files = scenes(tmp_path, 1, 2)
    page.drop(*files)
    assert page.pictures() == 2
    page.seconds(1)
    page.make()
    film = page.film(tmp_path)
    frames = frames_of(film)
    assert film.name == "slerp.mp4"
    assert shows(frames[0], files[0])
    assert shows(frames[-1], files[1])
    assert not shows(frames[len(frames) // 2], files[0])
    assert len(frames) == pytest.approx(20, abs=1)
    played = page.tab.locator("#film video")
    assert until(lambda: played.evaluate("film => film.videoWidth")) == 256


@pytest.mark.browser
def test_what_will_not_do_is_one_line_with_a_remedy(page: Page, tmp_path: Path):
    letter = tmp_path / "a letter.png"
    letter.write_text("Dear reader, I am not a picture.")
    page.drop(letter)
    assert re.fullmatch(r"a letter\.png: not a readable picture .*; name another one.*", page.note())
    page.drop(*scenes(tmp_path, 1))
    assert until(lambda: page.pictures() == 1 and not page.note())
    page.tab.click("#make")
    assert until(page.note) == "1 picture: a film goes through 2 to 8; add 1 or more"
    page.drop(*scenes(tmp_path, *range(2, 10)))
    assert until(lambda: page.note().startswith("9 pictures: a film goes through 2 to 8; remove 1"))
    assert page.pictures() == 1
    page.tab.locator("#keyframes button").first.click()
    assert until(lambda: page.pictures() == 0)


@pytest.mark.browser
def test_two_users_at_once_each_get_their_own_film(browser, studio: Studio, tmp_path: Path):
    users = [Page(browser, studio.url), Page(browser, studio.url)]
    pictures = []
    for number, user in enumerate(users):
        (tmp_path / str(number)).mkdir()
        pictures.append(scenes(tmp_path / str(number), 10 + number, 20 + number))
        user.drop(*pictures[-1])
        user.seconds(1)
        user.choose("#format", "GIF")
    for user in users:
        user.make()
    for number, user in enumerate(users):
        frames = frames_of(user.film(tmp_path / str(number)))
        assert shows(frames[0], pictures[number][0])
        assert shows(frames[-1], pictures[number][1])
        assert not shows(frames[0], pictures[1 - number][0])
        user.close()


def children(process: subprocess.Popen) -> str:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip()


@pytest.mark.browser
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_stop_in_mid_tuning_leaves_nothing_and_the_page_goes_on(page: Page, studio: Studio, tmp_path: Path):
    page.drop(*scenes(tmp_path, *range(30, 38)))
    page.make()
    bar = page.tab.locator("#note .busy", has_text="Fitting the model")
    bar.wait_for()
    page.tab.click("#stop")
    page.tab.locator("#note", has_text="Stopped").wait_for()
    assert {file.suffix for session in studio.sessions() for file in session.rglob("*") if file.is_file()} == {".png"}
    assert not list((studio.place / ".cache").rglob(".*.ckpt-*"))
    page.tab.click("#roll")
    assert until(lambda: page.pictures() == 4)
    page.seconds(1)
    page.tab.get_by_label("Endless loop").check()
    page.make()
    assert page.film(tmp_path).name == "loop.mp4"


@pytest.mark.browser
def test_a_page_that_is_closed_ends_its_rendering_and_takes_its_files_along(browser, studio: Studio, tmp_path: Path):
    assert until(lambda: not studio.sessions())
    page = Page(browser, studio.url)
    page.drop(*scenes(tmp_path, *range(40, 48)))
    page.make()
    page.tab.locator("#note .busy", has_text="Fitting the model").wait_for()
    session = page.tab.context
    assert len(studio.sessions()) == 1
    session.close()
    assert until(lambda: not studio.sessions())


@pytest.mark.browser
def test_a_training_appears_while_the_page_is_open(page: Page, studio: Studio, run: Run):
    page.tab.get_by_role("tab", name="Training").click()
    page.tab.locator("#verdict", has_text="No training yet").wait_for()
    for part in ("logs", "checkpoints"):
        shutil.copytree(run.root / part, studio.place / part)
    try:
        page.tab.locator("#verdict", has_text="Reconstructions are").wait_for()
        assert until(lambda: page.tab.locator("#morphs img").count() == 3)
        assert page.tab.locator("#curves .card").count() == len(CURVES)
        assert page.tab.locator("#run input").input_value() == "pictures/version_0"
    finally:
        for part in ("logs", "checkpoints"):
            shutil.rmtree(studio.place / part)


@pytest.mark.browser
def test_only_this_machine_is_asked_for_anything(page: Page, studio: Studio):
    with urlopen(studio.url) as answer:
        policy, html = answer.headers["content-security-policy"], answer.read().decode()
    assert "default-src 'self'" in policy
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?:https?:)?//|url\(\s*[\"']?https?:|@import", html)
    assert page.tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'reached', () => 'refused')") == "refused"
    assert any("Content Security Policy" in fault for fault in page.faults)
    page.faults.clear()
    page.hosts.discard("127.0.0.1:9")


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        import tempfile

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = Studio(folder / "place")
        stack.callback(running.close)
        shown = Page(stack.enter_context(chromium()), running.url, height=980)
        shown.drop(*(ROOT / f".github/keyframes/{name}.png" for name in ("bear", "penguin", "horse")))
        shown.make()
        shown.film(folder)
        shown.tab.wait_for_timeout(1500)
        shown.tab.screenshot(path=sys.argv[1])
        with Image.open(sys.argv[1]) as taken:
            taken.convert("RGB").quantize(128).save(sys.argv[1], optimize=True)
