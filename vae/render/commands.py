"""The renderer's command line: its commands, and which options each takes."""

from dataclasses import fields
from typing import Any, ClassVar

from jsonargparse import ArgumentParser

from vae import __version__
from vae.command_line import OneLineParser
from vae.render.options import (
    Explore,
    Export,
    Keys,
    Lines,
    Loop,
    Motion,
    Rival,
    Samples,
    Screen,
    Source,
    Strip,
    Tiles,
    Traverse,
)

_KEYFRAMES = ("keyframes", "integers are seeds, walk.npz:3 is a latent that was saved, anything else a picture")
_PATHS = ("paths", "which paths, in any order: linear slerp spline route")
_CHECKPOINTS = ("checkpoint", "one .ckpt file or several, whose walks from the same seeds are shown in step")
_ENCODER = ("encoder", "write the encoder too, as encoder.onnx beside decoder.onnx")
_WORDS: dict[str, Any] = {"nargs": "+", "type": str, "default": None}
_FLAG = {"action": "store_true"}
_WALKED = (Source, Keys, Screen, Motion, Tiles)

# command: its help, its groups of options, its options that take several words or, being flags, none
COMMANDS: dict[str, tuple[str, tuple[type, ...], tuple[tuple[str, str], ...]]] = {
    "linear": ("Straight lines through latent space, keyframe to keyframe.", _WALKED, (_KEYFRAMES,)),
    "slerp": ("Great circles through latent space, keyframe to keyframe.", _WALKED, (_KEYFRAMES,)),
    "spline": ("A curve without a kink through all keyframes.", _WALKED, (_KEYFRAMES,)),
    "route": ("A curve bent until it stays among pictures; searched for some seconds.", _WALKED, (_KEYFRAMES,)),
    "loop": (
        "A curve through all keyframes and back, without a seam and without a frame shown twice.",
        (*_WALKED, Loop),
        (_KEYFRAMES,),
    ),
    "compare": (
        "Paths, or models, in step: labelled, with their speed and sharpness below and a table of their numbers.",
        (Keys, Screen, Motion, Rival),
        (_KEYFRAMES, _PATHS, _CHECKPOINTS),
    ),
    "strip": (
        "A still: the path's pictures side by side, with the time t under each; a row for each of several --paths.",
        (Source, Keys, Screen, Strip),
        (_KEYFRAMES, _PATHS),
    ),
    "traverse": (
        "A still: the latents that say most, a row each, from −3 to 3 around a keyframe.",
        (Source, Keys, Screen, Traverse),
        (_KEYFRAMES,),
    ),
    "samples": ("A still: pictures drawn from the prior.", (Source, Screen, Samples), ()),
    "explore": (
        "A page to morph by hand between four keyframes, in any browser, without a network.",
        (Source, Explore),
        (_KEYFRAMES,),
    ),
    "export": ("The model for other programs, as ONNX or safetensors.", (Source, Export), (_ENCODER,)),
    "lines": (
        "Scores a model of the data set `lines` by the LINES benchmark, beside paths that are known.",
        (Lines,),
        (),
    ),
}


class Parser(OneLineParser, ArgumentParser):
    """Tells what is wrong with an argument in one line."""

    program, default_option = "render.py", "--keyframes"
    option_for: ClassVar = {".ckpt": "--checkpoint", ".onnx": "--generator"}
    synonyms: ClassVar = {
        "--output": "--out",
        "--images": "--keyframes",
        "--input": "--keyframes",
        "--model": "--checkpoint",
    }

    def commands_with(self, option: str) -> list[str]:
        """The commands that have an option."""
        name = option.lstrip("-")
        return [
            command
            for command, (_, groups, lists) in COMMANDS.items()
            if name in {field.name for group in groups for field in fields(group)} | {name for name, _ in lists}
        ]


def build_parser(description: str | None, chosen: str | None = None) -> Parser:
    """The command line: subcommands; where one is chosen, only that one has its options, which is quicker."""
    parser = Parser(prog="render.py", description=description, version=__version__)
    commands = parser.add_subcommands(required=False)
    for name, (purpose, groups, lists) in COMMANDS.items():
        command = Parser(description=purpose)
        if chosen not in (name, None):
            groups, lists = (), ()
        for group in groups:
            command.add_class_arguments(group)
        for option, meaning in lists:
            kind = _FLAG if option == _ENCODER[0] else _WORDS
            command.add_argument(f"--{option}", **kind, help=meaning)
        commands.add_subcommand(name, command, help=purpose)
    return parser
