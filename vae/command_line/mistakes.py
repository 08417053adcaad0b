"""`OneLineParser`: a mistake on the command line is one line that names the option, the fault and the remedy.

argparse and jsonargparse describe mistakes in terms of parsers and types. Their messages are matched with `_RULES`.
"""

import re
import sys
from argparse import Action
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Literal, NoReturn, get_args, get_origin

from data.system.errors import echo
from data.system.program import program_command, program_name
from data.system.spelling import closest_match, suggest, suggest_file
from vae.command_line.parser import CommandParser

_LONGEST = 100
_WORDS = {int: "a whole number", float: "a number", str: "a word", Path: "a word", NoneType: "null"}


class OneLineParser(CommandParser):
    """A mixin for jsonargparse's parser.

    Attributes:
        default_option: the option that a word without one is suggested for.
        option_for: the same for certain words, and for files with certain suffixes.
        synonyms: the names that other programs, or earlier versions, have for an option → its name.
    """

    default_option: str
    option_for: ClassVar[Mapping[str, str]]
    synonyms: ClassVar[Mapping[str, str]]
    args: list[str]
    exit_on_error: bool

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints one line and exits with code 2."""
        if not self.exit_on_error:  # of the options of a class that an option names, which is then the mistake
            super().error(message, ex)  # type: ignore[misc]
        words = " ".join(str(message).split())
        matches = ((re.match(pattern, words), describe) for pattern, describe in _RULES)
        line = next((describe(self, *match.groups()) for match, describe in matches if match), None)
        echo(f"{program_name(self.program)}: {line or words.rstrip('.') + f'; see {self.manual}'}", sys.stderr)
        raise SystemExit(2)

    def commands_with(self, option: str) -> list[str]:
        """The commands that have an option; none in a program whose commands all have the same."""
        return []

    def _unknown_command(self) -> str:
        known, word = list(self.commands), self.args[0]
        if word.startswith("-") and Path(word).exists():
            return f"{word}: is taken for an option; write ./{word} of the file"
        if word.startswith("-"):
            return f"{word}: comes before any command; begin with {', '.join(known)}"
        if option := self._option_for(word):
            return f"{word}: no such command; is {option} {word} meant?"
        return f"{word or repr(word)}: no such command, file or folder; {suggest(word, known)}"

    def _option_for(self, word: str) -> str | None:
        return self.option_for.get(word) or self.option_for.get(Path(word).suffix)

    def _flag(self, key: str) -> str:
        """The option that sets a key."""
        return next((flag for flag, action in self.options.items() if action.dest == key), f"--{key}")

    def _unknown_option(self, words: str) -> str:
        words = words or "''"
        word = words.split()[0]
        option, equals, value = word.partition("=")
        near = closest_match(option, self.options)
        if not word.startswith("-"):
            default = self._option_for(word) or self.default_option
            remedy = f"is {default} {words} meant, or a value in quotes?" if default in self.options else ""
            if equals and near:
                remedy = f"did you mean {near} {value}?"
            return f"{word}: follows no option; {remedy or f'see {self.manual}'}"
        if option.startswith("--") and (commands := self.commands_with(option)):
            return f"{option}: no option of {self.command}, but of {', '.join(commands)}; see {self.manual}"
        meant = self.synonyms.get(option) or near
        return f"{option}: no such option; {f'did you mean {meant}?' if meant else f'see {self.manual}'}"

    def _unknown_key(self, key: str) -> str:
        renamed = self.synonyms.get(f"--{key}")
        keys = [option[2:] for option in self.options]
        remedy = f"write {renamed[2:]}" if renamed else suggest(key, keys, f"see {self.manual}")
        return f"{self._config()}: {key} is no option; {remedy}"

    def _no_value(self, option: str) -> str:
        return f"{option}: has no value; write {_describe_type(self.options.get(option))} after it"

    def _bad_value(self, key: str, value: str) -> str:
        flag, shown = self._flag(key), value[:_LONGEST]
        action = self.options.get(flag)
        if action is None or not hasattr(action, "_typehint"):  # the options of a class, for example
            return f"{flag} {shown}: will not do; see {self.manual}"
        near = closest_match(value, _choices(action))
        remedy = f"no such value; did you mean {near}?" if near else f"must be {_describe_type(action)}"
        return f"{flag} {shown or repr(value)}: {remedy}"

    def _bad_class(self, key: str, kind: str | None, reason: str, value: str) -> str:
        reason = re.sub(r'Parser key "(.+?)".* Got value: ?(.*)', r"\1 \2 will not do", reason)
        return f"--{key} {(kind or value)[:_LONGEST]}: {reason}; mend that, or name another class"

    def _config(self) -> str:
        found = re.findall(r"\0(?:-c|--config)[\0=]([^\0]+)", "".join(f"\0{word}" for word in self.args))
        return ", ".join(found)[:_LONGEST] or "--config"

    def _bad_config(self, reason: str) -> str:
        printed = f"{program_command(self.program)} {self.command} --print_config"
        if missing := re.match(r"File does not exist: '(.+)'", reason):
            file = missing[1][:_LONGEST]
            return f"{file}: no such file; {suggest_file(Path(file), f'{printed} > {file} writes one')}"
        place = re.findall(r"not taken: (.+)|(line \d+, column \d+)", reason)
        at = f" ({place[-1][0] or place[-1][1]})" if place else ""
        return f"{self._config()}: no config in YAML{at}; {printed} shows one"


# the first error of a class that an option names, unless it is that the value names none
_CLASS = (
    r"""Parser key "(.+?)": (?:- Expected a path |(?=.*class_path)).*?Errors: - """
    r"""(?:Problem with given class_path '(\S+)': )?(?!Expected a|Not a valid)(.+?) - """
    r"""(?:Problem |Expected a |Not a ).*Given value: ?(.*)"""
)
_RULES = (
    (r"argument subcommand: invalid choice", OneLineParser._unknown_command),
    (r"[Uu]nrecognized arguments: ?(.*)", OneLineParser._unknown_option),
    (r"Subcommand '\w+' does not accept option '(.+)'", OneLineParser._unknown_key),
    (r"argument (?:-\w/)?(--\S+): expected", OneLineParser._no_value),
    (r'(?:Parser key "config"|Problems parsing config|Unexpected config): ?(.*)', OneLineParser._bad_config),
    (r'Parser key "(.+?)": Unable to load config .(\S+). ', OneLineParser._bad_value),
    (_CLASS, OneLineParser._bad_class),
    (r'Parser key "(.+?)".* (?:Got|Given) value: ?(.*)', OneLineParser._bad_value),
)


def _types(hint: Any) -> list[Any]:
    """The types that a hint allows, and the values of its literals.

    >>> _types(Literal["a", "b"] | int | None)
    ['a', 'b', <class 'int'>, <class 'NoneType'>]
    """
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) in (None, list):
        return [get_origin(hint) or hint]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [one for part in get_args(hint) for one in _types(part)]


def _choices(action: Action) -> list[str]:
    """The values of an option's literals, and the names of Lightning's classes where it takes one."""
    allowed = [part for one in _types(getattr(action, "_typehint", None)) for part in (get_args(one) or (one,))]
    classes = [one for one in allowed if getattr(one, "__module__", "").startswith("lightning.")]
    return [one for one in allowed if isinstance(one, str)] + [name for one in classes for name in _subclasses(one)]


def _subclasses(kind: type) -> list[str]:
    known: list[type] = kind.__subclasses__()
    return [name for one in known for name in (one.__name__, *_subclasses(one))]


def _describe_type(action: Action | None) -> str:
    """The type of an option in words, as `a whole number or null`; that of an unknown option is `a word`."""
    allowed = _types(getattr(action, "_typehint", None) or str)
    if float in allowed:
        allowed = [one for one in allowed if one is not int]
    words = [_WORDS.get(one, f"a {one.__name__}") if isinstance(one, type) else str(one) for one in allowed]
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last
