"""Configs of unknown origin: what they stand for is bounded, and what will not do is one line."""

import itertools
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import Run, copy
from parsers import (
    error_of,
    one_parser,  # noqa: F401
)
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


def test_a_hostile_config_is_refused_in_one_line(tmp_path: Path) -> None:
    for kind in KINDS:
        path = written(kind, tmp_path / f"{kind}.yaml")
        line = error_of(train.main, "fit", f"--config={path}", "--print_config")
        assert line.startswith("train.py: "), kind
        assert ("--data.limit" if kind == "date" else f"{kind}.yaml") in line
        assert len(line) < 400, kind


def test_so_is_one_that_stands_for_a_part_of_it(tmp_path: Path) -> None:
    for part, kind in itertools.product(("data", "trainer.logger"), ("pipe", "huge")):
        path = written(kind, tmp_path / f"{part}-{kind}.yaml")
        assert path.name in error_of(train.main, "fit", f"--{part}={path}")


def test_so_is_one_that_is_written_in_its_place() -> None:
    for kind in ("digits", "bomb", "itself"):
        assert len(error_of(train.main, "fit", f"--config={HOSTILE[kind]}", "--print_config")) < 400, kind


def test_so_is_that_of_a_run(run: Run, tmp_path: Path) -> None:
    mine = copy(run, tmp_path)
    config = mine.checkpoints / "config.yaml"
    for kind in ("digits", "bomb", "date", "pipe", "huge", "bytes", "folder"):
        config.unlink()
        written(kind, config)
        line = error_of(train.main, *mine.arguments(f"--ckpt_path={mine.checkpoints / 'last.ckpt'}"))
        assert "config.yaml: " in line, kind


def test_it_takes_no_more_memory_than_another(tmp_path: Path) -> None:
    code = (
        f"import resource, sys; resource.setrlimit({resource.RLIMIT_AS}, {_BOUNDS})\n"
        "import vae.safe_yaml as safe\n"
        "for path in map(safe.Path, sys.argv[1:]):\n"
        "    try: safe.parse_yaml(safe.read_config(path))\n"
        "    except (safe.yaml.YAMLError, safe.UserError): print(path.stem)\n"
    )
    kinds = ["bomb", "merges", "huge", "values"]
    paths = [written(kind, tmp_path / f"{kind}.yaml") for kind in kinds]
    done = subprocess.run([sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (kinds, "")


def test_what_is_harmless_is_read():
    text = "a: &a {b: [1, 2.5, x, null, true]}\ne: 1e3\nf: /a/%s\n" % ("0" * 200)
    assert parse_yaml(text) == yaml.safe_load(text)


def test_a_config_may_be_a_megabyte(tmp_path: Path):
    (tmp_path / "run.yaml").write_text("# " + "x" * 999_997 + "\n")
    assert len(read_config(tmp_path / "run.yaml")) == 1_000_000
    (tmp_path / "run.yaml").write_text("# " + "x" * 999_998 + "\n")
    with pytest.raises(UserError, match="larger than 1 MB"):
        read_config(tmp_path / "run.yaml")


def test_aliases_are_named_and_refused() -> None:
    assert "an alias, *a" in error_of(
        train.main, "fit", "--config=data: {limit: &a 7, batch_size: *a}", "--print_config"
    )
