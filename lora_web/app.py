"""The page: a header, one tab per family, and the settings it is served with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Read by Gradio when it is imported: nothing is sent anywhere.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from starlette.middleware import Middleware

from . import sentences
from .hosts import HostCheck
from .site import Site
from .tabs import stable_diffusion
from .text import LANGUAGES, say, speaking
from .theme import CSS, theme
from .workspace import Limits, Workspace

TABS = (stable_diffusion,)
_DAY = 24 * 3600


def build(root: Path, hosted: bool = False) -> gr.Blocks:
    """The page over a workspace folder, queue set up, not yet served. `hosted`: strangers come here."""
    workspace = Workspace(root)
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.root / "served")
    site = Site(workspace, hosted)
    demo = gr.Blocks(title=say("title"), analytics_enabled=False, delete_cache=(3600, _DAY))
    for code, path in LANGUAGES.items():
        with speaking(code), demo.route(say("title"), path, show_in_navbar=False) if path else demo:
            _page(site, demo)
    demo.queue(api_open=False, max_size=200)
    return demo


def _page(site: Site, demo: gr.Blocks) -> None:
    """The page in the language spoken now."""
    who = gr.BrowserState({}, storage_key="lora-web", secret=site.workspace.secret)
    gr.Navbar(visible=False)
    with gr.Row(elem_id="head"):
        gr.Markdown(f"# {say('title')}\n{say('tagline')}")
        gr.HTML(sentences.language_links(), elem_id="languages", min_width=80)
    with gr.Tabs():
        for tab in TABS:
            with gr.Tab(tab.TITLE):
                tab.build(site, who, demo)


def launch_settings(host: str, port: int | None, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Arguments of `demo.launch` that belong together with `build`."""
    return {
        "server_name": host,
        "server_port": port,
        "theme": theme(),
        "css": CSS,
        "footer_links": ["settings"],
        "run_history": False,
        "max_file_size": Limits().file_bytes,
        "enable_monitoring": False,
        "app_kwargs": {
            "middleware": [Middleware(HostCheck, host=host, allowed=allowed)],
            "docs_url": None,
            "redoc_url": None,
        },
    }
