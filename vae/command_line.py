"""How a mistake in the words of a command is told: in one line that names the option, the fault and the remedy.

argparse and jsonargparse say it in terms of parsers and types; that is recognized here, for both programs.
"""

import re
import sys
from argparse import Action
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Literal, NoReturn, get_args, get_origin

from data.system.errors import echo
from data.system.home import expand_tilde_arguments, expand_tildes
from data.system.spelling import closest_match, suggest, suggest_file

_IN_WORDS = {int: "a whole number", float: "a number", str: "a word", Path: "a word", NoneType: "null"}
_LONGEST = 100
_FEW = 4  # options that are all named


class OneLineParser:
    """What the parsers of both programs have in common.

    Attributes:
        program: whose command line it is.
        usual: the option that a word is likely to be for which follows none.
        likely: the same for certain words and for files with certain suffixes.
        called: what other programs call an option, and what is written here.
    """

    program: str
    usual: str
    likely: ClassVar[Mapping[str, str]]
    called: ClassVar[Mapping[str, str]]
    prog: str
    args: list[str]
    exit_on_error: bool
    _actions: list[Action]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)  # type: ignore[call-arg]  # else a misspelt option starts a training

    def add_class_arguments(self, theclass: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes the class: the options of one that an option names have a parser of their own."""
        self._class = theclass
        return super().add_class_arguments(theclass, *args, **kwargs)  # type: ignore[misc]

    @property
    def _prefix(self) -> str:
        """What goes before the name of an option that is a class's: that of the option which names the class."""
        if self.exit_on_error:
            return "--"
        name = re.escape(self._class.__name__)
        found = re.search(rf"\0(--[\w.]+)\+?[\0=](?:\S*\.)?{name}\0", "".join(f"\0{word}" for word in sys.argv) + "\0")
        return f"{found[1]}." if found else f"{self._class.__name__}."

    def parse_args(self, args: Any = None, *more: Any, **how: Any) -> Any:
        """The options that a command's words mean, with the folders of users in them."""
        words = expand_tilde_arguments(sys.argv[1:] if args is None else list(args))
        defaults = {flag[2:]: action.default for flag, action in self._options().items()}
        return expand_tildes(super().parse_args(words, *more, **how), defaults)  # type: ignore[misc]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints one line and exits with code 2."""
        words = " ".join(str(message).split())
        for pattern, tell in _RULES:
            if found := re.match(pattern, words):
                line = tell(self, *found.groups())
                break
        else:
            line = f"{words}; see {self._manual}"
        echo(f"{self.program}: {line}", sys.stderr)
        raise SystemExit(2)

    def owners(self, option: str) -> list[str]:
        """The commands that have an option; a program whose commands all have the same need not say."""
        return []

    @property
    def _command(self) -> str:
        return self.prog.partition(" [options] ")[2]

    @property
    def _manual(self) -> str:
        return " ".join(f"python {self.program} {self._command} --help".split())

    def _options(self) -> dict[str, Action]:
        """All that begins with two dashes, of the commands too."""
        found: dict[str, Action] = {}
        for action in self._actions:
            found |= {flag: action for flag in action.option_strings if flag.startswith("--")}
            for command in _commands(action).values():
                found |= command._options()
        return {flag: action for flag, action in found.items() if not flag.endswith((".help", "+"))}

    def _no_command(self) -> str:
        known = [name for action in self._actions for name in _commands(action)]
        word = self.args[0]
        if word.startswith("-"):
            return f"{word}: comes before any command; begin with {', '.join(known)}"
        return f"{word}: no such command; {suggest(word, known)}"

    def _unknown(self, words: str) -> str:
        words = words or "''"
        word = words.split()[0]
        if not word.startswith("-"):
            return f"{word}: follows no option; {self._meant(words)}"
        option = word.partition("=")[0]
        if option in self.called:
            return f"{option}: no such option; did you mean {self.called[option]}?"
        if option.startswith("--") and (owners := self.owners(option)):
            return f"{option}: no option of {self._command}, but of {', '.join(owners)}; see {self._manual}"
        return f"{option}: no such option; {self._nearest(option)}"

    def _nearest(self, option: str) -> str:
        begun = [name for name in self._options() if name.startswith(option)]
        if not 0 < len(begun) <= _FEW:
            return suggest(option, self._options(), f"see {self._manual}")
        *most, last = begun
        return f"did you mean {', '.join(most)}{' or ' if most else ''}{last}?"

    def _meant(self, words: str) -> str:
        word, *_ = words.split()
        option, equals, value = word.partition("=")
        if equals and (near := closest_match(option, self._options())):
            return f"did you mean {near} {value}?"
        likely = self.likely.get(word) or self.likely.get(Path(word).suffix, self.usual)
        if likely not in self._options():
            return f"see {self._manual}"
        return f"is {likely} {words} meant, or a value in quotes?"

    def _unknown_key(self, key: str) -> str:
        keys = [option[2:] for option in self._options()]
        return f"{self._config()}: {key} is no option; {suggest(key, keys, f'see {self._manual}')}"

    def _bare(self, option: str) -> str:
        return f"{option}: has no value; write {_in_words(self._options().get(option))} after it"

    def _switch(self, option: str, value: str) -> str:
        return f"{option} {value}: is a switch, which takes no value; write {option} alone, or leave it out"

    def _linked(self, option: str, source: str) -> str:
        return f"--{option}: is what another option says; give --{source}"

    def _group(self, name: str) -> str:
        (first, *_) = (option for option in self._options() if option.startswith(f"--{name}."))
        return f"--{name}: stands for many options; name one of them, as {first} VALUE"

    def _value(self, key: str, value: str) -> str:
        action = self._options().get(f"--{key}")
        key = self._prefix + key
        if action is None:
            return f"{key} {value[:_LONGEST]}: will not do; see {self._manual}"
        near = closest_match(value, _choices(action))
        remedy = f"no such value; did you mean {near}?" if near else f"must be {_in_words(action)}"
        return f"{key} {value[:_LONGEST] or repr(value)}: {remedy}"

    def _class_fault(self, key: str, reason: str, value: str) -> str:
        return f"--{key} {value[:_LONGEST]}: {reason}; mend that, or name another class"

    def _missing(self, names: str) -> str:
        first = names.split(", ")[0]
        return f"{self._prefix.rstrip('.')} {self._class.__name__}: needs {names}; give {self._prefix}{first} VALUE"

    def _not_accepted(self, name: str) -> str:
        known = [f"{self._prefix}{option[2:]}" for option in self._options()]
        return f"{self._prefix}{name}: no such option; {suggest(f'{self._prefix}{name}', known)}"

    def _config(self) -> str:
        found = re.findall(r"\0(?:-c|--config)[\0=]([^\0]+)", "".join(f"\0{word}" for word in self.args))
        return ", ".join(found)[:_LONGEST] or "--config"

    def _bad_config(self, reason: str) -> str:
        missed = re.match(r"(File does not exist|Path is not a file): '(.+)'", reason)
        file = missed[2][:_LONGEST] if missed else self._config()
        if missed and "exist" in missed[1]:
            written = f"python {self.program} {self._command} --print_config > {file} writes one"
            return f"{file}: no such file; {suggest_file(Path(file), written)}"
        place = re.findall(r"line \d+, column \d+", reason)
        unsafe = re.search(r"not taken: (.+)", reason)
        at = f" ({unsafe[1]})" if unsafe else f" ({place[-1]})" if place else ""
        return f"{file}: no config in YAML{at}; python {self.program} {self._command} --print_config shows one"


# the first thing that is wrong with a class, unless that is that the value names none
_CLASS = (
    r"""Parser key "(.+?)": (?:- Expected a path |(?=.*'class_path')).*?Errors: """
    r"- (?:Problem with given class_path \S+ )?(?!Expected a|Not a valid)(.+?) - .*Given value: ?(.*)"
)
_RULES = (
    (r"argument subcommand: invalid choice", OneLineParser._no_command),
    (r"[Uu]nrecognized arguments: ?(.*)", OneLineParser._unknown),
    (r"Subcommand '\w+' does not accept option '(.+)'", OneLineParser._unknown_key),
    (r"argument (?:-\w/)?(--\S+): expected", OneLineParser._bare),
    (r"argument (--\S+): ignored explicit argument '(.*)'", OneLineParser._switch),
    (r'Linked "(.+)" must be given via "(.+)"', OneLineParser._linked),
    (r'(?:Parser key "config"|Problems parsing config|Unexpected config): ?(.*)', OneLineParser._bad_config),
    (r'Parser key "(.+?)": Unable to load config', OneLineParser._group),
    (_CLASS, OneLineParser._class_fault),
    (r'Parser key "(.+?)".* (?:Got|Given) value: ?(.*)', OneLineParser._value),
    (r"the following arguments are required: (.*)", OneLineParser._missing),
    (r"Option '(.+)' is not accepted", OneLineParser._not_accepted),
)


def _commands(action: Action) -> dict[str, Any]:
    return action.choices if isinstance(action.choices, dict) else {}


def _types(hint: Any) -> list[Any]:
    """What a type hint allows: types and the values of literals."""
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) in (None, list):
        return [get_origin(hint) or hint]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [one for part in get_args(hint) for one in _types(part)]


def _choices(action: Action) -> list[str]:
    """The values of literals, and the names of Lightning's classes where one is to be named."""
    allowed = [part for one in _types(getattr(action, "_typehint", None)) for part in (get_args(one) or (one,))]
    classes = [one for one in allowed if getattr(one, "__module__", "").startswith("lightning.")]
    return [one for one in allowed if isinstance(one, str)] + [name for one in classes for name in _subclasses(one)]


def _subclasses(kind: type) -> list[str]:
    known: list[type] = kind.__subclasses__()
    return [name for one in known for name in (one.__name__, *_subclasses(one))]


def _in_words(action: Action | None) -> str:
    """What an option takes."""
    allowed = _types(getattr(action, "_typehint", None) or str)
    if float in allowed:
        allowed = [one for one in allowed if one is not int]
    words = [_IN_WORDS.get(one, f"a {one.__name__}") if isinstance(one, type) else str(one) for one in allowed]
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last
