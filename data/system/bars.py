"""Progress bars of long work: on a terminal or in a notebook one line that changes, elsewhere a line now and then."""

import sys
import time
from typing import Any

from tqdm import tqdm

_SECONDS = 30.0  # between lines that stay
_COLUMNS, _COLUMNS_OF_FILES = 80, 110


class Bar(tqdm):  # type: ignore[type-arg]
    """tqdm's bar, which appears after a second and is gone when the work is done.

    A file or a pipe keeps every line, so it gets one each half minute, and none when the bar closes.
    """

    def __init__(self, *words: Any, **options: Any) -> None:
        self._shown = time.monotonic()
        usual = {"leave": False, "delay": 1, "dynamic_ncols": True, "disable": sys.stderr is None}
        super().__init__(*words, **usual | options)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the line is made of; its columns also where the terminal does not say them, or there is none."""
        usual = _COLUMNS if self.disable or self.rewrites else _COLUMNS_OF_FILES
        found: dict[str, Any] = dict(super().format_dict)
        return found | {"ncols": found["ncols"] or usual}

    @property
    def rewrites(self) -> bool:
        """True if the line that is shown can be replaced."""
        return self.fp.isatty() or "ipykernel" in sys.modules

    def write_line(self) -> None:
        """Writes the bar as a line that stays, where none can be replaced."""
        if self.disable or self.rewrites:
            return
        self._shown = time.monotonic()
        self.fp.write(f"{self}\n")
        self.fp.flush()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # type: ignore[override]
        """Shows the bar, or a message in its place."""
        if self.rewrites:
            if self.nrows is not None and self.nrows < 1:
                self.nrows = None  # a terminal that does not say how many it has, for which tqdm shows nothing
            return bool(super().display(msg, pos))
        if msg is None and time.monotonic() - self._shown >= _SECONDS:
            self.write_line()
        return False

    def clear(self, *words: Any, **options: Any) -> None:
        """Removes the bar for a moment, so that something else can be written."""
        if not self.disable and self.rewrites:
            super().clear(*words, **options)

    def close(self) -> None:
        """Removes the bar, or leaves it as a line."""
        if not self.disable and not self.rewrites:
            self.sp = None  # nothing is there to be removed
        super().close()
