"""`train.py` in processes of its own, forked from one that has imported it: an import costs seconds, a fork nothing.

What Python does as it starts and ends is left out; tests that are marked slow start the program itself.
"""

import atexit
import functools
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
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
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    server = subprocess.Popen([sys.executable, __file__], env=variables, stdin=pipe, stdout=pipe, text=True)
    atexit.register(server.communicate)
    return server, folder


def start(
    words: list[str], place: Path, output: Path, moment: tuple[str, str, int] | None = None, **more: str
) -> Forked:
    """Starts a training.

    Args:
        words: the command line.
        place: the working folder.
        output: the file to which what is said is appended.
        moment: a function, as `module:path.of.it`, `before` or `after`, and the signal that is sent then.
        more: environment variables.
    """
    server, folder = _server()
    assert server.stdin
    assert server.stdout
    request = {"words": words, "place": str(place), "output": str(output), "moment": moment, "more": more}
    print(json.dumps(request | {"folder": str(folder)}), file=server.stdin, flush=True)
    pid = int(server.stdout.readline())
    return Forked(pid, folder / f"{pid}")


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


def _train(request: dict) -> int:
    import train
    from data.system import signals

    os.chdir(request["place"])
    os.environ.update(request["more"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [str(ROOT / "train.py"), *request["words"]]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if request["moment"]:
        send_at(*request["moment"])
    try:
        signals.run(train.main)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _serve() -> None:
    import torch

    import train  # noqa: F401

    torch.set_num_threads(1)
    running: dict[int, Path] = {}
    while True:
        if select.select([sys.stdin], [], [], 0.01 if running else None)[0]:
            line = sys.stdin.readline()
            if not line:
                return
            request = json.loads(line)
            pid = os.fork()
            if not pid:
                code = _train(request)
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
