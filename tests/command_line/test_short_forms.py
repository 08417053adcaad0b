"""Words without an option, helps that fit a screen, and commands to try next."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from conftest import fill
from readme import ROOT

import render
import train
from vae.render.cli.commands import COMMANDS
from vae.render.cli.hint import next_command
from vae.render.cli.parser import build_parser
from vae.render.cli.shorthand import expand

KEYFRAMES = [str(ROOT / ".github/keyframes" / f"{name}.png") for name in ("bear", "horse", "rooster")]
QUICK = ["--frames=3", "--size=16", "--tune=3", "--pace=latent", "--between=model"]
LONGEST_HELP = 80  # lines of 100 columns


def listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (KEYFRAMES[:2], ["slerp", "--keyframes", *KEYFRAMES[:2]]),
        ([*KEYFRAMES, "--loop"], ["loop", "--keyframes", *KEYFRAMES]),
        (["linear", "3", "-4"], ["linear", "--keyframes", "3", "-4"]),
    ],
    ids=["two", "loop", "seeds"],
)
def test_pictures_and_seeds_are_rendered_without_an_option(short, long, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, words in (("short.webp", short), ("long.webp", long)):
        render.main([*words, *QUICK, f"--out={name}"])
    assert (tmp_path / "short.webp").read_bytes() == (tmp_path / "long.webp").read_bytes()


def test_a_folder_alone_is_a_tour_or_a_training(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "pictures", 4)
    assert expand(["pictures", "--minutes", "1"]) == ["tour", "--pictures", "pictures", "--minutes", "1"]
    assert expand(["absent/"]) == ["tour", "--pictures", "absent/"]
    assert expand(["--loop", "3", "4", "5"]) == ["loop", "--keyframes", "3", "4", "5"]
    assert expand(["--help", "slerp"]) == ["slerp", "--help"]
    for words in (["pictures"], ["fit", "pictures"]):
        with pytest.raises(SystemExit) as done:
            train.main([*words, "--print_config"])
        assert not done.value.code
        assert yaml.safe_load(capsys.readouterr().out)["data"]["source"] == "pictures"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_fits_a_screen_and_spells_options_as_they_are_typed(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        render.main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= LONGEST_HELP
    assert max(map(len, lines)) <= 100
    flags = re.findall(r"(?m)^  --(\S+)", "\n".join(lines))
    assert {flag.replace("-", "_") for flag in flags} == set(COMMANDS[command].options)
    assert not [flag for flag in flags if "_" in flag]


def test_the_help_of_a_training_begins_with_pictures_and_fits_a_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    texts = []
    for words in (["--help"], ["--help", "trainer"], ["--help", "width"], ["--help", "all"]):
        with pytest.raises(SystemExit) as done:
            train.main(["fit", *words])
        assert not done.value.code
        texts.append(capsys.readouterr().out)
    first, trainer, width, everything = texts
    assert len(first.splitlines()) <= LONGEST_HELP
    assert first.index("--data.source") < first.index("--minutes") < first.index("--trainer.devices")
    assert set(re.findall(r"(?m)^  (--\S+)", first)) < set(re.findall(r"(?m)^  (--\S+)", everything))
    assert {flag.partition(".")[0] for flag in re.findall(r"(?m)^  (--\S+)", trainer)} == {"--trainer"}
    assert re.findall(r"(?m)^  (--\S+)", width) == ["--model.width"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_next_command_has_the_keyframes_and_the_model_and_can_be_parsed(command, tmp_path: Path):
    typed = {name: value for name, value in GIVEN.items() if name in COMMANDS[command].options}
    line = next_command(command, typed)
    assert bool(line) == bool(COMMANDS[command].following)
    assert "--fit" not in line
    if line:
        words = expand(shlex.split(line)[2:])
        parsed = build_parser(None, words[0]).parse_args(words)[words[0]]
        kept = {name: value for name, value in typed.items() if name in COMMANDS[words[0]].options}
        kept |= {"checkpoint": kept["checkpoint"][: 1 if words[0] != "compare" else None]}
        assert {name: listed(parsed[name]) for name in kept} == {name: listed(value) for name, value in kept.items()}


GIVEN = {
    "keyframes": ["my cat.png", "-3", "b.npz:1"],
    "checkpoint": ["a b.ckpt", "c.ckpt"],
    "seed": 4,
    "pictures": "my pictures/cats",
    "fit": "crop",
}


def test_after_the_usual_four_pictures_that_exist_are_proposed(monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(next_command(None, {}))[2:]
    assert words
    assert all(map(Path.is_file, map(Path, words)))
    assert expand(words)[0] == "slerp"
