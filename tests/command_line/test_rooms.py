"""The rooms of the house: what may import what, as README's map says."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = (  # from the ground up; a module belongs to the longest name that it begins with
    "data.system",
    "data.rng",
    "data.fit",
    "data.picture_source",
    "data.image_files",
    "data.synthetic",
    "data",
    "vae.model",
    "vae",
    "vae.metrics",
    "vae.latent",
    "vae.tuning",
    "vae.morphing",
    "vae.render.formats",
    "vae.render",
    "vae.render.cli",
    "vae.training",
    "vae.training.tensorboard",
    "vae.training.loggers",
    "vae.training.runs",
    "vae.training.cli",
)
MOST_FILES = 13


def modules(root: Path) -> dict[str, str]:
    """The source of every module, by its dotted name."""
    found = {}
    for room in ("data", "vae"):
        for path in (root / room).rglob("*.py"):
            found[".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")] = path.read_text()
    del found["vae"]  # names what it imports when it is used, for type checkers
    return found


@functools.cache
def nodes(source: str) -> list[ast.AST]:
    """All parts of a source."""
    return list(ast.walk(ast.parse(source)))


def external(source: str) -> set[str]:
    """The packages that a source imports, the project's own among them."""
    found = set()
    for node in nodes(source):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def imports(source: str, known: set[str]) -> Iterator[str]:
    """The project's modules that a source imports, wherever in it."""
    for node in nodes(source):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in names]
        yield from (name for name in names if name.split(".")[0] in ("data", "vae"))


def floor(module: str) -> int:
    """Which of the floors a module is on."""
    homes = [home for home in FLOORS if f"{module}.".startswith(f"{home}.")]
    return FLOORS.index(max(homes, key=len))


def upward(found: dict[str, str]) -> list[str]:
    """Imports that go up, from a lower floor to a higher one."""
    return [
        f"{module} imports {other}"
        for module, source in found.items()
        for other in imports(source, set(found))
        if floor(other) > floor(module) and other not in ("vae", "data")
    ]


def circles(found: dict[str, str]) -> list[str]:
    """Modules that can be reached from themselves."""
    known = set(found)
    reached = {module: set(imports(source, known)) for module, source in found.items()}
    for middle in found:
        for module in found:
            if middle in reached[module]:
                reached[module] |= reached[middle]
    return [module for module in found if module in reached[module]]


def test_imports_go_down_only() -> None:
    found = modules(ROOT)
    assert not upward(found)
    assert not circles(found)


def test_an_import_that_goes_up_and_a_circle_are_noticed() -> None:
    found = modules(ROOT)
    found["vae.latent.paths"] += "\ndef late() -> None:\n    from vae.render import report\n"
    assert "vae.latent.paths imports vae.render.report" in upward(found)
    assert "vae.latent.paths" in circles(found)


@pytest.mark.parametrize("program", ["train.py", "render.py"])
def test_nothing_imports_the_programs(program: str) -> None:
    name = program.removesuffix(".py")
    assert not [module for module, source in modules(ROOT).items() if f"import {name}\n" in source]


def test_no_room_is_crowded() -> None:
    files: dict[Path, int] = {}
    for path in (path for room in ("data", "vae") for path in (ROOT / room).rglob("*.py")):
        files[path.parent] = files.get(path.parent, 0) + (path.name != "__init__.py")
    assert not {room: count for room, count in files.items() if count > MOST_FILES}


def test_lightning_is_known_to_the_training_alone() -> None:
    for module, source in modules(ROOT).items():
        if "lightning" in external(source):
            assert module == "data.datamodule" or module.startswith("vae.training"), module
