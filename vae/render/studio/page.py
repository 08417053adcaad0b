"""The page: a tab to make films, and one that follows trainings."""

from pathlib import Path

import gradio as gr

from vae.render.studio.morph_tab import MorphTab
from vae.render.studio.sessions import Sessions
from vae.render.studio.training_tab import TrainingTab

_TITLE = "<h1>Latent Loom</h1><p>Films in which your pictures become one another. Nothing leaves this machine.</p>"
_HOUR = 3600  # s


def build_page(sessions: Sessions, checkpoint: Path | None) -> gr.Blocks:
    """The page, whose session ends when its tab in the browser is closed."""

    def close(request: gr.Request) -> None:
        sessions.close(request.session_hash or "")

    uploads = (_HOUR, 24 * _HOUR)  # how often they are looked at, and how old they become
    with gr.Blocks(title="Latent Loom", analytics_enabled=False, delete_cache=uploads) as page:
        gr.HTML(_TITLE, elem_id="title")
        with gr.Tabs():
            with gr.Tab("Morph"):
                MorphTab(sessions, checkpoint)
            with gr.Tab("Training") as training:
                TrainingTab(training)
        page.unload(close)
    return page
