"""`CommandParser`: the options of a program's commands, and their help."""

import re
from argparse import Action
from collections.abc import Mapping, Sequence
from typing import Any

from data.system.errors import UserError
from data.system.home import expand_tilde_arguments, expand_tildes
from data.system.program import program_arguments, program_command
from data.system.spelling import closest_match
from vae.command_line.help_screen import help_screen, meaning_of
from vae.command_line.words import HELP

_NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)
Sections = Mapping[str, Mapping[str, Action]]  # of a help: title → flag → action


class CommandParser:
    """The part that the parsers of both programs share: a mixin for jsonargparse's parser.

    Attributes:
        program: `train` or `render`.
    """

    program: str
    prog: str
    description: str | None
    _actions: list[Action]
    _action_groups: Any
    _negative_number_matcher: re.Pattern[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)  # type: ignore[call-arg]  # else a misspelt option starts a training
        self._negative_number_matcher = _NEGATIVE_NUMBER  # argparse's own takes `-2.` and `-1e-1` for options

    def parse_args(self, args: Any = None, *more: Any, **kwargs: Any) -> Any:
        """The options of a command line, in which `~` is the user's folder."""
        words = expand_tilde_arguments(program_arguments() if args is None else list(args))
        self._print_whole_help(words)
        defaults = {action.dest: action.default for action in self.options.values()}
        return expand_tildes(super().parse_args(words, *more, **kwargs), defaults)  # type: ignore[misc]

    @property
    def command(self) -> str:
        """The command whose parser this is; empty for a program's."""
        return self.prog.partition(" [options] ")[2]

    @property
    def commands(self) -> dict[str, "CommandParser"]:
        """The parsers of commands."""
        found = (action.choices for action in self._actions)
        return {name: parser for choices in found if isinstance(choices, dict) for name, parser in choices.items()}

    @property
    def options(self) -> dict[str, Action]:
        """The actions of all options that begin with two dashes, those of commands too."""
        found: dict[str, Action] = {}
        for action in self._actions:
            found |= {flag: action for flag in action.option_strings if flag.startswith("--")}
        for command in self.commands.values():
            found |= command.options
        return {flag: action for flag, action in found.items() if not flag.endswith((".help", "+"))}

    @property
    def prominent(self) -> Mapping[str, Mapping[str, str | None]]:
        """Titles → the options in the help of the command → their meanings if not their own; all if empty."""
        return {}

    @property
    def meaning(self) -> str:
        """What the command does."""
        return self.description or ""

    @property
    def manual(self) -> str:
        """The command line that prints the help."""
        return " ".join(f"{program_command(self.program)} {self.command} --help".split())

    @property
    def called(self) -> str:
        """How the command is called."""
        return f"{program_command(self.program)} {self.command} [options]"

    def sections(self) -> Sections:
        """All options of a command by the titles of their groups."""
        known = self.options
        flags = {
            group.title: [flag for action in group._group_actions for flag in action.option_strings]
            for group in self._action_groups
        }
        groups = {flag.rpartition(".")[0] for flag in known}  # such options take a file
        known = {flag: action for flag, action in known.items() if flag not in groups}
        return {title: {flag: known[flag] for flag in found if flag in known} for title, found in flags.items()}

    def format_help(self, *args: Any) -> str:
        """The help of the program, or of a command, which fits a screen."""
        if self.command:
            return self._screen(self.sections(), self.prominent)
        meanings = {name: parser.meaning.rstrip(".") for name, parser in self.commands.items()}
        usage = f"{program_command(self.program)} COMMAND"
        more = f"{usage} --help: its options"
        return help_screen(f"{usage} [options]", self.description or "", {"Commands": meanings}, more)

    def _screen(self, sections: Sections, prominent: Mapping[str, Mapping[str, str | None]]) -> str:
        meanings = _meanings(sections)
        if prominent:
            known = {name: meaning for found in meanings.values() for name, meaning in found.items()}
            meanings = {
                title: {name: meaning or known[name] for name, meaning in found.items() if name in known}
                for title, found in prominent.items()
            }
        more = f"{self.manual} NAME: all about an option, or those whose names begin so; {self.manual} all: about each"
        return help_screen(self.called, self.meaning, meanings, more)

    def _print_whole_help(self, words: Sequence[str]) -> None:
        """Prints the whole help of the options that a word after `--help` names, if there is one, and exits."""
        place = next((place for place, word in enumerate(words) if word in HELP), len(words))
        if place + 1 >= len(words) or words[0] not in self.commands:
            return
        command, name = self.commands[words[0]], words[place + 1].lstrip("-")
        sections = command.sections()
        if name != "all":
            names = [one for options in sections.values() for one in options]
            near = closest_match(name, names)
            meant = [one for one in names if f"{one[2:]}.".startswith(f"{name}.")] or ([near] if near else [])
            if not meant:
                raise UserError(f"--help {name}: no such option; see {command.manual}")
            sections = {
                title: {one: action for one, action in options.items() if one in meant}
                for title, options in sections.items()
            }
        print(help_screen(command.called, command.meaning, _meanings(sections, whole=True)), end="")
        raise SystemExit(0)


def _meanings(sections: Sections, whole: bool = False) -> dict[str, dict[str, str]]:
    """The meanings of options, or their first clauses, by the titles and names of a help."""
    return {
        title: {name: meaning_of(action, whole) for name, action in options.items()}
        for title, options in sections.items()
    }
