"""The page to morph by hand; what moves in it is tried in a real browser with `pytest -m browser`."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene
from PIL import Image, ImageDraw
from torch.testing import assert_close

import render
from vae import checkpoint
from vae.generator import seeded_latents
from vae.latent.paths import slerp
from vae.render.models import SHIPPED
from vae.render.morph_pad import CELLS, square_latents

CHECKPOINT = SHIPPED.with_name("lines.ckpt")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page") / "a page.html"
    render.main(["explore", f"--checkpoint={CHECKPOINT}", f"--out={out}", "--sets=3"])
    return out


def test_a_square_has_its_keyframes_in_its_corners_and_great_circles_for_sides():
    corners = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    z = square_latents(corners).reshape(CELLS, CELLS, 6)
    assert_close(torch.stack([z[0, 0], z[0, -1], z[-1, 0], z[-1, -1]]), corners)
    u = torch.linspace(0, 1, CELLS, dtype=torch.float64)
    assert_close(z[0], slerp(corners[:2], u))
    assert_close(z[:, -1], slerp(corners[[1, 3]], u))


def test_the_page_needs_nothing_else_and_holds_the_pictures(page: Path):
    html = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 5_000_000
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:)|https?://|@import|fetch\(", html)
    content = json.loads(re.search(r"= (\{\"sets\".*?\});\n", html)[1])
    assert (len(content["sets"]), content["cells"], content["side"]) == (3, CELLS, 32)
    with Image.open(io.BytesIO(base64.b64decode(content["sets"][0].split(",")[1]))) as atlas:
        assert atlas.size == (CELLS * 32, CELLS * 32)
        corner = np.asarray(atlas.convert("RGB"))[:32, :32].astype(float)
    vae = checkpoint.load_vae(CHECKPOINT)
    with torch.inference_mode():
        expected = ((vae.decode(seeded_latents(0, 1, vae.latent_dim)) + 1) * 127.5)[0].permute(1, 2, 0).numpy()
    assert np.abs(corner - expected).mean() < 8


@pytest.mark.slow
def test_between_pictures_that_are_given_they_move(tmp_path: Path):
    """In the middle of a square of one thing in four places is that thing in the middle."""

    def disc(across: int, down: int) -> Image.Image:
        picture = Image.new("L", (32, 32), 255)
        ImageDraw.Draw(picture).ellipse([8 + across, 8 + down, 24 + across, 24 + down], fill=0)
        return picture

    discs = [disc(across, down) for across, down in ((-3, -3), (3, -3), (-3, 3), (3, 3))]
    files = [str(tmp_path / f"{k}.png") for k in range(4)]
    for picture, file in zip(discs, files, strict=True):
        picture.save(file)
    out = tmp_path / "page.html"
    words = [f"--checkpoint={CHECKPOINT}", f"--out={out}", "--sets=1", "--tune=20"]
    render.main(["explore", *words, "--keyframes", *files])
    content = json.loads(re.search(r"= (\{\"sets\".*?\});\n", out.read_text(encoding="utf-8"))[1])
    with Image.open(io.BytesIO(base64.b64decode(content["sets"][0].split(",")[1]))) as atlas:
        middle = np.asarray(atlas.convert("L"), float)[8 * 32 : 9 * 32, 8 * 32 : 9 * 32]
    fade = np.mean([np.asarray(picture, float) for picture in discs], axis=0)
    truth = np.asarray(disc(0, 0), float)
    assert np.abs(middle - truth).mean() < 0.3 * np.abs(fade - truth).mean()


class Pad:
    """The page, opened in a browser."""

    def __init__(self, browser, page: Path, fragment: str = "", **options):
        self.tab = browser.new_page(viewport={"width": 700, "height": 900}, **options)
        self.faults: list[str] = []
        self.tab.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        self.tab.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.tab.goto(page.as_uri() + fragment)
        self.tab.wait_for_selector("html[data-ready]")

    def picture(self) -> str:
        return self.tab.evaluate("document.getElementById('pad').toDataURL()")

    def move(self, x: float, y: float) -> None:
        box = self.tab.locator("#pad").bounding_box()
        self.tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    @property
    def place(self) -> dict[str, float]:
        self.tab.wait_for_timeout(300)  # until the address has followed
        return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", self.tab.url.split("#")[-1])}


@pytest.fixture
def pad(browser, page):
    opened = Pad(browser, page)
    yield opened
    assert opened.faults == []
    opened.tab.close()


@pytest.mark.slow
def test_the_page_says_nothing_that_a_file_is_called(tmp_path: Path):
    hostile = tmp_path / '"><img src=x onerror=alert(1)>.png'
    scene(0).save(hostile)
    words = ["explore", f"--checkpoint={CHECKPOINT}", f"--out={tmp_path / 'hostile.html'}"]
    render.main([*words, "--sets=1", "--keyframes", str(hostile), "1", "2", "3"])
    html = (tmp_path / "hostile.html").read_text(encoding="utf-8")
    assert "onerror" not in html


def test_the_pages_policy_forbids_all_but_what_is_in_it(page: Path):
    html = page.read_text(encoding="utf-8")
    (policy,) = re.findall(r"<meta http-equiv=\"Content-Security-Policy\"\s+content=\"([^\"]*)\">", html)
    allowed = dict(directive.split(maxsplit=1) for directive in policy.split(";"))
    assert html.index(policy) < html.index("<style") < html.index("<script"), "it holds for what comes after it"
    assert {allowed.pop(name) for name in ("default-src", "base-uri", "form-action")} == {"'none'"}
    assert allowed == {"img-src": "data:", "script-src": "'unsafe-inline'", "style-src": "'unsafe-inline'"}


@pytest.mark.browser
def test_the_page_may_not_reach_a_network_or_load_anything(pad: Pad):
    picture = "Object.assign(new Image(), {src: 'http://127.0.0.1:9/', onload: loaded, onerror: failed})"
    for attempt in (
        "fetch('http://127.0.0.1:9/')",
        "fetch('data:text/plain,a')",
        f"new Promise((loaded, failed) => {picture})",
    ):
        assert pad.tab.evaluate(f"{attempt}.then(() => 'reached', () => 'refused')") == "refused"
    assert len(pad.faults) >= 3
    assert all("Content Security Policy" in fault for fault in pad.faults)
    pad.faults.clear()


@pytest.mark.browser
def test_the_pointer_morphs_the_picture(pad: Pad):
    seen = {pad.picture()}
    for x in (0.1, 0.5, 0.9):
        pad.move(x, 0.3)
        seen.add(pad.picture())
    assert len(seen) == 4
    assert pad.place == {"set": 0, "x": pytest.approx(0.9, abs=0.01), "y": pytest.approx(0.3, abs=0.01)}


@pytest.mark.browser
def test_arrow_keys_do_without_a_mouse(pad: Pad):
    pad.tab.keyboard.press("Tab")
    before, seen = pad.picture(), set()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"):
        pad.tab.keyboard.press(key)
        seen.add(pad.picture())
    assert len(seen - {before}) == 4
    assert pad.place["x"] == pytest.approx(0.5 - 0.02 + 0.125, abs=0.002)
    for _ in range(12):
        pad.tab.keyboard.press("Shift+ArrowRight")
    assert pad.place["x"] == 1


@pytest.mark.browser
def test_buttons_play_record_and_change_the_keyframes(pad: Pad):
    before = pad.picture()
    pad.tab.click("#roll")
    pad.tab.wait_for_selector("html[data-ready='1']")
    assert pad.picture() != before
    pad.tab.click("#play")
    pad.tab.wait_for_timeout(300)
    first = pad.picture()
    pad.tab.wait_for_timeout(300)
    assert pad.picture() != first
    pad.tab.click("#play")
    assert pad.tab.get_attribute("#play", "aria-pressed") == "false"
    assert pad.tab.is_disabled("#loop")
    pad.tab.click("#record")
    for step in range(10):
        pad.move(0.2 + 0.06 * step, 0.5)
    pad.tab.click("#record")
    pad.tab.click("#loop")
    first = pad.picture()
    pad.tab.wait_for_timeout(200)
    assert pad.picture() != first
    pad.tab.click("#loop")
    pad.tab.click("#record")
    assert pad.tab.is_disabled("#roll")
    pad.tab.click("#record")
    assert pad.tab.is_enabled("#roll")
    assert pad.tab.is_enabled("#loop"), "nothing moved, and so the earlier recording stays"


@pytest.mark.browser
def test_a_rest_is_recorded_as_a_rest(pad: Pad):
    pad.tab.locator("#record").press("Enter")
    pad.tab.locator("#pad").press("ArrowRight")
    pad.tab.wait_for_timeout(900)
    pad.tab.locator("#pad").press("Shift+ArrowRight")
    pad.tab.locator("#record").press("Enter")
    pad.tab.locator("#loop").press("Enter")
    pad.tab.wait_for_timeout(150)
    first = pad.picture()
    pad.tab.wait_for_timeout(400)
    assert pad.picture() == first


@pytest.mark.browser
def test_the_browsers_own_keys_stay_its_own(pad: Pad):
    before = pad.picture()
    pad.tab.focus("#pad")
    for key in ("Control+ArrowRight", "Meta+ArrowRight"):
        pad.tab.keyboard.press(key)
    assert pad.picture() == before


@pytest.mark.browser
def test_a_link_comes_to_rest(pad: Pad):
    pad.tab.click("#play")
    pad.tab.evaluate("location.hash = '#set=1&x=0.5&y=0.5'")
    pad.tab.wait_for_selector("html[data-ready='1']")
    here = pad.picture()
    pad.tab.wait_for_timeout(200)
    assert pad.picture() == here
    assert pad.tab.get_attribute("#play", "aria-pressed") == "false"


@pytest.mark.browser
def test_a_link_comes_back_to_its_place(browser, page):
    here, there = Pad(browser, page, "#set=2&x=0.25&y=0.75"), Pad(browser, page, "#set=2&x=0.250&y=0.750")
    other = Pad(browser, page, "#set=2&x=0.3&y=0.75")
    assert here.picture() == there.picture() != other.picture()
    odd = Pad(browser, page, "#set=no&x=7&y=-1")
    assert [opened.faults for opened in (here, there, other, odd)] == [[], [], [], []]


@pytest.mark.browser
def test_a_finger_morphs_too(browser, page):
    touched = Pad(browser, page, has_touch=True)
    box = touched.tab.locator("#pad").bounding_box()
    before = touched.picture()
    touched.tab.touchscreen.tap(box["x"] + 50, box["y"] + 50)
    assert touched.picture() != before
    assert touched.faults == []
