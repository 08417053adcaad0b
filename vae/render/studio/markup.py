"""HTML of what the page shows: a line, a progress bar, a film. What a file is called is never taken for HTML."""

import html
import re
from collections.abc import Sequence
from pathlib import Path

from vae.render.formats.format import FORMATS
from vae.render.studio.rendering import Progress

_STAGES = {"Tuning": "Fitting the model to your pictures", "": "Starting the renderer"}
EMPTY = '<div class="stage empty"><p>Your film will appear here.</p></div>'


def note(text: str, fault: bool = False) -> str:
    """A line below the buttons; a fault is announced by screen readers at once."""
    kind = "fault" if fault else "fine"
    return f'<p class="note {kind}" role="{"alert" if fault else "status"}">{html.escape(text)}</p>'


def progress_bar(progress: Progress | None) -> str:
    """What is being done, how much of it, and the time left; None is before the first bar.

    >>> progress_bar(Progress("/t/film.gif", 0.5, "00:03", "")).partition("<progress")[0]
    '<div class="note busy" role="status"><p><b>Drawing the frames</b> 50 %, 00:03 left</p>'
    """
    if progress is None:
        return f'<div class="note busy" role="status"><p><b>{_STAGES[""]}</b></p><progress></progress></div>'
    stage, share, left, reached = progress
    name = "Drawing the frames" if Path(stage).suffix in FORMATS else _STAGES.get(stage, stage)
    known = f"{left} left" if "?" not in left else ""
    facts = ", ".join(filter(None, (f"{100 * share:.0f} %", known, reached)))
    bar = f'<progress value="{share:g}"></progress>'
    return f'<div class="note busy" role="status"><p><b>{html.escape(name)}</b> {html.escape(facts)}</p>{bar}</div>'


def film_player(file: Path, url: str) -> str:
    """A film that plays again and again, and a link to keep it."""
    if FORMATS[file.suffix].has_sound:  # a video
        film = f'<video src="{url}" autoplay loop muted playsinline controls></video>'
    else:
        film = f'<img src="{url}" alt="The film">'
    size = file.stat().st_size / 1e6
    link = f'<a class="download" href="{url}" download="{file.name}">Download {file.name} ({size:.1f} MB)</a>'
    return f'<div class="stage">{film}</div>{link}'


def verbatim(text: str) -> str:
    """Lines as a terminal shows them."""
    return f"<pre>{html.escape(text)}</pre>"


def without_folders(line: str, folder: Path) -> str:
    """A line of the renderer in which files below a session's folder have their names alone."""
    return re.sub(rf"{re.escape(str(folder))}[\\/]\d+[\\/]", "", line)


def sparkline(values: Sequence[float], width: int = 240, height: int = 48) -> str:
    """A curve of numbers, oldest first, scaled to its box; of one number a line."""
    low, high = min(values), max(values)
    span = high - low or 1.0
    last = max(len(values) - 1, 1)
    points = [(4 + (width - 8) * k / last, 4 + (height - 8) * (high - value) / span) for k, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true"><polyline points="{line}"/>{dot}</svg>'
