"""A folder of anyone's pictures as a source: decoded, and what could not be is told."""

import os
from contextlib import closing
from pathlib import Path

import PIL

from data.decoders import decoded
from data.listing import State, find_pictures, state_of
from data.source import Pictures, Source, Wish


def folder(root: Path, wish: Wish) -> Source:
    """The pictures below a folder, in the order of their names.

    A file that is not what it was when the folder was looked through is skipped, as one that is broken, and the cache
    told, so that it is looked into again next time.

    Raises:
        UserError: no picture in it.
    """
    found = find_pictures(root)
    found = [found[index] for index in wish.subset(len(found))]
    files = [(one.path, one.state) for one in found if one.state is not None]
    skipped: dict[str, str] = {}
    changed: list[str] = []

    def pictures() -> Pictures:
        skipped.update({str(one.path): one.fault for one in found if one.state is None})
        paths = [path for path, _ in files]
        with closing(decoded(paths, wish.size, wish.channels, wish.background)) as contents:
            for (path, state), content in zip(files, contents, strict=True):
                same = _state_now(path) == state
                if not same:
                    changed.append(str(path))
                    skipped[str(path)] = f"{path}: changed while the pictures were prepared"
                elif isinstance(content, str):
                    skipped[str(path)] = content
                yield content if same and not isinstance(content, str) else None

    recipe = {
        "root": os.path.realpath(root),
        "files": [(str(one.path.relative_to(root)), one.state, one.fault) for one in found],
        "background": wish.background,
        "pillow": PIL.__version__,
    }
    return Source(recipe, len(found), pictures, skipped, changed)


def _state_now(path: Path) -> State | None:
    try:
        return state_of(path.stat())
    except OSError:
        return None
