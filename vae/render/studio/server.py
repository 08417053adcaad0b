"""`studio`: the page, served to this machine alone, until Ctrl-C.

It loads nothing from elsewhere: its security policy forbids that, and Gradio's telemetry is switched off.
"""

import os
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from data.system.errors import UserError, echo
from data.system.files import check_regular_file
from vae.checkpoint import load_vae
from vae.option_groups import Range, Switch
from vae.optional import check_installed
from vae.render.options import File, RenderRequest
from vae.render.studio.sessions import Sessions

HOST = "127.0.0.1"
_FIRST_PORT, _PORTS = 7860, 100
_PATIENCE = 5.0  # s, for answers that are under way
_QUIET = {  # before Gradio is imported
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [(b"content-security-policy", _POLICY.encode()), (b"referrer-policy", b"no-referrer")]

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@dataclass(frozen=True)
class StudioOptions:
    """The page in the browser.

    Args:
        port: the port of this machine at which the page is; null is a free one, from 7860.
        checkpoint: a .ckpt file; null is the newest last.ckpt below checkpoints/, or else an included model.
    """

    port: Annotated[int | None, Range(1, 65535)] = None
    checkpoint: File = None
    no_browser: Annotated[bool, Switch("do not open the browser")] = False


def studio(request: RenderRequest, options: StudioOptions) -> None:
    """Serves the page until Ctrl-C."""
    if options.checkpoint:
        check_regular_file(options.checkpoint)
        load_vae(options.checkpoint)
    with _quiet(), tempfile.TemporaryDirectory(prefix="latent-loom-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))
        check_installed("gradio", "studio")
        listening = _free_socket(options.port)  # which the server closes
        sessions = Sessions(Path(folder, "sessions"))
        try:
            _serve(_app(sessions, options.checkpoint), listening, not options.no_browser)
        except KeyboardInterrupt:
            print()  # after the terminal's ^C
            echo("studio: closed")
        finally:
            sessions.close_all()


@contextmanager
def _quiet() -> Iterator[None]:
    """The environment in which Gradio tells nobody of its use; afterwards it is as before."""
    before = dict(os.environ)
    os.environ.update(_QUIET)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _free_socket(port: int | None) -> socket.socket:
    """A socket that listens at that port, or at the first free one. Raises `UserError` if there is none."""
    for tried in range(_FIRST_PORT, _FIRST_PORT + _PORTS) if port is None else [port]:
        listening = socket.socket()
        if os.name == "posix":  # elsewhere two programs could have the same port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, tried))
            listening.listen()
            return listening
        except OSError:
            listening.close()
    if port is None:
        raise UserError(
            f"port: none from {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1} is free; name another with --port"
        )
    raise UserError(f"--port {port}: is in use, or not yours to use; leave it out to have a free one")


def _app(sessions: Sessions, checkpoint: Path | None) -> App:
    """The page and the files of its sessions, for browsers on this machine."""
    import fastapi
    import gradio
    from fastapi.staticfiles import StaticFiles
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from vae.render.studio.page import build_page  # which imports Gradio

    sessions.folder.mkdir()
    app = fastapi.FastAPI(openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])  # no other site's name leads here
    app.mount("/sessions", StaticFiles(directory=sessions.folder))
    page = build_page(sessions, checkpoint)
    style = Path(__file__).with_name("studio.css")
    font = ["system-ui", "sans-serif"]
    theme = gradio.themes.Default(primary_hue="teal", font=font, font_mono=["ui-monospace", "monospace"])
    theme.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
    gradio.mount_gradio_app(
        app,
        page,
        "",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size="100mb",
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css_paths=style,
    )
    return _with_policy(app)


def _with_policy(app: App) -> App:
    """The app, whose answers forbid the browser to reach any other machine."""

    async def guarded(scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await app(scope, receive, answer)

    return guarded


def _opened(url: str) -> bool:
    with suppress(webbrowser.Error):
        return webbrowser.open(url)
    return False


def _serve(app: App, listening: socket.socket, browser: bool) -> None:
    """Answers until the main thread is interrupted; uvicorn would handle signals in its own way there."""
    import uvicorn

    config = uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            thread.join(0.05)
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        echo(f"studio: {url}{' opens in your browser' if browser else ''}; Ctrl-C here ends it")
        if browser and not _opened(url):
            echo("no browser was found on this machine; open the address in one")
        while thread.is_alive():
            thread.join(0.5)
    finally:
        server.should_exit = True
        thread.join(_PATIENCE)
        server.force_exit = True
        thread.join(_PATIENCE)
