"""Trying an adapter: a prompt, the ladder of strengths with its slider, and the files to take home."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from pipelines.errors import ProblemsError

from .. import sentences
from ..entries import Source
from ..ladder import download_link, ladder
from ..previews import FORMS, export_for_browser, read_request
from ..site import Site
from ..text import say, spoken
from . import SLOW


class Strength:
    """Step 4. `source` says which adapter the browser's state means."""

    def __init__(self, site: Site, who: gr.BrowserState, source: Source):
        self.site, self.who, self.source = site, who, source
        gr.Markdown(f"## {say('preview')}")
        with gr.Row(equal_height=False):
            self.prompt = gr.Textbox(
                label=say("prompt"), placeholder=say("prompt_hint"), max_lines=3, scale=5, elem_id="prompt"
            )
            self.show = gr.Button(
                say("show"), variant="primary", interactive=False, scale=1, min_width=90, elem_id="show"
            )
        with gr.Accordion(say("preview_settings"), open=False):
            self.negative = gr.Textbox(label=say("negative_prompt"), max_lines=3)
            with gr.Row():
                self.seed = gr.Number(0, label=say("seed"), min_width=100, elem_id="preview-seed")
                self.steps = gr.Number(25, label=say("preview_steps"), min_width=100, elem_id="preview-steps")
                self.guidance = gr.Number(5, label=say("guidance"), step=0.5, min_width=100)
        self.problems = gr.HTML("", elem_id="preview-problems")
        self.ladder = ladder()
        with gr.Row():
            self.downloads = [
                gr.Button(say(f"download.{name}"), interactive=False, min_width=150, elem_id=f"download-{name}")
                for name in FORMS
            ]
        self.link = download_link()
        self.outputs = [self.show, *self.downloads]

    def connect(self) -> None:
        """Events of this panel alone."""
        request = [self.who, self.prompt, self.negative, self.seed, self.steps, self.guidance]
        gr.on(
            [self.show.click, self.prompt.submit],
            spoken(self.picture),
            request,
            [self.ladder, self.problems],
            show_progress_on=self.ladder,
            **SLOW,
        )
        for button, name in zip(self.downloads, FORMS, strict=True):
            button.click(
                spoken(partial(self.download, name)),
                [self.who],
                [self.link, self.problems],
                show_progress_on=button,
                **SLOW,
            )

    def view(self, usable: bool) -> list[Any]:
        """Updates of `outputs`: there is an adapter to try, or not."""
        return [gr.Button(interactive=usable) for _ in self.outputs]

    def picture(self, state: Any, *values: Any) -> list[Any]:
        """The ladder of strengths for a prompt."""
        try:
            entry = self.source(state)
            request = read_request(*values)
            if not request.prompt.strip():
                raise ProblemsError(say("need_prompt"))
            return [self.site.previews.ladder(entry, request), ""]
        except ProblemsError as error:
            return [gr.skip(), sentences.problems(error.problems)]
        except (RuntimeError, OSError, MemoryError) as error:
            return [gr.skip(), sentences.problems([say("failed_preview", reason=error or type(error).__name__)])]

    def download(self, name: str, state: Any) -> list[Any]:
        """Write the adapter in one form, prove it, and hand it to the browser."""
        try:
            path = export_for_browser(self.source(state), name, self.site.served)
            return [{"path": str(path), "name": path.name}, ""]
        except ProblemsError as error:
            return [None, sentences.problems(error.problems)]
        except (RuntimeError, OSError, MemoryError) as error:
            return [None, sentences.problems([say("failed_export", reason=error or type(error).__name__)])]
