"""What stands in two places is the same in both: the version, checks and their limits, names of what can be chosen."""

import re
import tomllib

import pytest
import yaml
from readme import ROOT

import render
import train
import vae
from vae.latent.timing import EASINGS
from vae.latent.trajectory import PATH_NAMES
from vae.render.formats.format import FORMATS
from vae.render.options import MotionOptions, PictureOptions

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


def test_help_and_readme_name_every_path_easing_and_format():
    guide = (ROOT / "vae/render/README.md").read_text()
    for told, names in ((MotionOptions.__doc__, EASINGS), (PictureOptions.__doc__, FORMATS)):
        assert told is not None
        assert set(names) <= set(re.findall(r"\.?[a-z][a-z0-9-]*", told))
    assert {*EASINGS, *FORMATS, *PATH_NAMES} <= set(re.findall(r"`([^`\n]+)`", guide))
