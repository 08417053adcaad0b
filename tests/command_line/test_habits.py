"""What stands in two places is the same in both: the version, what continuous integration runs, the hooks' limits."""

import re
import tomllib

import pytest
import yaml
from readme import ROOT

import render
import train
import vae

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("program", [train, render], ids=lambda program: program.__name__)
def test_each_program_tells_the_one_version(program, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        program.main(["--version"])
    assert not done.value.code
    assert capsys.readouterr().out.split()[-1] == vae.__version__
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "vae.__version__"}


def test_continuous_integration_runs_what_must_be_green_from_the_oldest_python_on():
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert f">={job['strategy']['matrix']['python'][0]}" == PROJECT["project"]["requires-python"]


def test_the_hooks_check_what_continuous_integration_does_and_let_through_what_is_shipped():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    *own, large = (hook for repo in repos for hook in repo["hooks"])
    ran = re.findall(r"^(ruff .*?|mypy)(?: \.)?$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert [hook["entry"] for hook in own] == ran
    limit = int(large["args"][0].removeprefix("--maxkb="))
    shipped = [*(ROOT / "checkpoints").glob("*.ckpt"), *(ROOT / ".github").glob("*.*")]
    assert max(file.stat().st_size for file in shipped) <= 1024 * limit
