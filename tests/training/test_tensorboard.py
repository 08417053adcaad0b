"""What TensorBoard makes of the logs; what it shows is looked at in a real browser with `pytest -m browser`.

python tests/training/test_tensorboard.py logs .github    # the README's pictures, of five minutes of emoji
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from conftest import EPOCHS, QUICK, SIDE, Run, chromium, copy, events, fill
from google.protobuf import text_format
from parsers import short_start  # noqa: F401
from PIL import Image
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

import train
from data.datamodule import ImageData
from data.transforms import to_uint8
from vae.render.growth.morph_files import find_morphs, read_morph
from vae.training.tensorboard.projector import MOST_CODES, thumbnails

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds, for a machine that does much else
IMAGES = "data/plugin/images/tags"
HPARAMS = (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)


def until(ask, patience=PATIENCE):
    """What is answered as soon as that is true of anything."""
    end = time.monotonic() + patience
    while not (answer := ask()) and time.monotonic() < end:
        time.sleep(0.2)
    return answer


def read(address: str):
    with urlopen(address, timeout=PATIENCE) as answer:
        return json.load(answer)


@contextlib.contextmanager
def served(logs: Path, runs: int):
    """The address of a TensorBoard that has read so many runs."""
    words = ["--logdir", str(logs), "--samples_per_plugin", "images=200", "--reload_interval", "5"]
    program = [sys.executable, "-m", "tensorboard.main", "--host", "127.0.0.1", "--port", "0", *words]
    with tempfile.TemporaryFile("w+b") as said:
        board = subprocess.Popen(program, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)

        def address():
            assert board.poll() is None
            said.seek(0)
            return re.search(rb"http://[\d.]+:\d+/", said.read())

        try:
            url = until(address)[0].decode()
            assert until(lambda: len(read(url + IMAGES)) >= runs)
            yield url
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(board.pid, signal.SIGKILL)  # it has a child that reads the logs
            board.wait()


def opened(browser, url: str, tab: str, width=1500, height=1000):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{url}#{tab}")
    return page


def card(page, tag: str, run: str):
    """Of an image: its heading, slider and picture, once that is there."""
    found = page.locator("tf-image-loader").filter(has_text=tag).filter(has_text=run)
    found.locator("img").scroll_into_view_if_needed()
    assert until(lambda: found.locator("img").evaluate("img => img.complete && img.naturalWidth > 0"))
    return found


def step_of(found) -> int:
    return int(found.locator(".heading-row", has_text="step").locator("span").first.inner_text().replace(",", ""))


# --- what is written ---


def test_every_curve_of_the_layout_and_every_metric_is_logged(run: Run):
    log = events(run.logs)
    logged = set(log.Tags()["scalars"])
    layout = Layout.FromString(log.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    groups = {group.title: [tag for chart in group.chart for tag in chart.multiline.tag] for group in layout.category}
    assert list(groups) == ["Objective", "Latent health", "Realism", "Smoothness"]
    on_demand = set(groups.pop("Realism"))
    assert {tag for tags in groups.values() for tag in tags} <= logged
    assert not on_demand & logged
    content = log.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    metrics = {info.name.tag for info in metadata.parse_experiment_plugin_data(content).metric_infos}
    assert metrics == {"val/elbo"} | {tag for tag in logged if tag.startswith("smoothness/")}


def test_hparams_hold_what_the_run_was_trained_with(run: Run):
    content = events(run.logs).SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    assert (told["source"].string_value, told["latent_dim"].number_value) == (str(run.pictures), 4)
    assert "limit" not in told, "it was null"


def times_written(logs: Path) -> dict[str, int]:
    """How often the arrangement of a run is in its logs."""
    content = b"".join(path.read_bytes() for path in logs.glob("events.*"))
    return {tag: content.count(tag.encode()) for tag in ("custom_scalars__config__", *HPARAMS)}


def held_out_pictures(run: Run):
    data = ImageData(str(run.pictures), SIDE, val_fraction=0.2, cache_dir=str(run.cache))
    data.prepare_data()
    data.setup("fit")
    return data.val_set


def drawn(logs: Path) -> dict[str, list[int]]:
    """The numbers of the morphs' files."""
    return {path: [int(file.stem) for file in find_morphs(logs, path)] for path in ("linear", "slerp", "loop")}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_resumed_run_has_its_arrangement_once_and_ends_twice_and_nothing_of_what_was_cut_off(run, tmp_path):
    resumed = copy(run, tmp_path)
    before = times_written(resumed.logs)
    assert before == dict.fromkeys(before, 1)
    kept = files(resumed.logs)
    last = find_morphs(resumed.logs, "slerp")[-1]
    for cut in (last.with_name(f"{int(last.stem) + 5:012d}.gif"), last.with_name(f".{last.name}-killed")):
        shutil.copyfile(last, cut)
    more = [f"--trainer.max_epochs={EPOCHS + 1}", "--trainer.limit_train_batches=1"]
    train.main(resumed.arguments("--ckpt_path=last", *more, *QUICK, "--watch.every_n_epochs=1"))
    assert len(events(resumed.logs).Scalars("val/elbo")) == EPOCHS + 1
    assert times_written(resumed.logs) == before | {metadata.SESSION_END_INFO_TAG: 2}
    assert {path: len(found) for path, found in drawn(resumed.logs).items()} == dict.fromkeys(
        drawn(run.logs), EPOCHS + 1
    )
    assert {path: found[:-1] for path, found in drawn(resumed.logs).items()} == drawn(run.logs)
    new = files(resumed.logs) - kept
    assert sorted(Path(name).parts[0].split(".")[0] for name in new) == ["events", *["morphs"] * 3]  # no second codes


def test_morphs_are_files_that_tell_when_they_were_drawn(run: Run):
    log = events(run.logs)
    for path in drawn(run.logs):
        found = find_morphs(run.logs, path)
        assert [read_morph(file).moment.epoch for file in found] == [1, 2]
        for file, event in zip(found, log.Images(f"images/morph/{path}"), strict=True):
            with Image.open(file) as ours, Image.open(io.BytesIO(event.encoded_image_string)) as theirs:
                assert ours.n_frames == theirs.n_frames
                assert np.array_equal(np.asarray(ours.convert("RGB")), np.asarray(theirs.convert("RGB")))


def test_the_projector_finds_a_code_and_a_thumbnail_for_each_held_out_picture(run: Run):
    config = text_format.Parse((run.logs / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (found,) = config.embeddings
    codes = np.loadtxt(run.logs / found.tensor_path)
    held_out = len(held_out_pictures(run))
    assert codes.shape == (held_out, 4)
    assert codes.std(0).min() > 0
    with Image.open(run.logs / found.sprite.image_path) as sheet:
        columns = -(-sheet.width // found.sprite.single_image_dim[0])
        assert sheet.width == sheet.height <= 8192
        assert (columns - 1) ** 2 < held_out <= columns**2


def test_thumbnails_of_as_many_large_pictures_as_there_can_be_fit_into_a_browser():
    pictures = torch.linspace(-1, 1, MOST_CODES)[:, None, None, None].expand(-1, 1, 72, 72)
    sheet = thumbnails(pictures)
    assert sheet.shape == (2048, 2048, 3)
    rows = sheet.reshape(32, 64, 32, 64, 3)[:, 32, :, 32, 0].flatten()
    assert torch.equal(rows[:MOST_CODES], to_uint8(pictures)[:, 0, 0, 0])
    assert (rows[MOST_CODES:] == 255).all()


# --- what is seen ---

SHOWN = 4  # epochs
BETAS = (1, 10)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Two runs, and the address where they are shown."""
    root = tmp_path_factory.mktemp("board")
    runs = Run(root, fill(root / "pictures", 24), root / "cache", "", "")
    for beta in BETAS:
        train.main(runs.arguments(f"--trainer.max_epochs={SHOWN}", f"--model.beta={beta}"))
    with served(root / "logs", len(BETAS)) as url:
        yield runs.logs, url


@pytest.mark.browser
def test_morphs_move_and_the_slider_walks_the_epochs(browser, board):
    logs, url = board
    page = opened(browser, url, "images")
    for tag in ("morph/linear", "morph/slerp", "morph/loop"):
        picture = card(page, tag, "version_0").locator("img")
        first = picture.screenshot()
        assert until(lambda picture=picture, first=first: picture.screenshot() != first), tag
    still = card(page, "images/samples", "version_0").locator("img")
    assert len({still.screenshot() for _ in range(5)}) == 1

    found = card(page, "morph/slerp", "version_0")
    expected = [event.step for event in events(logs).Images("images/morph/slerp")]
    assert len(expected) == SHOWN
    walked = [step_of(found)]
    sources = {found.locator("img").get_attribute("src")}
    for _ in range(SHOWN - 1):
        found.locator("paper-slider").press("ArrowLeft")
        assert until(lambda: step_of(found) != walked[-1])
        walked.append(step_of(found))
        assert until(lambda: found.locator("img").get_attribute("src") not in sources)
        sources.add(found.locator("img").get_attribute("src"))
    assert walked == expected[::-1]
    page.close()


@pytest.mark.browser
def test_the_first_page_has_pictures_and_what_its_address_pins(browser, board):
    page = browser.new_page(viewport={"width": 1500, "height": 1300})
    page.set_default_timeout(1000 * PATIENCE)
    query = re.search(r"http://localhost:6006/(\S+)", (ROOT / "vae/training/README.md").read_text())[1]
    page.goto(board[1] + query)
    pinned = page.locator("metrics-pinned-view card-view")
    assert until(lambda: pinned.count() == query.count('"tag"')), pinned.count()
    for tag in re.findall(r'"tag":"(.+?)"', query):
        pinned.filter(has_text=tag).locator("line-chart").first.wait_for()
    groups = page.locator("metrics-card-groups .group-title")
    groups.first.wait_for()
    titles = [group.get_attribute("title") for group in groups.all()]
    assert titles == sorted(titles)
    assert titles[0] == "images"
    assert "epoch" not in titles
    groups.first.scroll_into_view_if_needed()
    page.mouse.move(700, 700)
    page.mouse.wheel(0, 800)  # cards are drawn when they are seen
    moving = page.locator("metrics-card-groups image-card").filter(has_text="images/morph/").locator("img").first
    moving.scroll_into_view_if_needed()
    first = moving.screenshot()
    assert until(lambda: moving.screenshot() != first)
    page.close()


@pytest.mark.browser
def test_the_projector_shows_a_point_for_each_held_out_picture(browser, board):
    logs, url = board
    page = opened(browser, url, "projector")
    inner = page.frame_locator("iframe").frame_locator("iframe")
    inner.get_by_text(f"Points: {len((logs / 'projector/codes.tsv').read_text().splitlines())}").first.wait_for()
    scatter = inner.locator("#scatter canvas").first
    scatter.wait_for()
    assert until(lambda: len(set(Image.open(io.BytesIO(scatter.screenshot())).convert("L").tobytes())) > 50)
    page.close()


@pytest.mark.browser
def test_custom_scalars_are_in_groups(browser, board):
    page = opened(browser, board[1], "custom_scalars")
    names = page.locator("tf-custom-scalar-dashboard .category-name")
    names.first.wait_for()
    shown = [name.strip() for name in names.all_inner_texts()]
    assert shown == ["Objective", "Latent health", "Realism", "Smoothness"]
    for name, title, curves in (("Latent health", "active units", 4), ("Smoothness", "sharp_mid", 4)):
        group = page.locator("tf-category-paginated-view").filter(has_text=name)
        if not group.locator("iron-collapse.iron-collapse-opened").count():
            group.locator("button.heading").click()
        chart = group.locator("tf-custom-scalar-multi-line-chart-card").filter(has_text=title)
        chart.get_by_text(f"Matches ({curves})").wait_for()  # two of each run
    page.close()


@pytest.mark.browser
def test_hparams_compare_the_runs(browser, board):
    logs, url = board
    page = opened(browser, url, "hparams", width=2600)
    texts = """grid => [...grid.shadowRoot.querySelectorAll("#header tr, #items tr")].map(
        row => [...row.querySelectorAll("slot")].map(
            slot => slot.assignedElements().map(cell => cell.textContent.trim()).join("")))"""
    grid = page.locator("tf-hparams-table-view vaadin-grid").first

    def table():
        heads = ("Trial ID", "beta", "val/elbo")
        rows = [row for row in grid.evaluate(texts) if any(row)]
        named = [dict(zip(rows[0], row, strict=False)) for row in rows[1:]] if rows else []
        return named if len(named) == len(BETAS) and all(row.get(head) for row in named for head in heads) else None

    rows = {float(row["beta"]): row for row in until(table)}
    assert set(rows) == set(BETAS)
    for number, beta in enumerate(BETAS):
        log = events(logs.with_name(f"version_{number}"))
        for tag in (
            "val/elbo",
            *(f"smoothness/{name}/slerp" for name in ("cycle", "off_manifold", "sharp_mid", "jump")),
        ):
            assert float(rows[beta][tag]) == pytest.approx(log.Scalars(tag)[-1].value, rel=1e-3), tag
    page.close()


def save_small(shown: bytes, out: Path) -> None:
    """Writes a screenshot in at most 400 kB."""
    whole = Image.open(io.BytesIO(shown)).convert("RGB")
    for colours in (256, 128, 64, 32):
        whole.quantize(colours).save(out, optimize=True)
        if out.stat().st_size < 400_000:
            return


def main(logs: str, folder: str) -> None:
    """Pictures the Images tab, three cards wide, and the Projector."""
    with served(Path(logs), 1) as url, chromium() as browser:
        page = opened(browser, url, "images", width=1500, height=1015)
        page.locator("tf-image-loader", has_text="images/samples").wait_for()
        page.wait_for_load_state("networkidle")
        save_small(page.locator("tf-image-dashboard .center").first.screenshot(), Path(folder, "tensorboard.png"))
        page = opened(browser, url, "projector", width=1500, height=800)
        inner = page.frame_locator("iframe").frame_locator("iframe")
        inner.get_by_text("Points: ").first.wait_for()
        page.wait_for_timeout(8000)  # until the points stand still
        save_small(inner.locator("#scatter").first.screenshot(), Path(folder, "projector.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
