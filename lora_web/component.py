"""What the editors of a dataset have in common as components: whose dataset is meant, which files were uploaded, and
answers in sentences. They believe nothing a browser says: whose dataset it is follows from two unguessable names."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.data.sources import Named
from pipelines.errors import ProblemsError

from .scripts import as_attribute
from .text import say
from .workspace import is_token


def desk_names(asked: Mapping[str, Any]) -> tuple[str, str]:
    """The visitor and the dataset that a browser names. Raises ProblemsError."""
    visitor, dataset = asked.get("visitor"), asked.get("dataset")
    if not is_token(visitor) or not is_token(dataset):
        raise ProblemsError(say("page_stale"))
    return str(visitor), str(dataset)


def picked(asked: Mapping[str, Any], served: Path) -> list[Named]:
    """The uploaded files among `files` [{path, name}]. A path from outside never gets further than here."""
    files, found = asked.get("files"), []
    for item in files if isinstance(files, list) else []:
        path, name = (item.get("path"), item.get("name")) if isinstance(item, Mapping) else (None, None)
        if isinstance(path, str) and isinstance(name, str):
            real = Path(path.replace("\0", "")).resolve()
            if real.is_relative_to(served) and real.is_file():
                found.append(Named(real, name))
    return found


def told(work: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """A function of an editor that answers with sentences where `work` fails."""

    def answer(asked: Any) -> dict[str, Any]:
        try:
            return work(asked if isinstance(asked, Mapping) else {})
        except ProblemsError as error:
            return {"problems": list(error.problems)}
        except OSError as error:
            return {"problems": [say("unreadable", reason=error.strerror or error)]}

    answer.__name__ = work.__name__
    return answer


def template(page: str, settings: dict[str, Any], **values: str) -> str:
    """The HTML of an editor with its settings, among them its `words`, in place. All of it is escaped."""
    given = {key: html.escape(text) for key, text in {**settings["words"], **values}.items()}
    for key, text in {**given, "settings": as_attribute(settings)}.items():
        page = page.replace(f"%{key}%", text)
    return page
