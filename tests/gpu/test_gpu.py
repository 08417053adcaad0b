"""`pytest -m gpu tests/gpu` makes all checks and measurements on a GPU; here they are tried on the CPU, small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.gpu.jobs import jobs, run
from tests.gpu.measured import Measured, waits
from tests.gpu.steps import GPU, TINY, Scale
from tests.gpu.waiting import WaitError, no_waiting

ROOT = Path(__file__).parents[2]
SLOW = ("waits", "graph", "models", "tuning", "compiled at 32 px")
_WITH_TORCH_ALONE = """
import runpy, sys
import numpy, torch
torch.cuda.is_available = lambda: False
known = {name.split(".")[0] for name in sys.modules} | set(sys.stdlib_module_names) | {"data", "vae", "tests"}

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in known:
            raise ImportError(f"{name} is hidden")

sys.meta_path.insert(0, Hide())
sys.argv = ["tests.gpu"]
runpy.run_module("tests.gpu", run_name="__main__")
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", jobs(GPU))
def test_on_a_gpu(name: str):
    assert run(jobs(GPU)[name], name, GPU)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile hides it, but not where it is an error
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in jobs(TINY)])
def test_the_same_runs_on_a_cpu(name: str, capsys: pytest.CaptureFixture[str]):
    assert run(jobs(TINY)[name], name, TINY)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) > 1
    for line in lines:
        assert {"name", "value", "unit", "size", "batch"} <= set(line)
        assert line["value"] == line["value"]
    assert len({line["name"] for line in lines}) == len(lines)


def test_a_number_that_is_too_large_or_none_is_not_allowed():
    measured = Measured("x", 1.0, "s", 64, 1, 0.5)
    assert not measured.allowed
    assert not measured._replace(value=float("nan")).allowed
    assert measured._replace(most=None).allowed
    assert not run(lambda scale: iter([measured]), "x", TINY)


def test_where_memory_is_short_a_line_says_what_is_left_out(capsys: pytest.CaptureFixture[str]):
    def job(scale: Scale):
        yield Measured("x", 1.0, "s", 64, 1)
        raise torch.OutOfMemoryError("too much")

    assert run(job, "large", TINY)
    first, second, _ = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["value"] == 1
    assert second == {"name": "large", "skipped": "not enough memory"}


def test_waiting_is_told_from_other_faults():
    def fail(text: str) -> None:
        raise RuntimeError(text)

    assert waits(lambda: fail("called a synchronizing CUDA operation"), 1, TINY.device)
    assert not waits(lambda: None, 1, TINY.device)
    with pytest.raises(RuntimeError, match="else"):
        waits(lambda: fail("something else"), 1, TINY.device)


WAITS = {
    "item": lambda x: x.sum().item(),
    "branch": lambda x: bool((x > 0).all()),
    "mask": lambda x: x[x > 0],
    "copy to the host": lambda x: x.cpu(),
    "copy from the host": lambda x: torch.ones(3).to(x.device),
    "copied into": lambda x: x.copy_(torch.ones(3)),
    "number of the host": lambda x: torch.tensor(1.0, device=x.device),
    "list of places": lambda x: x[[0, 1]],
}


@pytest.mark.parametrize("kind", WAITS)
def test_what_would_wait_is_noticed(kind: str):
    x = torch.ones(3, device="meta")
    with no_waiting(), pytest.raises((WaitError, RuntimeError, NotImplementedError)):
        WAITS[kind](x)


@pytest.mark.parametrize("fine", [lambda x: x * torch.tensor(2.0), lambda x: x.new_full((2,), 3.0), lambda x: x[0]])
def test_what_would_not_wait_is_left_alone(fine):
    with no_waiting():
        found = fine(torch.ones(3, device="meta"))
    assert isinstance(found, Tensor)


def test_only_torch_and_numpy_are_needed_and_without_a_gpu_a_line_says_so():
    done = subprocess.run([sys.executable, "-c", _WITH_TORCH_ALONE], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no GPU that torch can use: nothing was measured\n"), done.stderr
