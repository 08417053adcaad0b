"""What TensorBoard makes of the logs; what it shows is looked at in a real browser with `pytest -m browser`.

python tests/training/test_tensorboard.py logs .github/tensorboard.png    # a picture of the Images tab
"""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from conftest import EPOCHS, QUICK, Run, chromium, copy, events, fill
from parsers import short_start  # noqa: F401
from PIL import Image
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import metadata

import train

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
    assert list(groups) == ["Objective", "Latent health", "Smoothness"]
    assert {tag for tags in groups.values() for tag in tags} <= logged
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
    content = b"".join(path.read_bytes() for path in logs.iterdir())
    return {tag: content.count(tag.encode()) for tag in ("custom_scalars__config__", *HPARAMS)}


def test_a_resumed_run_has_its_arrangement_once_and_ends_twice(run: Run, tmp_path: Path):
    resumed = copy(run, tmp_path)
    before = times_written(resumed.logs)
    assert before == dict.fromkeys(before, 1)
    more = [f"--trainer.max_epochs={EPOCHS + 1}", "--trainer.limit_train_batches=1"]
    train.main(resumed.arguments("--ckpt_path=last", *more, *QUICK))
    assert len(events(resumed.logs).Scalars("val/elbo")) == EPOCHS + 1
    assert times_written(resumed.logs) == before | {metadata.SESSION_END_INFO_TAG: 2}


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
    expected = [event.step for event in events(logs).Images("morph/slerp")]
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
def test_custom_scalars_are_in_three_groups(browser, board):
    page = opened(browser, board[1], "custom_scalars")
    names = page.locator("tf-custom-scalar-dashboard .category-name")
    names.first.wait_for()
    assert [name.strip() for name in names.all_inner_texts()] == ["Objective", "Latent health", "Smoothness"]
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


def main(logs: str, out: str) -> None:
    """Pictures the Images tab in at most 150 kB."""
    with served(Path(logs), 1) as url, chromium() as browser:
        page = opened(browser, url, "images", width=1100, height=1015)
        page.locator("tf-image-loader", has_text="morph/").last.wait_for()
        page.wait_for_load_state("networkidle")
        board = page.locator("tf-image-dashboard .center").first
        whole = Image.open(io.BytesIO(board.screenshot())).convert("RGB")
    for colours in (256, 128, 64, 32):
        whole.quantize(colours).save(out, optimize=True)
        if Path(out).stat().st_size < 150_000:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
