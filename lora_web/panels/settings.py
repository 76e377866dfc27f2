"""The settings of a run and the button that starts it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.config import RunConfig

from .. import form, sentences
from ..site import Site
from ..text import say


class Settings:
    """Step 2."""

    def __init__(self, site: Site, family: str):
        self.site, self.family = site, family
        gr.Markdown(f"## {say('settings')}")
        self.fields, self.components = form.build(family)
        self.problems = gr.HTML("", elem_id="problems")
        self.train = gr.Button(say("train"), variant="primary", interactive=False, elem_id="train")

    def read(self, values: Sequence[Any]) -> RunConfig:
        """The run config of the form. Raises ProblemsError with every problem at once."""
        config = form.read(self.family, self.fields, values)
        self.site.check(config)
        return config

    def show(self, run: Path | None) -> list[Any]:
        """Updates of `components`: the settings of a run, or no change. Raises ProblemsError."""
        if run is None:
            return [gr.skip()] * len(self.fields)
        return form.show(RunConfig.load(run / "run.json"), self.fields)

    @staticmethod
    def tell(problems: Sequence[str]) -> str:
        """The update of `problems`."""
        return sentences.problems(problems)
