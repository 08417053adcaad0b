"""What tests of many command lines share."""

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from conftest import faults_in
from jsonargparse import ArgumentParser, Namespace

from vae.training.cli.cli import LoomCLI
from vae.training.cli.parser import TrainingParser

_BUILT: dict[str, dict[str, Any]] = {}


def build_parsers_once(patch: pytest.MonkeyPatch) -> None:
    """A command's parser is the same each time, and building it is most of what a mistake costs."""
    build = LoomCLI.setup_parser

    def setup_parser(self: LoomCLI, *args) -> None:
        command = sys.argv[1]
        if command not in _BUILT:
            before = set(vars(self))
            build(self, *args)
            _BUILT[command] = {name: value for name, value in vars(self).items() if name not in before}
        vars(self).update(_BUILT[command])

    patch.setattr(LoomCLI, "setup_parser", setup_parser)
    keep_defaults(patch)


def keep_defaults(patch: pytest.MonkeyPatch) -> None:
    """Nor do a parser's defaults change once it is built, and each parse collects them several times."""
    collect, kept = ArgumentParser.get_defaults, WeakKeyDictionary()

    def get_defaults(self: ArgumentParser, *args, **kwargs) -> Namespace:
        if args or kwargs != {"skip_validation": True}:
            return collect(self, *args, **kwargs)
        if self not in kept:
            kept[self] = collect(self, **kwargs)
        return kept[self].clone()

    patch.setattr(ArgumentParser, "get_defaults", get_defaults)


@pytest.fixture(scope="module", autouse=True)
def one_parser() -> Iterator[None]:
    """For each file that imports it."""
    with pytest.MonkeyPatch.context() as patch:
        build_parsers_once(patch)
        yield


def shorten_start(patch: pytest.MonkeyPatch) -> None:
    """Parsers are built once, and configs are kept without comments, which take long."""
    dump = TrainingParser.dump
    build_parsers_once(patch)
    patch.setattr(TrainingParser, "dump", lambda *words, **named: dump(*words, **named | {"with_comments": False}))


@pytest.fixture(autouse=True)
def short_start() -> Iterator[None]:
    """For each file that imports it."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_start(patch)
        yield


def error_of(main, *words: str, code: int = 2) -> str:
    """The one line on standard error of a command that must end with an exit code."""
    with contextlib.redirect_stderr(io.StringIO()) as errors, pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == code, words
    lines = faults_in(errors.getvalue())
    assert len(lines) == 1, (words, lines)
    return lines[0]


def parts_of(line: str) -> tuple[str, str]:
    """The fault and the remedy in a line that has both."""
    fault, mark, remedy = line.partition("; ") if "; " in line else line.partition("must ")
    assert mark, f"no remedy: {line}"
    return fault, remedy


def printed_config(*words: str) -> str:
    """What `fit … --print_config` prints."""
    import train

    with contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit) as done:
        train.main(["fit", *words, "--print_config"])
    assert not done.value.code
    return output.getvalue()
