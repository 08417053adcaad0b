"""`train.py` and `render.py` in processes of their own, forked from one that has imported them: a fork costs nothing.

What Python does as it starts and ends is left out; tests that are marked slow start the program itself.
"""

import atexit
import functools
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Forked:
    """A process that trains: the part of `subprocess.Popen` that tests need."""

    def __init__(self, pid: int, exit_code: Path) -> None:
        self.pid, self._exit_code = pid, exit_code
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and self._exit_code.exists():
            self.returncode = int(self._exit_code.read_text())
        return self.returncode

    def wait(self, timeout: float = 120) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < end, "it does not end"
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server() -> tuple[subprocess.Popen, Path]:
    folder = Path(tempfile.mkdtemp())
    paths = os.pathsep.join(str(ROOT / place) for place in (".", "tests", "tests/command_line"))
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    pipe = subprocess.PIPE
    server = subprocess.Popen([sys.executable, __file__], env=variables, stdin=pipe, stdout=pipe, text=True)
    atexit.register(server.communicate)
    return server, folder


def start(
    words: list[str],
    place: Path,
    output: Path,
    moment: tuple[str, str, int] | None = None,
    script: str = "train.py",
    **more: str,
) -> Forked:
    """Starts a training, or a rendering.

    Args:
        words: the command line.
        place: the working folder, from which modules are imported too.
        output: the file to which what is said is appended.
        moment: a function, as `module:path.of.it`, `before` or `after`, and the signal that is sent then.
        script: the program.
        more: environment variables.
    """
    server, folder = _server()
    assert server.stdin
    assert server.stdout
    request = {"words": words, "place": str(place), "output": str(output), "moment": moment, "more": more}
    request["script"] = script
    print(json.dumps(request | {"folder": str(folder)}), file=server.stdin, flush=True)
    pid = int(server.stdout.readline())
    return Forked(pid, folder / f"{pid}")


def start_two(
    words: list[str], place: Path, output: Path, own: Sequence[list[str]] = ([], []), **more: str
) -> list[Forked]:
    """Starts a training of two processes on the CPU, as torchrun would; `own` are further words of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    shared |= {"TORCHELASTIC_RUN_ID": f"{port}"}
    words = [*words, "--trainer.accelerator=cpu"]
    return [
        start([*words, *own[rank]], place, output, RANK=str(rank), LOCAL_RANK=str(rank), **shared, **more)
        for rank in (0, 1)
    ]


def send_at(moment: str, when: str, number: int) -> None:
    """Has a signal sent to this process before or after a function is called."""
    module, _, path = moment.partition(":")
    holder = importlib.import_module(module)
    *outer, last = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    usual = getattr(holder, last)

    def watched(*args, **kwargs):
        if when == "before":
            os.kill(os.getpid(), number)
        result = usual(*args, **kwargs)
        if when == "after":
            os.kill(os.getpid(), number)
        return result

    setattr(holder, last, watched)


def _run(request: dict) -> int:
    from lightning_utilities.core.rank_zero import rank_zero_only

    from data.system import signals

    os.chdir(request["place"])
    sys.path.insert(0, request["place"])
    os.environ.update(request["more"])
    rank_zero_only.rank = int(os.environ.get("RANK", "0"))  # which Lightning reads when it is imported
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [str(ROOT / request["script"]), *request["words"]]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if request["moment"]:
        send_at(*request["moment"])
    try:
        signals.run(importlib.import_module(Path(request["script"]).stem).main)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _serve() -> None:
    import pytest
    import torch
    from parsers import shorten_start

    import render  # noqa: F401

    torch.set_num_threads(1)
    shorten_start(pytest.MonkeyPatch())
    running: dict[int, Path] = {}
    while True:
        if select.select([sys.stdin], [], [], 0.01 if running else None)[0]:
            line = sys.stdin.readline()
            if not line:
                return
            request = json.loads(line)
            pid = os.fork()
            if not pid:
                code = _run(request)
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
                os._exit(code)
            running[pid] = Path(request["folder"]) / f"{pid}"
            print(pid, flush=True)
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                path = running.pop(pid)
                path.with_suffix(".part").write_text(str(os.waitstatus_to_exitcode(status)))
                path.with_suffix(".part").rename(path)


if __name__ == "__main__":
    _serve()
