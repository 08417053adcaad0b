"""The tab that follows a training: its newest morphs, its verdict, and three numbers with their curves."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from data.system.program import program_command
from vae.render.studio import markup
from vae.render.studio.training_log import (
    CURVES,
    Curve,
    find_runs,
    fingerprint,
    newest_morphs,
    read_scalars,
    verdict_on,
)

_LOGS = Path("logs")
_PERIOD = 4.0  # s
_NONE = f"No training yet: {program_command('train')} starts one, and what it learns appears here while it does."


class TrainingTab:
    """The tab, which looks at the files of a run now and then."""

    def __init__(self, tab: gr.Tab) -> None:
        self._run = gr.Dropdown([], label="Training", elem_id="run", info="The newest is first.")
        self._verdict = gr.HTML(markup.note(_NONE), elem_id="verdict")
        self._curves = gr.HTML(elem_id="curves")
        self._morphs = gr.Gallery(
            show_label=False,
            elem_id="morphs",
            columns=3,
            object_fit="contain",
            height="auto",
            interactive=False,
            buttons=[],
            visible=False,
        )
        self._seen = gr.State(None)
        inputs, outputs = [self._run, self._seen], [self._run, self._verdict, self._curves, self._morphs, self._seen]
        quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
        for when in (gr.Timer(_PERIOD).tick, tab.select, self._run.input):
            when(self.refresh, inputs, outputs, **quiet)

    def refresh(self, chosen: str | None, seen: Any) -> tuple[Any, ...]:
        """What has changed since the last look; the newest run is shown until another one is chosen."""
        runs = {run.relative_to(_LOGS).as_posix(): run for run in find_runs(_LOGS)}
        if not runs:
            return gr.update(choices=[], value=None), markup.note(_NONE), "", gr.update(value=[], visible=False), None
        name = chosen if chosen in runs else next(iter(runs))
        run = runs[name]
        now = [list(runs), name, fingerprint(run)]
        if now == seen:
            return (gr.skip(),) * 5
        scalars, morphs = read_scalars(run), newest_morphs(run)
        return (
            gr.update(choices=list(runs), value=name),
            markup.note(verdict_on(run, scalars)),
            curves(scalars),
            gr.update(value=morphs, visible=bool(morphs)),
            now,
        )


def curves(scalars: Mapping[str, Sequence[float]]) -> str:
    """Cards, one for each of `CURVES` that was measured."""
    cards = (_card(curve, scalars[curve.tag]) for curve in CURVES if curve.tag in scalars)
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(curve: Curve, values: Sequence[float]) -> str:
    name, good = html.escape(curve.name), html.escape(curve.good)
    number = format(values[-1], curve.form)
    return f'<div class="card"><p>{name}</p><b>{number}</b>{markup.sparkline(values)}<small>{good}</small></div>'
