"""The tab in which a film is made: pictures in, choices, progress, the film."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from data.fit import Fit
from data.system.errors import UserError, shell_quoted
from data.system.program import program_command
from vae.latent.keyframes import names_picture
from vae.latent.timing import EASINGS
from vae.render.clips import Between
from vae.render.formats.format import FORMATS
from vae.render.studio import markup
from vae.render.studio.film_options import AUTOMATIC, MOST, FilmOptions, check_count, help_of, meaning_of
from vae.render.studio.keyframe_pictures import keyframe_pictures, roll_seeds
from vae.render.studio.rendering import Rendering
from vae.render.studio.sessions import Session, Sessions
from vae.render.walks.paths import MEANINGS

_SIZES = [128, 256, 384, 512, 720, 1080]
_SHOWN = {"linear": "Straight", "slerp": "Arc", "spline": "Curve", "route": "Best (slower)", "loop": "Endless loop"}
_QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}


class MorphTab:
    """The tab.

    Args:
        sessions: of the server.
        checkpoint: of all films; None is the renderer's default.
    """

    def __init__(self, sessions: Sessions, checkpoint: Path | None) -> None:
        self._sessions, self._checkpoint = sessions, checkpoint
        with gr.Row(elem_classes="columns"):
            with gr.Column(scale=5, min_width=320):
                self._build_pictures()
                self._build_choices()
                self._build_buttons()
            with gr.Column(scale=6, min_width=320):
                self._film = gr.HTML(markup.EMPTY, elem_id="film")
                with gr.Accordion("What the renderer said", open=False, visible=False) as self._report:
                    self._lines = gr.HTML(elem_id="report")
        self._connect()

    def _build_pictures(self) -> None:
        self._words = gr.State([])
        gr.HTML(
            "<h2>1. Pictures</h2><p>Two to eight. The film goes through them in this order; click one to remove it.</p>"
        )
        self._drop = gr.File(show_label=False, file_count="multiple", height=136, elem_id="drop")
        self._gallery = gr.Gallery(
            show_label=False,
            elem_id="keyframes",
            columns=4,
            height="auto",
            object_fit="cover",
            fit_columns=False,
            allow_preview=False,
            interactive=False,
            buttons=[],
            visible=False,
        )
        with gr.Row():
            self._roll = gr.Button("Roll random pictures instead", size="sm", elem_id="roll", scale=3, min_width=180)
            self._clear = gr.Button("Clear", size="sm", elem_id="clear", scale=1, min_width=80)

    def _build_buttons(self) -> None:
        with gr.Row():
            self._make = gr.Button(
                "Make the film", variant="primary", size="lg", elem_id="make", scale=3, min_width=180
            )
            self._stop = gr.Button("Stop", elem_id="stop", interactive=False, scale=1, min_width=80)
        self._note = gr.HTML(elem_id="note")

    def _build_choices(self) -> None:
        paths = [(_SHOWN.get(name, name), name) for name in MEANINGS]
        gr.HTML("<h2>2. Film</h2>")
        self._path = gr.Radio(paths, value="slerp", label="Path", info=meaning_of("slerp"), elem_id="path")
        self._seconds = gr.Slider(1, 30, 4, step=0.5, label="Seconds", elem_id="seconds")
        with gr.Row():
            self._size = gr.Dropdown(_SIZES, value=256, label="Size in pixels", elem_id="size", min_width=110)
            formats = [(suffix[1:].upper(), suffix) for suffix in FORMATS]
            self._suffix = gr.Dropdown(formats, value=".mp4", label="Format", elem_id="format", min_width=110)
        with gr.Accordion("More choices", open=False):
            easings = [AUTOMATIC, *EASINGS]
            self._easing = gr.Dropdown(easings, value=AUTOMATIC, label="Easing", info=help_of("easing"))
            self._rest = gr.Slider(0, 5, 0, step=0.1, label="Rest on each picture, in seconds", info=help_of("hold"))
            self._fps = gr.Slider(5, 50, FilmOptions.fps, step=1, label="Frames a second")
            self._fit = gr.Radio(get_args(Fit), value=FilmOptions.fit, label="Square by", info=help_of("fit"))
            self._between = gr.Radio(
                get_args(Between), value=FilmOptions.between, label="Between pictures", info=help_of("between")
            )

    def _connect(self) -> None:
        pictures = [self._words, self._gallery, self._note]
        self._drop.upload(self.add, [self._drop, self._words, self._fit], [self._drop, *pictures], **_QUIET)
        self._roll.click(self.roll, [self._fit], pictures, **_QUIET)
        self._clear.click(lambda: self._shown([], "crop"), None, pictures, **_QUIET)
        self._gallery.select(self.take_out, [self._words, self._fit], pictures, **_QUIET)
        self._fit.change(self.show, [self._words, self._fit], pictures, **_QUIET)
        self._path.change(lambda path: gr.update(info=meaning_of(path)), self._path, self._path, **_QUIET)
        choices = [self._path, self._seconds, self._size, self._suffix, self._easing, self._rest, self._fps]
        choices += [self._fit, self._between]
        shown = [self._film, self._note, self._lines, self._report, self._make, self._stop]
        self._make.click(self.make, [self._words, *choices], shown, **_QUIET)
        self._stop.click(self.stop, None, None, queue=False, **_QUIET)

    def add(self, files: Sequence[str] | None, words: list[str], fit: Fit, request: gr.Request) -> tuple[Any, ...]:
        """Adds files that were dropped, in the place of seeds; one that is no picture leaves all as it was."""
        session = self._session(request)
        kept = [word for word in words if names_picture(word)]
        try:
            if files is None or len(kept) + len(files) > MOST:
                check_count(len(kept) + len(files or ()))
            kept += [str(session.keep(Path(file))) for file in files or ()]
            return None, *self._shown(kept, fit)
        except UserError as fault:
            return None, gr.skip(), gr.skip(), _fault(fault, session)

    def roll(self, fit: Fit, request: gr.Request) -> tuple[Any, ...]:
        """Takes other random pictures of the model in the place of all."""
        return self.show(roll_seeds(), fit, request)

    def take_out(self, words: list[str], fit: Fit, request: gr.Request, event: gr.SelectData) -> tuple[Any, ...]:
        """Takes the picture out that was clicked."""
        return self.show([word for place, word in enumerate(words) if place != event.index], fit, request)

    def show(self, words: list[str], fit: Fit, request: gr.Request) -> tuple[Any, ...]:
        """Shows the keyframes."""
        try:
            return self._shown(words, fit)
        except UserError as fault:
            return gr.skip(), gr.skip(), _fault(fault, self._session(request))

    def _shown(self, words: list[str], fit: Fit) -> tuple[Any, ...]:
        shown = keyframe_pictures(words, fit, self._checkpoint)
        # a gallery that is given the same number of pictures keeps what it had selected
        return words, gr.update(value=shown, visible=bool(words), selected_index=None), ""

    def make(
        self,
        words: list[str],
        path: str,
        seconds: float,
        size: int,
        suffix: str,
        easing: str,
        rest: float,
        fps: float,
        fit: str,
        between: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Renders a film and shows how far it is; only one runs for a page."""
        session = self._session(request)
        kept = gr.skip()
        options = FilmOptions(path, seconds, size, suffix, easing, rest, fps, fit, between)
        try:
            out = session.new_folder() / f"{path}{suffix}"
            rendering = session.render(options.words(words, out, self._checkpoint))
        except UserError as fault:
            yield kept, _fault(fault, session), kept, kept, kept, kept
            return
        busy = kept, kept, gr.update(interactive=False), gr.update(interactive=True)
        yield kept, markup.progress_bar(None), *busy
        for progress in rendering.progress():
            yield kept, markup.progress_bar(progress), *busy
        yield *self._ended(session, rendering, out), gr.update(interactive=True), gr.update(interactive=False)

    def _ended(self, session: Session, rendering: Rendering, out: Path) -> tuple[Any, ...]:
        """The film, the line below, what the renderer said, and whether that is shown."""
        if rendering.stopped or rendering.fault:
            session.remove(out)
            line = "Stopped; nothing is half-written." if rendering.stopped else rendering.fault or ""
            return gr.skip(), _line(line, session, not rendering.stopped), gr.skip(), gr.skip()
        session.show_only(out)
        player = markup.film_player(out, f"sessions/{out.relative_to(self._sessions.folder).as_posix()}")
        said = "\n".join(markup.without_folders(line, session.folder) for line in rendering.lines[:-1])
        command = markup.without_folders(" ".join(map(shell_quoted, map(Path, rendering.words))), session.folder)
        return player, "", markup.verbatim(f"{said}\n\n{program_command('render')} {command}"), gr.update(visible=True)

    def stop(self, request: gr.Request) -> None:
        """Ends the rendering of this page."""
        if rendering := self._session(request).rendering:
            rendering.stop()

    def _session(self, request: gr.Request) -> Session:
        return self._sessions[request.session_hash or ""]


def _line(line: str, session: Session, fault: bool) -> str:
    return markup.note(markup.without_folders(line, session.folder), fault)


def _fault(fault: UserError, session: Session) -> str:
    return _line(str(fault), session, True)
