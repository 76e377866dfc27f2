"""The dataset editor as a component: pictures with captions, and the functions of the server it asks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from pipelines.config import RunConfig
from pipelines.data.bundle import FORMS
from pipelines.data.plain import MAX_CAPTION
from pipelines.data.sources import CAPTIONS, LAYOUTS, NAMES, PICTURES
from pipelines.errors import ProblemsError
from pipelines.registry import family_class

from . import sentences
from .captioning import Describer
from .component import desk_names, picked, template, told
from .datasets import pictures_of
from .picture_desk import PictureDesk
from .regions import drawing
from .scripts import script
from .site import EXAMPLES, Site
from .text import say, spoken
from .words.pictures import WORDS
from .workspace import Workspace

_EDIT = "edit."
_PAGE = (Path(__file__).parent / "editor.html").read_text(encoding="utf-8")
FILE_TYPES = (*PICTURES, *CAPTIONS, *LAYOUTS, *NAMES, ".csv", ".zip")
# Settings that say what becomes of a picture, in the order `FOLLOW` gets them.
FOLLOWED = ("base", "data.resolution", "data.buckets", "data.caption", "data.trigger_word", "data.captions_from_names")


def follow(family: str, followed: Sequence[str] = FOLLOWED) -> str:
    """For the event of a changed setting, the first of which is the base: tells the editor of this family."""
    data = ", ".join(name.rpartition(".")[2] for name in followed[1:])
    return f"(base, {data}) => loraWeb.follow({json.dumps(family)}, base, {{ {data} }})"


class Editor:
    """The component and its functions. They believe nothing a browser says: whose dataset it is follows from two
    unguessable names, everything else is checked. Boxes can be drawn on the pictures if the family reads them."""

    def __init__(self, site: Site, family: str, example: str, *, prefix: str = ""):
        self.site, self.family = site, family
        self.example_folder = EXAMPLES / example
        config = RunConfig(family=family)
        data = {name.rpartition(".")[2]: getattr(config.data, name.rpartition(".")[2]) for name in FOLLOWED[1:]}
        limits = site.workspace.limits
        words = {key[len(_EDIT) :]: say(key) for key in WORDS if key.startswith(_EDIT)}
        draws = family_class(family).reads_regions
        settings = {
            "words": words | {"no_pictures": say(f"example.{example}")},
            "family": family,
            "limits": {
                "files": limits.files,
                "file_bytes": limits.file_bytes,
                "caption": MAX_CAPTION,
                "example": self.example_folder.is_dir(),
                "describe": not site.hosted or bool(_offered()),
                "models": _offered(),
                "crops": family_class(family).reads == "pictures",
                "regions": drawing() if draws else None,
                "settings": {"base": config.base, "data": data},
            },
        }
        functions = (self.open, self.add, self.save, self.example, self.look, self.describe, self.described, self.hush)
        self.component = gr.HTML(
            value=None,
            html_template=template(
                _PAGE,
                settings,
                prefix=prefix,
                limits=sentences.limits(limits, site.hosted),
                accept=",".join(FILE_TYPES),
            ),
            js_on_load=script("editor", "saved"),
            apply_default_css=False,
            server_functions=[spoken(told(work)) for work in functions],
            elem_id=f"{prefix}editor",
        )

    def open(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Everything there is to show; `again`, where the page has been open all along."""
        desk = self._desk(asked)
        if asked.get("again") is True:
            return desk.show()
        return desk.open() | {"describing": Describer(desk).found(0)["active"]}

    def add(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Import uploaded files: `files` [{path, name}]; `replace` captions that are there."""
        desk, found = self._desk(asked), picked(asked, self.site.served)
        if not found:
            raise ProblemsError(say("no_picture_found"))
        return desk.add(found, replace=asked.get("replace") is True)

    def save(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Make the changes of the page."""
        return self._desk(asked).save(asked)

    def example(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Add the example pictures."""
        desk = self._desk(asked)
        if not self.example_folder.is_dir():
            raise ProblemsError(say("example_missing"))
        return desk.add([self.example_folder], example=True)

    def look(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What a run with the settings of the form would do with each picture."""
        states = self._desk(asked).states(asked.get("settings"), self.family)
        return {
            "seen": {
                state.id: {
                    "caption": state.caption,
                    "bucket": state.bucket,
                    "crop": state.crop,
                    "too_small": state.too_small,
                }
                for state in states
            }
        }

    def describe(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to describe the pictures `ids` with a captioning `model`; with a caption only if `overwrite`."""
        desk, model, ids = self._desk(asked), asked.get("model"), asked.get("ids")
        if not isinstance(model, str) or not isinstance(ids, list):
            raise ProblemsError(say("model_missing"))
        # On a server for strangers a free text would be a way to ask which files it has.
        if self.site.hosted and model not in _offered():
            raise ProblemsError(say("model_refused"))
        wanted = {name for name in ids if isinstance(name, str)}
        Describer(desk).start(model.strip(), wanted, asked.get("overwrite") is True)
        return {}

    def described(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What was described after the first `since` lines."""
        since = asked.get("since")
        return Describer(self._desk(asked)).found(since if type(since) is int and since > 0 else 0)

    def hush(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """End describing."""
        Describer(self._desk(asked)).stop()
        return {}

    def _desk(self, asked: Mapping[str, Any]) -> PictureDesk:
        visitor, dataset = desk_names(asked)
        return pictures_of(self.site.workspace.visitor(visitor), dataset, self.family)


def _offered() -> list[str]:
    """Captioning models that whoever runs the server names in the environment."""
    return [name for name in os.environ.get("LORA_WEB_CAPTIONERS", "").split(",") if name]


def routes() -> list[Route]:
    """Addresses of the small copies of pictures, and of the dataset as a zip file."""
    here = "/gradio_api/pictures/{visitor}/{dataset}"
    return [Route(here + "/{picture}/{side:int}", _small_picture), Route(here + "/{what}.zip", _bundle)]


def _asked(request: Request) -> PictureDesk | None:
    try:
        visitor, dataset = desk_names(request.path_params)
    except ProblemsError:
        return None
    return PictureDesk(Workspace(Path(os.environ["GRADIO_TEMP_DIR"]).parent).visitor(visitor), dataset)


def _small_picture(request: Request) -> Response:
    desk = _asked(request)
    try:
        found = desk and desk.thumbnail(request.path_params["picture"], request.path_params["side"])
    except ProblemsError:
        found = None
    if not found:
        return Response(status_code=404)
    # The name says what is in it, so it never changes.
    return FileResponse(found, headers={"Cache-Control": "private, max-age=31536000, immutable"})


def _bundle(request: Request) -> Response:
    desk, what = _asked(request), request.path_params["what"]
    if desk is None or desk.empty or what not in FORMS:
        return Response(status_code=404)
    path = desk.bundle(what)
    return FileResponse(path, filename=f"{what}.zip", background=BackgroundTask(path.unlink, missing_ok=True))
