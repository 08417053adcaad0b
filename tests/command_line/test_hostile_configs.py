"""Configs of unknown origin: what they stand for is bounded, and what will not do is one line."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import Run, copy
from readme import ROOT

import train
from data.system.errors import UserError
from vae.safe_yaml import parse_yaml, read_config

_BOUNDS = (2 << 30, 2 << 30)  # bytes of memory


def bomb(join: str) -> str:
    """Nine levels of nine aliases each, in a few hundred letters."""
    levels = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {join.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, 10)]
    return "\n".join(levels)


HOSTILE = {
    "digits": f"data: {{limit: {'9' * 6000}}}",
    "hexadecimal": f"data: {{limit: 0x{'f' * 6000}}}",
    "sexagesimal": f"data: {{limit: 1{':59' * 3000}}}",
    "bomb": bomb("[{}]"),
    "merges": bomb("{{<<: [{}]}}"),
    "itself": "data: &a {limit: *a}",
    "deep": "[" * 100_000,
    "deeper": "data: " + "[" * 900 + "]" * 900,
    "values": f"data: [{'1, ' * 20_000}]",
    "object": "data: !!python/object/apply:os.system [exit]",
    "date": "data: {limit: 2026-13-41}",
    "key": "? [a, [b]]\n: c",
    "null": "data:\0 x",
}


def written(kind: str, path: Path) -> Path:
    """A config of some kind."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "folder":
        path.mkdir()
    elif kind == "bytes":
        path.write_bytes(bytes(range(256)))
    else:
        path.write_text(HOSTILE[kind])
    return path


KINDS = [*HOSTILE, "pipe", "huge", "folder", "bytes"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_config_is_refused_in_one_line(kind: str, tmp_path: Path, one_line_error):
    line = one_line_error(train.main, "fit", f"--config={written(kind, tmp_path / 'run.yaml')}", "--print_config")
    named = "--data.limit" if kind == "date" else "run.yaml"
    assert line.startswith("train.py: ")
    assert named in line
    assert len(line) < 400


@pytest.mark.parametrize("kind", ["pipe", "huge"])
@pytest.mark.parametrize("part", ["data", "trainer.logger"])
def test_so_is_one_that_stands_for_a_part_of_it(part: str, kind: str, tmp_path: Path, one_line_error):
    assert "run.yaml" in one_line_error(train.main, "fit", f"--{part}={written(kind, tmp_path / 'run.yaml')}")


@pytest.mark.parametrize("kind", ["digits", "bomb", "itself"])
def test_so_is_one_that_is_written_in_its_place(kind: str, one_line_error):
    assert len(one_line_error(train.main, "fit", f"--config={HOSTILE[kind]}", "--print_config")) < 400


@pytest.mark.parametrize("kind", ["digits", "bomb", "date", "pipe", "huge", "folder", "bytes"])
def test_so_is_that_of_a_run(kind: str, run: Run, tmp_path: Path, one_line_error):
    mine = copy(run, tmp_path)
    config = mine.checkpoints / "config.yaml"
    config.unlink()
    written(kind, config)
    line = one_line_error(train.main, *mine.arguments(f"--ckpt_path={mine.checkpoints / 'last.ckpt'}"))
    assert "config.yaml: " in line


@pytest.mark.parametrize("kind", ["bomb", "merges", "huge", "values"])
def test_it_takes_no_more_memory_than_another(kind: str, tmp_path: Path):
    path = written(kind, tmp_path / "run.yaml")
    bound = f"import resource; resource.setrlimit({resource.RLIMIT_AS}, {_BOUNDS})"
    read = "import sys, vae.safe_yaml as safe; safe.parse_yaml(safe.read_config(safe.Path(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", f"{bound}; {read}", path], cwd=ROOT, capture_output=True, timeout=60)
    assert b"MemoryError" not in done.stderr
    assert b"UnsafeYAML" in done.stderr or b"UserError" in done.stderr


def test_what_is_harmless_is_read():
    text = "a: &a {b: [1, 2.5, x, null, true]}\nc: {<<: *a, d: *a}\ne: 1e3\n"
    assert parse_yaml(text) == yaml.safe_load(text)


def test_a_config_may_be_a_megabyte(tmp_path: Path):
    (tmp_path / "run.yaml").write_text("# " + "x" * 999_997 + "\n")
    assert len(read_config(tmp_path / "run.yaml")) == 1_000_000
    (tmp_path / "run.yaml").write_text("# " + "x" * 999_998 + "\n")
    with pytest.raises(UserError, match="larger than 1 MB"):
        read_config(tmp_path / "run.yaml")


def test_aliases_within_bounds_are_taken(capsys):
    with pytest.raises(SystemExit) as done:
        train.main(["fit", "--config", "data: &a {batch_size: 7}\nmodel: {latent_dim: 7}", "--print_config"])
    assert not done.value.code
    assert yaml.safe_load(capsys.readouterr().out)["data"]["batch_size"] == 7
