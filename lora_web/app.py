"""The page: a header, one tab per family, and the settings it is served with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Read by Gradio when it is imported: nothing is sent anywhere.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from starlette.middleware import Middleware

from pipelines.errors import ProblemsError

from . import api, editor, glance, rows, scripts
from .header import header
from .hosts import HostCheck
from .intake import Intake
from .languages import LanguageChoice
from .panels.trust import Trust
from .site import Site
from .tabs import library, mmdit_layout, runs, stable_diffusion, text_llm, vora
from .text import LANGUAGES, say, speaking
from .theme import CSS, FAVICON, theme
from .workspace import Limits, Workspace

TABS = (stable_diffusion, mmdit_layout, text_llm, vora, library, runs)
_HOUR = 3600


class Page(gr.Blocks):
    """The page and what it serves."""

    def __init__(self, site: Site):
        super().__init__(title=say("title"), analytics_enabled=False, delete_cache=(_HOUR, 24 * _HOUR))
        self.site = site


def build(root: Path, hosted: bool = False) -> Page:
    """The page over a workspace folder, queue set up, not yet served. `hosted`: strangers come here.

    Raises ProblemsError when the environment asks for something that is not served.
    """
    if os.environ.get("GRADIO_VIBE_MODE"):
        raise ProblemsError(say("vibe_refused"))
    workspace = Workspace(root, Limits.read(hosted, os.environ))
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.root / "served")
    site = Site(workspace, hosted)
    demo = Page(site)
    # Gradio goes through all there is here and at the end of each block: early, and in one block, that is quick.
    demo.queue(api_open=False, max_size=200)
    for code, path in LANGUAGES.items():
        with speaking(code):
            if path:
                demo.route(say("title"), path, show_in_navbar=False)
    with demo:
        demo.current_page = ""
        # First: a handler of the page that has the same name gets a number, not the endpoint.
        api.connect(site)
        for code, demo.current_page in LANGUAGES.items():
            with speaking(code):
                _page(site, demo)
    return demo


def _page(site: Site, demo: Page) -> None:
    """The page in the language spoken now."""
    who = gr.BrowserState({}, storage_key="lora-web", secret=site.workspace.secret)
    gr.Navbar(visible=False)
    header()
    with gr.Tabs():
        for tab in TABS:
            with gr.Tab(tab.title(), id=tab.__name__.rpartition(".")[2]):
                tab.build(site, who, demo)
    Trust(site, who).connect()


def launch_settings(demo: Page, host: str, port: int | None, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Arguments of `demo.launch` that belong together with `build`."""
    limits = demo.site.workspace.limits
    return {
        "server_name": host,
        "server_port": port,
        "theme": theme(),
        "css": CSS,
        "head": scripts.head(),
        "favicon_path": FAVICON,
        "footer_links": ["settings"],
        "run_history": False,
        "max_file_size": limits.file_bytes,
        "enable_monitoring": False,
        "ssr_mode": False,
        "app_kwargs": {
            "routes": [*editor.routes(), *rows.routes(), glance.route(demo.site)],
            "middleware": [
                Middleware(HostCheck, host=host, allowed=allowed),
                Middleware(Intake, limits=limits),
                Middleware(LanguageChoice),
                Middleware(glance.Glance),
            ],
            "docs_url": None,
            "redoc_url": None,
        },
    }
