"""Several adapters side by side: checkpoints of a run or adapters of one base, each at every strength of the range."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.errors import ProblemsError

from ..entries import Entry, Others
from ..previews import served_path
from ..text import say, spoken
from . import QUICK, SLOW

if TYPE_CHECKING:
    from .strength import Strength


class Grid:
    """Part of the strength panel, whose prompt and settings it uses."""

    def __init__(self, panel: Strength, others: Others, prefix: str):
        self.panel, self.others = panel, others
        self.fold = gr.Accordion(say("grid"), open=False, elem_id=f"{prefix}grid")
        with self.fold:
            # Which names there are is only known to the server, which checks them.
            self.rows = gr.Dropdown(
                [], multiselect=True, allow_custom_value=True, label=say("grid_of"), info=say("grid_help"),
                elem_id=f"{prefix}grid-rows",
            )  # fmt: skip
            self.draw = gr.Button(say("grid_draw"), interactive=False, elem_id=f"{prefix}grid-draw")
            self.sheet = gr.HTML("", elem_id=f"{prefix}grid-sheet", elem_classes="sheet")

    def connect(self) -> None:
        """Events of the grid alone."""
        panel = self.panel
        self.fold.expand(spoken(self.offer), [panel.who, self.rows], [self.rows], **QUICK)
        self.draw.click(
            spoken(self.make),
            [panel.who, self.rows, *panel.fields],
            [self.sheet, panel.link, panel.problems],
            show_progress_on=self.sheet,
            **SLOW,
        )

    def offer(self, state: Any, chosen: Any) -> Any:
        """The rows there are; all of them are chosen at first."""
        names = list(self._entries(state))
        kept = [name for name in names if name in (chosen or [])]
        return gr.Dropdown(names, value=kept or names)

    def make(self, state: Any, chosen: Any, *values: Any) -> list[Any]:
        """Draw the grid, show it and hand it to the browser."""
        try:
            found = self._entries(state)
            names = [str(name) for name in chosen or []]
            problems = [say("grid_unknown", name=name) for name in names if name not in found]
            if problems or not names:
                raise ProblemsError(problems or say("grid_empty"))
            rows = [(name, found[name]) for name in names]
            asked = self.panel.read(rows[0][1], values)
            sheet = self.panel.site.previews.sheet(rows, asked)
            path = served_path(rows[0][1], "grid.png", self.panel.site.served)
            path.write_bytes(sheet)
        except (ProblemsError, RuntimeError, OSError, MemoryError) as error:
            return ["", None, self.panel.tell("failed_preview", error)]
        said = html.escape(say("grid_picture", rows=", ".join(names)))
        picture = base64.b64encode(sheet).decode()
        return [
            f'<img src="data:image/png;base64,{picture}" alt="{said}">', {"path": str(path), "name": path.name}, "",
        ]  # fmt: skip

    def _entries(self, state: Any) -> dict[str, Entry]:
        try:
            own = self.panel.source(state)
        except ProblemsError:
            return {}
        return {**dict(self.others(state)), say("adapter_now"): own}
