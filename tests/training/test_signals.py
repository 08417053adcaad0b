"""SIGTERM and SIGHUP before a training's first step and after its last: nothing half-made, one line at most."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import fill, heed
from forked import send_at, start
from parsers import short_start  # noqa: F401
from readme import ROOT, SHIPPED
from test_config import LITTLE

import train
from data.system import signals
from vae.training.tensorboard.logger import RunLogger

WORDS = ["fit", *LITTLE, "--data.image_size=32", "--watch.every_n_epochs=0", "--data.cache_dir=cache"]
FIRST_LINES = r"Training on|CPU with|\d+ pictures"
CODES = {signal.SIGTERM: 143, signal.SIGHUP: 129}

# a program that is sent a signal as soon as it has, or before it has, called a function
PROGRAM = f"""
import atexit, os, runpy, sys
script, name, when, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
sys.argv = [script, *sys.argv[5:]]
send = lambda: os.kill(os.getpid(), number)
if name == "exit":
    atexit.register(send)
else:
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from forked import send_at
    send_at(name, when, number)
sys.path.insert(0, os.path.dirname(script))
runpy.run_path(script, run_name="__main__")
"""


def sent_at(
    moment: str, when: str, number: int, place: Path, words: list[str], script: str = "train.py"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(ROOT / script), moment, when, str(int(number)), *words]
    return subprocess.run(
        command,
        cwd=place,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=heed,
    )


def half_made(place: Path) -> list[Path]:
    """Runs, and caches and parts of caches, that were begun; those that are whole may stay."""
    whole = {path.parent.parent for path in place.glob("cache/.*/[0-9]*/index.json")}
    return [path for path in (*place.rglob("version_*"), *place.rglob(".*")) if path not in whole]


# the moments in their order
MOMENTS = [
    ("data.system.errors:one_line_errors", "before"),
    ("vae.training.cli.cli:LoomCLI.before_instantiate_classes", "before"),
    ("vae.training.runs.run_folder:claim_version_folder", "after"),
    ("vae.training.cli.cli:LoomCLI.instantiate_trainer", "after"),
    ("lightning.pytorch:Trainer.fit", "before"),
    ("data.cache_build:_remove_useless", "after"),
    ("pathlib:Path.mkdir", "after"),
    ("data.cache_build:write_json", "after"),
    ("data.cache_build:move_cache", "after"),
    ("data.datamodule:ImageData.setup", "after"),
    ("vae.training.runs.checkpointing:SaveRunConfig.save_config", "after"),
    ("vae.training.tensorboard.logger:RunLogger.log_hyperparams", "after"),
    ("vae.training.module:VAETraining.configure_optimizers", "after"),
    ("vae.training.progress:ProgressModule.on_train_start", "before"),
]
LATE = "vae.training.tensorboard.logger:RunLogger.log_hyperparams"
CASES = [(*moment, list(CODES)[index % 2]) for index, moment in enumerate(MOMENTS)]  # the signals in turn
STARTED = [
    (*MOMENTS[0], signal.SIGHUP),
    ("data.cache_build:write_json", "after", signal.SIGTERM),
    (LATE, "after", signal.SIGHUP),
]


@pytest.fixture
def usual_signals():
    """As a program has them that starts; afterwards they are what they were."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (*CODES, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_signals")
def test_before_the_first_step_nothing_is_left_in_one_process_either(tmp_path: Path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    holder, name = RunLogger, LATE.rpartition(".")[2]
    monkeypatch.setattr(holder, name, getattr(holder, name))  # as it is again afterwards
    send_at(LATE, "after", signal.SIGHUP)
    monkeypatch.setattr(os, "_exit", sys.exit)  # which would end the tests too
    with pytest.raises(SystemExit, match="129"):
        signals.run(lambda: train.main(WORDS))
    told = capfd.readouterr()
    assert told.out.startswith("Training on")
    assert told.err.strip() == "train.py: interrupted; fit again: nothing was kept yet"
    assert half_made(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "when", "number"), CASES[1:])
def test_before_the_first_step_nothing_is_left(moment: str, when: str, number: int, tmp_path: Path):
    (tmp_path / "place").mkdir()
    output = tmp_path / "output.txt"
    process = start(WORDS, tmp_path / "place", output, (moment, when, number))
    assert process.wait() == CODES[number], output.read_text()
    told = [line for line in output.read_text().splitlines() if line.strip() and not re.match(FIRST_LINES, line)]
    assert len(told) <= 1, told
    assert half_made(tmp_path / "place") == []


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "when", "number"), STARTED)
def test_so_it_is_for_the_program_itself(moment: str, when: str, number: int, tmp_path: Path):
    done = sent_at(moment, when, number, tmp_path, WORDS)
    assert done.returncode == CODES[number], done.stderr
    assert len([line for line in done.stderr.splitlines() if line.strip()]) <= 1, done.stderr
    assert half_made(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("starts", "delay"),
    [*((True, delay) for delay in (0.05, 0.6, 2.5)), *((False, delay) for delay in (0.1, 0.4, 0.8, 1.2, 1.8))],
)
def test_whenever_it_comes_a_training_leaves_nothing_or_what_can_go_on(starts: bool, delay: float, tmp_path: Path):
    """Also while the program imports what it needs."""
    fill(tmp_path / "pictures", 40)
    words = [*WORDS, "--data.source=pictures", "--data.limit=40"]
    said = tmp_path / "said.txt"
    if starts:
        with said.open("w") as errors:
            command = [sys.executable, train.__file__, *words]
            process = subprocess.Popen(command, cwd=tmp_path, stderr=errors, preexec_fn=heed)
    else:
        process = start(words, tmp_path, said)
    time.sleep(delay)
    with suppress(ProcessLookupError):  # it has just ended
        process.send_signal(signal.SIGTERM)
    code, told = process.wait(60), said.read_text()
    assert "Traceback" not in told
    assert code in (0, 143, -signal.SIGTERM), told  # the last: before Python has run a line of it
    for run in tmp_path.glob("checkpoints/pictures/version_*"):
        assert (run / "last.ckpt").is_file()
    assert not list((tmp_path / "cache").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(("script", "number"), [("render.py", signal.SIGHUP), ("train.py", signal.SIGTERM)])
def test_when_all_is_done_nothing_is_said_and_the_exit_code_stays(script: str, number: int, tmp_path: Path):
    words = {
        "train.py": ["fit", "--print_config"],
        "render.py": ["samples", "--grid=1x1", f"--checkpoint={ROOT / SHIPPED}", "--out=a.png"],
    }
    done = sent_at("exit", "", number, tmp_path, words[script], script)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", CODES, ids=["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("code", [0, 2])
def test_the_exit_code_of_what_is_done_stays(code: int, number: int) -> None:
    words = (
        "import atexit, os, sys\n"
        "from data.system import signals\n"
        f"atexit.register(os.kill, os.getpid(), {int(number)})\n"
        f"signals.run(lambda: sys.exit({code}))\n"
    )
    done = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, preexec_fn=heed)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.slow
def test_what_is_wrong_stays_wrong_when_it_comes_at_the_end(tmp_path: Path):
    done = sent_at("exit", "", signal.SIGTERM, tmp_path, ["fti"])
    assert done.returncode == 2
    assert done.stderr.startswith("train.py: fti")


@pytest.mark.usefixtures("usual_signals")
def test_nohup_is_obeyed():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.run(lambda: signal.raise_signal(signal.SIGHUP))
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_second_one_does_not_stop_the_tidying_up(tmp_path: Path):
    code = (
        "import os, signal, sys\n"
        "from data.system import signals\n"
        "def main():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('tidy')\n"
        "signals.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, preexec_fn=heed)
    assert (done.returncode, done.stdout, done.stderr) == (143, "tidy\n", "")
