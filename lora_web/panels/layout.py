"""The boxes of a preview: drawn on an empty canvas or taken from a picture of the dataset, and how much they count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.data.samples import Sample
from pipelines.errors import ProblemsError
from pipelines.registry import family_class

from ..entries import Entry, trained_on
from ..regions import canvas
from ..text import say, spoken
from . import QUICK

if TYPE_CHECKING:
    from .strength import Strength

_OFFERED = 100
_TITLE = 60


class Layout:
    """Part of the strength panel of a family that reads boxes. `fields` are what `read_request` takes of it."""

    def __init__(self, panel: Strength, prefix: str):
        self.panel, self.prefix = panel, prefix
        with gr.Column() as self.drawing:
            gr.Markdown(f"#### {say('boxes')}")
            # Filled when it is opened: by then there may be a run.
            self.samples = gr.Dropdown(
                [], label=say("layout_of"), info=say("layout_of_help"), elem_id=f"{prefix}layout-of"
            )
            self.canvas = canvas(f"{prefix}canvas")
        self.fields: list[Any] = [self.canvas]

    def knobs(self) -> None:
        """Lay out the numbers, among the other settings of a preview."""
        with gr.Row() as self.numbers:
            self.fields.append(
                gr.Number(
                    1, label=say("layout_scale"), info=say("layout_scale_help"), step=0.1, min_width=140,
                    elem_id=f"{self.prefix}layout-scale",
                )
            )  # fmt: skip
            self.fields.append(
                gr.Number(
                    100, label=say("layout_until"), info=say("layout_until_help"), step=5, min_width=140,
                    elem_id=f"{self.prefix}layout-until",
                )
            )  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        """What `view` updates."""
        return [self.drawing, self.numbers]

    @staticmethod
    def view(entry: Entry | None) -> list[Any]:
        """Updates of `outputs`, where adapters of every family are tried: it is there for those that read boxes."""
        shown = entry is not None and reads_boxes(entry)
        return [gr.Column(visible=shown), gr.Row(visible=shown)]

    def connect(self) -> None:
        """Events of this part alone."""
        who = self.panel.who
        self.samples.focus(spoken(self.offer), [who], [self.samples], **QUICK)
        self.samples.input(spoken(self.use), [who, self.samples], [self.panel.prompt, self.canvas], **QUICK)

    def offer(self, state: Any) -> Any:
        """The update of the choices: the pictures of the adapter's dataset that have boxes."""
        return gr.Dropdown(choices=[(_called(sample), sample.id) for sample in self.drawn(state)])

    def use(self, state: Any, name: Any) -> list[Any]:
        """The caption and the boxes of one of them."""
        for sample in self.drawn(state):
            if sample.id == name:
                return [sample.caption, [region.to_dict() for region in sample.regions]]
        return [gr.skip(), gr.skip()]

    def drawn(self, state: Any) -> list[Sample]:
        """What the adapter was trained on, as far as it is known and has boxes, with its captions as trained."""
        try:
            samples = trained_on(self.panel.source(state), triggered=True)
        except ProblemsError:
            return []
        return [sample for sample in samples if sample.regions][:_OFFERED]


def reads_boxes(entry: Entry) -> bool:
    """Whether the family of an adapter reads boxes."""
    return family_class(entry.family).reads_regions


def _called(sample: Sample) -> str:
    return f"{sample.name}: {sample.caption}"[:_TITLE]
