"""The pictures a person brings: example, upload, what became of each file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.errors import ProblemsError

from .. import sentences
from ..previews import data_uri, thumbnail
from ..site import EXAMPLES, Site
from ..text import say, spoken
from . import QUICK

FILE_TYPES = [".png", ".jpg", ".jpeg", ".jfif", ".webp", ".txt", ".caption", ".jsonl", ".csv", ".zip"]
_SHOWN = 200


class Pictures:
    """Step 1."""

    def __init__(self, site: Site, who: gr.BrowserState, example: str):
        self.site, self.who = site, who
        self.example = EXAMPLES / example
        gr.Markdown(f"## {say('pictures')}")
        with gr.Row():
            # Asleep until the page knows who it belongs to: an answer to an earlier click would be lost.
            self.use_example = gr.Button(say("example"), interactive=False, elem_id="use-example")
            self.clear = gr.Button(say("clear"), elem_id="clear", interactive=False)
        self.files = gr.File(
            label=say("drop"),
            file_count="multiple",
            file_types=FILE_TYPES,
            interactive=False,
            height=140,
            elem_id="files",
        )
        self.report = gr.HTML(self._report(0, (), ()), elem_id="report")
        self.gallery = gr.HTML("", apply_default_css=False, elem_id="gallery")
        self.outputs = [self.report, self.gallery, self.clear, self.use_example, self.files]

    def connect(self) -> None:
        """Events of this panel alone."""
        busy: dict[str, Any] = QUICK | {"show_progress": "minimal", "show_progress_on": self.report}
        changed = [self.who, *self.outputs]
        self.use_example.click(spoken(self.take_example), [self.who], changed, **busy)
        self.files.upload(spoken(self.take_files), [self.who, self.files], changed, **busy)
        self.clear.click(spoken(self.start_over), [self.who], changed, **QUICK)

    def take_example(self, state: Any) -> list[Any]:
        """Use the example pictures in place of what is there."""
        if not self.example.is_dir():
            return [gr.skip(), sentences.problems([say("example_missing")]), *[gr.skip()] * 4]
        return self._import(state, [self.example], add=False)

    def take_files(self, state: Any, files: Any) -> list[Any]:
        """Add uploaded files to the pictures a person has added already."""
        # Gradio has checked this as well; a path from outside must never get further than here.
        paths = [Path(str(name)).resolve() for name in files or []]
        inside = [path for path in paths if path.is_relative_to(self.site.served) and path.is_file()]
        return self._import(state, inside, add=True)

    def start_over(self, state: Any) -> list[Any]:
        """Forget the pictures (not the runs)."""
        visitor, who = self.site.who(state)
        visitor.forget_dataset(who.pop("dataset", None))
        return [who, *self.view(who)]

    def _import(self, state: Any, sources: Sequence[Path], add: bool) -> list[Any]:
        visitor, who = self.site.who(state)
        before = visitor.dataset(who.get("dataset"))
        try:
            name = visitor.import_pictures(sources, keep=before if add and who.get("mine") else None)
        except ProblemsError as error:
            return [who, sentences.problems(error.problems), gr.skip(), gr.skip(), gr.skip(), None]
        except OSError as error:
            told = [say("unreadable", reason=error.strerror)]
            return [who, sentences.problems(told), gr.skip(), gr.skip(), gr.skip(), None]
        visitor.forget_dataset(who.get("dataset"))
        who |= {"dataset": name, "mine": add}
        return [who, *self.view(who)]

    def view(self, who: dict[str, Any]) -> list[Any]:
        """Updates of `outputs`."""
        visitor, who = self.site.who(who)
        folder = visitor.dataset(who.get("dataset"))
        said, pictures = self._report(0, (), ()), ""
        if folder is not None:
            from pipelines.data.samples import read_dataset

            try:
                dataset = read_dataset(folder)
                shown = dataset.samples[:_SHOWN]
                thumbnails = [(data_uri(thumbnail(sample.path)), sample.caption) for sample in shown]
                pictures = sentences.gallery(thumbnails, len(dataset.samples) - len(shown))
                said = self._report(len(dataset.samples), dataset.rejected, dataset.notes)
            except (ProblemsError, OSError) as error:
                said = sentences.problems(getattr(error, "problems", (str(error),)))
        clear = gr.Button(interactive=folder is not None)
        return [said, pictures, clear, gr.Button(interactive=True), gr.File(None, interactive=True)]

    def _report(self, count: int, rejected: Sequence[str], notes: Sequence[str]) -> str:
        limits = sentences.limits(self.site.workspace.limits, self.site.hosted)
        return sentences.report(count, rejected, notes, limits)
