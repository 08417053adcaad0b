"""The parser of the renderer's command line."""

import re
from argparse import Action
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from jsonargparse import ArgumentParser

from data.system.program import program_name
from vae import __version__
from vae.command_line.mistakes import OneLineParser
from vae.option_groups import add_options, option_name, parse_options
from vae.render.cli.commands import COMMANDS
from vae.render.kept_inputs import check_results_typed
from vae.render.models import default_checkpoint
from vae.render.options import RenderRequest


class Parser(OneLineParser, ArgumentParser):
    """Explains in one line what is wrong with an argument."""

    program, default_option = "render", "--keyframes"
    option_for: ClassVar = {".ckpt": "--checkpoint", ".onnx": "--generator"}
    synonyms: ClassVar = {
        "--output": "--out",
        "--images": "--keyframes",
        "--sound": "--audio",
        "--music": "--audio",
        "--input": "--keyframes",
        "--model": "--checkpoint",
    }

    def commands_with(self, option: str) -> list[str]:
        """The commands that have an option."""
        name = option.lstrip("-").replace("-", "_")
        return [command for command, found in COMMANDS.items() if name in found.options]

    @property
    def called(self) -> str:
        """How the command is called."""
        positional = COMMANDS[self.command].positional
        return super().called.replace(" [", f" [{positional}] [") if positional else super().called

    def sections(self) -> Mapping[str, Mapping[str, Action]]:
        """The options by the titles of their groups, in the order of their fields."""
        by_name = {action.dest: (flag, action) for flag, action in self.options.items()}
        return {
            (group.__doc__ or "").partition(".")[0]: dict(by_name[option_name(field.name)] for field in fields(group))
            for group in COMMANDS[self.command].groups
        }

    def spell_with_dashes(self) -> None:
        """Makes `--max-size` of the option of a field `max_size`."""
        for action in self._actions:
            action.option_strings = [_dashed(flag) for flag in action.option_strings]
            self._option_string_actions |= dict.fromkeys(action.option_strings, action)


def _dashed(word: str) -> str:
    return re.sub(r"^--[a-z_]+", lambda flag: flag[0].replace("_", "-"), word)


def build_parser(description: str | None, chosen: str | None = None) -> Parser:
    """The command line: subcommands; where one is chosen, only that one has its options, which is quicker."""
    parser = Parser(prog=program_name("render"), description=description, version=__version__)
    subcommands = parser.add_subcommands(required=False)
    for name, command in COMMANDS.items():
        subparser = Parser(description=command.meaning)
        for group in command.groups if chosen in (name, None) else ():
            add_options(subparser, group)
        subparser.spell_with_dashes()
        subcommands.add_subcommand(name, subparser, help=command.meaning)
    return parser


def run_command(command: str, arguments: dict[str, Any]) -> Path | None:
    """Runs a command with the values that the parser found for its options."""
    groups: list[Any] = [parse_options(group, arguments) for group in COMMANDS[command].groups]
    shown = [word for option in ("keyframes", "from") for word in arguments.get(option) or ()]
    shown += [arguments["pictures"]] if arguments.get("pictures") else []
    named = arguments.get("checkpoint") or str(default_checkpoint(shown))
    request = RenderRequest(command, arguments | {"checkpoint": [named] if isinstance(named, str) else named})
    check_results_typed(request.arguments)
    return COMMANDS[command].run(request, *groups)
