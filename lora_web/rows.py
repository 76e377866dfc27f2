"""The editor of dialogues as a component: a page of rows at a time, and the functions of the server it asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.data.dialogue_files import FORMS
from pipelines.data.dialogues import FILES, LIMITS, MAX_TURN
from pipelines.data.sources import PICTURES
from pipelines.errors import ProblemsError
from pipelines.registry import FAMILIES, family_class

from .component import desk_names, picked, template, told
from .datasets import rows_of
from .row_desk import RowDesk
from .scripts import script
from .site import EXAMPLES, Site
from .text import say, spoken
from .words.pictures import WORDS as PICTURE_WORDS
from .words.rows import WORDS
from .workspace import Workspace

_PAGE = (Path(__file__).parent / "rows.html").read_text(encoding="utf-8")
# Words that the editors share, and those of this one, which come before them.
_EDIT, _ROWS, _TALKS = "edit.", "rows.", "talks."


class Rows:
    """The component and its functions. Rows speak of pictures if the family reads them. `example` is a file among the
    examples, if there is one."""

    def __init__(self, site: Site, family: str, example: str = "", *, prefix: str = ""):
        self.site, self.family = site, family
        self.example_file = EXAMPLES / example
        pictures, limits = family_class(family).reads != "dialogues", site.workspace.limits
        most = min(limits.file_bytes, LIMITS.table_bytes)
        words = {key[len(_EDIT) :]: say(key) for key in PICTURE_WORDS if key.startswith(_EDIT)}
        words |= {key[len(_ROWS) :]: say(key) for key in WORDS if key.startswith(_ROWS)}
        if pictures:
            words |= {key[len(_TALKS) :]: say(key) for key in WORDS if key.startswith(_TALKS)}
        settings = {
            "words": words,
            "family": family,
            "limits": {
                "files": limits.files,
                "file_bytes": limits.file_bytes,
                "turn": MAX_TURN,
                "memory": "rows-",
                "example": bool(example) and self.example_file.exists(),
                "pictures": pictures,
                "forms": {form: name for form, (name, _) in FORMS.items()},
            },
        }
        functions = (self.open, self.view, self.add, self.save, self.example, self.clear, self.pictures)
        self.component = gr.HTML(
            value=None,
            html_template=template(
                _PAGE,
                settings,
                prefix=prefix,
                limits=say("row_limits", rows=f"{limits.rows:,}", megabytes=most // 2**20),
                accept=",".join((*FILES, ".zip", *(PICTURES if pictures else ()))),
            ),
            js_on_load=script("rows", "saved"),
            apply_default_css=False,
            server_functions=[spoken(told(work)) for work in functions],
            elem_id=f"{prefix}rows-editor",
        )

    def open(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What there is to show when a page begins."""
        return self._desk(asked).open(asked)

    def view(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The rows of one `page` of those that `query` finds, or of the page on which row `at` is."""
        return self._desk(asked).view(asked)

    def add(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Import uploaded files: `files` [{path, name}]."""
        desk, found = self._desk(asked), picked(asked, self.site.served)
        if not found:
            raise ProblemsError(say("no_row_found"))
        return desk.add(found)

    def save(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Make the changes of the page."""
        return self._desk(asked).save(asked)

    def example(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Add the example."""
        desk = self._desk(asked)
        if not self.example_file.is_file():
            raise ProblemsError(say("example_missing"))
        return desk.add([self.example_file], example=True)

    def clear(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Take out all rows, or those that `query` finds."""
        return self._desk(asked).clear(asked)

    def pictures(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The pictures that a new row may speak of."""
        return {"pictures": [{"id": sample.id, "name": sample.name} for sample in self._desk(asked).samples()]}

    def _desk(self, asked: Mapping[str, Any]) -> RowDesk:
        visitor, dataset = desk_names(asked)
        return rows_of(self.site.workspace.visitor(visitor), dataset, self.family)


def routes() -> list[Route]:
    """The address of a dataset's rows as a file."""
    return [Route("/gradio_api/rows/{family}/{visitor}/{dataset}/{form}", _file)]


def _file(request: Request) -> Response:
    asked = request.path_params
    try:
        visitor, dataset = desk_names(asked)
        if asked["family"] not in FAMILIES or asked["form"] not in FORMS:
            return Response(status_code=404)
        workspace = Workspace(Path(os.environ["GRADIO_TEMP_DIR"]).parent)
        desk = rows_of(workspace.visitor(visitor), dataset, asked["family"])
    except ProblemsError:
        return Response(status_code=404)
    if desk.empty:
        return Response(status_code=404)
    name, text = desk.file(asked["form"])
    headers = {"Content-Disposition": f"attachment; filename={quote(name)}"}
    return Response(text.encode("utf-8"), media_type="application/octet-stream", headers=headers)
