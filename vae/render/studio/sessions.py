"""Sessions: the files of one open page, in a folder of its own, and the rendering that runs for it."""

import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from data.system.files import storage_errors
from vae.render.studio.rendering import Rendering


class Session:
    """What one open page has made.

    Attributes:
        folder: of its files; its name cannot be guessed.
        rendering: the one that runs, or ran last.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rendering: Rendering | None = None
        self._numbers = count()
        self._film: Path | None = None

    def render(self, words: Sequence[str]) -> Rendering:
        """A command of render.py, in the place of one that runs."""
        if self.rendering:
            self.rendering.stop()
        self.rendering = Rendering(words)
        return self.rendering

    def show_only(self, film: Path) -> None:
        """Keeps a film and removes the one before it."""
        if self._film:
            self.remove(self._film)
        self._film = film

    def new_folder(self) -> Path:
        """An empty folder for a picture or a film. Raises `StorageError` if there is no room for it."""
        folder = self.folder / str(next(self._numbers))
        with storage_errors(folder):
            folder.mkdir()
        return folder

    def keep(self, file: Path) -> Path:
        """A copy of a file that was uploaded, under its name. Raises `StorageError` if there is no room for it."""
        copy = self.new_folder() / file.name
        with storage_errors(copy):
            try:
                return Path(shutil.copyfile(file, copy))
            except OSError:
                copy.unlink(missing_ok=True)
                raise

    def remove(self, path: Path) -> None:
        """Removes a folder that `new_folder` gave, or one in which `keep` has put a file."""
        own = path.relative_to(self.folder).parts[0]
        shutil.rmtree(self.folder / own, ignore_errors=True)

    def close(self) -> None:
        """Ends its rendering and removes its files."""
        if self.rendering:
            self.rendering.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """The sessions of a server by the names that it gives them, below a folder; made when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Session] = defaultdict(lambda: Session(Path(tempfile.mkdtemp(dir=folder))))

    def __getitem__(self, name: str) -> Session:
        with self._lock, storage_errors(self.folder):
            return self._known[name]

    def close(self, name: str) -> None:
        """Ends a session, if there is such a one."""
        with self._lock:
            session = self._known.pop(name, None)
        if session:
            session.close()

    def close_all(self) -> None:
        """Ends all sessions."""
        for name in list(self._known):
            self.close(name)
