"""The tab of a family that learns from pictures with captions: pictures -> settings -> training -> strength."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.config import RunConfig
from pipelines.errors import ProblemsError

from .. import form, sentences
from ..ladder import download_link, ladder
from ..previews import FORMS, data_uri, export_for_browser, read_request, thumbnail
from ..runs import RESUMABLE
from ..site import EXAMPLES, Site
from ..text import say

FILE_TYPES = [".png", ".jpg", ".jpeg", ".jfif", ".webp", ".txt", ".caption", ".jsonl", ".csv", ".zip"]
_GALLERY_SHOWN = 200
_SET_URL = """(who) => {
  const url = new URL(window.location.href);
  if (who && who.run) url.searchParams.set("run", who.run); else url.searchParams.delete("run");
  window.history.replaceState(null, "", url);
}"""


class ImageTab:
    """Widgets and handlers. A handler gets the browser's state first and believes none of it (`Site.who`)."""

    def __init__(self, site: Site, family: str, example: str):
        self.site, self.family = site, family
        self.example = EXAMPLES / example
        self.limits = sentences.limits(site.workspace.limits, site.hosted)

    def build(self, who: gr.BrowserState, demo: gr.Blocks) -> None:
        """Lay out the tab and connect it."""
        self.who = who
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                self._pictures()
                self._settings()
            with gr.Column(scale=6, min_width=320):
                self._progress()
                self._preview()
        self._connect(demo)

    def _pictures(self) -> None:
        gr.Markdown(f"## {say('pictures')}")
        with gr.Row():
            # Asleep until `restore` has told the page who it belongs to: an answer to an earlier click would be lost.
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
        self.report = gr.HTML(sentences.report(0, (), (), self.limits), elem_id="report")
        self.gallery = gr.HTML("", apply_default_css=False, elem_id="gallery")

    def _settings(self) -> None:
        gr.Markdown(f"## {say('settings')}")
        self.fields, self.settings = form.build(self.family)
        self.problems = gr.HTML("", elem_id="problems")
        self.train = gr.Button(say("train"), variant="primary", interactive=False, elem_id="train")

    def _progress(self) -> None:
        gr.Markdown(f"## {say('progress')}")
        self.status = gr.HTML(sentences.status(None, ""), elem_id="status")
        self.plot = gr.LinePlot(
            x="step",
            y="loss",
            color="line",
            label=say("plot"),
            height=220,
            x_title="step",
            y_title="loss",
            buttons=[],
            colors_in_legend=[],
            color_map={say("plot.raw"): "#94a3b8", say("plot.smooth"): "#4f6bed"},
            visible=False,
            elem_id="plot",
        )
        with gr.Row():
            self.stop = gr.Button(say("stop"), interactive=False, elem_id="stop", min_width=100)
            self.resume = gr.Button(say("resume"), interactive=False, elem_id="resume", min_width=100)
            self.discard = gr.Button(
                say("discard"), variant="stop", interactive=False, elem_id="discard", min_width=100
            )
        self.timer = gr.Timer(1.0, active=False)
        self.seen = gr.State("")

    def _preview(self) -> None:
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
        self.preview_problems = gr.HTML("", elem_id="preview-problems")
        self.ladder = ladder()
        with gr.Row():
            self.downloads = [
                gr.Button(say(f"download.{name}"), interactive=False, min_width=150, elem_id=f"download-{name}")
                for name in FORMS
            ]
        self.link = download_link()

    def _connect(self, demo: gr.Blocks) -> None:
        """Events. None is public: `api_visibility` hides them from clients, `queue(api_open=False)` closes the rest."""
        quick: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8}
        slow: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 1, "concurrency_id": "compute"}
        data = [self.who, self.report, self.gallery, self.clear, self.use_example, self.files]
        run = [self.seen, self.status, self.plot, self.train, self.stop, self.resume, self.discard, self.show]
        run += [*self.downloads, self.timer]
        set_url: dict[str, Any] = {"fn": None, "inputs": [self.who], "js": _SET_URL}
        demo.load(self.restore, [self.who], [*data, *run, *self.settings], **quick).then(**set_url)
        self.use_example.click(
            self.take_example, [self.who], data, **quick | {"show_progress": "minimal", "show_progress_on": self.report}
        )
        self.files.upload(
            self.take_files,
            [self.who, self.files],
            data,
            **quick | {"show_progress": "minimal", "show_progress_on": self.report},
        )
        self.clear.click(self.start_over, [self.who], data, **quick)
        self.train.click(self.start, [self.who, *self.settings], [self.who, self.problems, *run], **quick).then(
            **set_url
        )
        self.timer.tick(self.watch, [self.who, self.seen], run, **quick)
        self.stop.click(self.stop_and_keep, [self.who], [self.problems, *run], **quick)
        self.resume.click(self.go_on, [self.who], [self.problems, *run], **quick)
        sure = f"(who) => window.confirm({json.dumps(say('discard_sure'))}) ? who : {{}}"
        self.discard.click(self.throw_away, [self.who], [self.who, self.ladder, *run], js=sure, **quick).then(**set_url)
        request = [self.who, self.prompt, self.negative, self.seed, self.steps, self.guidance]
        gr.on(
            [self.show.click, self.prompt.submit],
            self.picture,
            request,
            [self.ladder, self.preview_problems],
            show_progress_on=self.ladder,
            **slow,
        )
        for button, name in zip(self.downloads, FORMS, strict=True):
            button.click(
                partial(self.download, name),
                [self.who],
                [self.link, self.preview_problems],
                show_progress_on=button,
                **slow,
            )

    def restore(self, state: Any, request: gr.Request) -> list[Any]:
        """A page was opened: show the pictures and the run this browser had, or the run its address names."""
        asked = request.query_params.get("run")
        visitor, who = self.site.who(state)
        if visitor.run(asked):
            who["run"] = asked
        config: list[Any] = [gr.skip()] * len(self.fields)
        if "run" in who:
            try:
                config = form.show(RunConfig.load(self._run(who) / "run.json"), self.fields)
            except ProblemsError:
                del who["run"]
        return [who, *self._data(who), *self._view(who), *config]

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
        return [who, *self._data(who)]

    def start(self, state: Any, *values: Any) -> list[Any]:
        """Train on the pictures with the settings of the form."""
        visitor, who = self.site.who(state)
        try:
            if "run" in who and self.site.supervisor.status(self._run(who)).active:
                raise ProblemsError(say("already"))
            found: list[str] = []
            dataset = visitor.dataset(who.get("dataset"))
            if dataset is None:
                found.append(say("need_pictures"))
            try:
                config = form.read(self.family, self.fields, values)
                self.site.check(config)
            except ProblemsError as error:
                found.extend(error.problems)
            if found or dataset is None:
                raise ProblemsError(found)
            who["run"] = self.site.supervisor.start(visitor.runs_folder(), config, dataset)
        except ProblemsError as error:
            return [who, sentences.problems(error.problems), *self._view(who)]
        return [who, "", *self._view(who)]

    def watch(self, state: Any, seen: Any) -> list[Any]:
        """The timer: what is new in the run, or nothing."""
        _, who = self.site.who(state)
        return self._view(who, seen)

    def stop_and_keep(self, state: Any) -> list[Any]:
        """Stop after the current step and save the adapter."""
        _, who = self.site.who(state)
        if "run" in who:
            self.site.supervisor.stop(self._run(who))
        return ["", *self._view(who)]

    def go_on(self, state: Any) -> list[Any]:
        """Resume a run that ended early."""
        _, who = self.site.who(state)
        said = ""
        if "run" in who:
            try:
                self.site.supervisor.resume(self._run(who))
            except ProblemsError as error:
                said = sentences.problems(error.problems)
        return [said, *self._view(who)]

    def throw_away(self, state: Any) -> list[Any]:
        """Delete the run. A person who said no sends an empty state: nothing changes."""
        if not state:
            return [gr.skip()] * (3 + self._view_length)
        _, who = self.site.who(state)
        if "run" in who:
            self.site.supervisor.discard(self._run(who))
            del who["run"]
        return [who, None, *self._view(who)]

    def picture(self, state: Any, *values: Any) -> list[Any]:
        """The ladder of strengths for a prompt."""
        _, who = self.site.who(state)
        try:
            adapter = self._adapter(who)
            request = read_request(*values)
            if not request.prompt.strip():
                raise ProblemsError(say("need_prompt"))
            return [self.site.previews.ladder(self._run(who), adapter, request), ""]
        except ProblemsError as error:
            return [gr.skip(), sentences.problems(error.problems)]
        except (RuntimeError, OSError, MemoryError) as error:
            return [gr.skip(), sentences.problems([say("failed_preview", reason=error or type(error).__name__)])]

    def download(self, name: str, state: Any) -> list[Any]:
        """Write the adapter in one form, prove it, and hand it to the browser."""
        _, who = self.site.who(state)
        try:
            self._adapter(who)
            path = export_for_browser(self._run(who), name, self.site.served)
            return [{"path": str(path), "name": path.name}, ""]
        except ProblemsError as error:
            return [None, sentences.problems(error.problems)]
        except (RuntimeError, OSError, MemoryError) as error:
            return [None, sentences.problems([say("failed_export", reason=error or type(error).__name__)])]

    def _run(self, who: dict[str, Any]) -> Path:
        visitor, known = self.site.who(who)
        run = visitor.run(known.get("run"))
        if run is None:
            raise ProblemsError(say("gone"))
        return run

    def _adapter(self, who: dict[str, Any]) -> Path:
        adapter = self.site.supervisor.status(self._run(who)).adapter if "run" in who else None
        if adapter is None:
            raise ProblemsError(say("need_adapter"))
        return adapter

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
        return [who, *self._data(who)]

    def _data(self, who: dict[str, Any]) -> list[Any]:
        """Updates of report, gallery, start-over button, example button and file area."""
        visitor, who = self.site.who(who)
        folder = visitor.dataset(who.get("dataset"))
        said, pictures = sentences.report(0, (), (), self.limits), ""
        if folder is not None:
            from pipelines.data.samples import read_dataset

            try:
                dataset = read_dataset(folder)
                shown = dataset.samples[:_GALLERY_SHOWN]
                thumbnails = [(data_uri(thumbnail(sample.path)), sample.caption) for sample in shown]
                pictures = sentences.gallery(thumbnails, len(dataset.samples) - len(shown))
                said = sentences.report(len(dataset.samples), dataset.rejected, dataset.notes, self.limits)
            except (ProblemsError, OSError) as error:
                said = sentences.problems(getattr(error, "problems", (str(error),)))
        clear = gr.Button(interactive=folder is not None)
        return [said, pictures, clear, gr.Button(interactive=True), gr.File(None, interactive=True)]

    _view_length = 11

    def _view(self, who: dict[str, Any], seen: Any = None) -> list[Any]:
        """Updates of everything that shows the run; all of them "skip" when there is nothing new since `seen`."""
        visitor, who = self.site.who(who)
        run = visitor.run(who.get("run"))
        found = self.site.supervisor.status(run) if run else None
        mark = f"{run.name}:{found.mark}" if run and found else ""
        if seen == mark:
            return [gr.skip()] * self._view_length
        active = found is not None and found.active
        adapter = found is not None and found.adapter is not None
        return [
            mark,
            sentences.status(found, run.name if run else ""),
            _plot(found.curve, found.steps) if found else gr.LinePlot(visible=False),
            gr.Button(interactive=not active),
            gr.Button(interactive=active and not (found and found.stopping)),
            gr.Button(interactive=found is not None and found.state in RESUMABLE),
            gr.Button(interactive=found is not None),
            gr.Button(interactive=adapter),
            *[gr.Button(interactive=adapter) for _ in FORMS],
            gr.Timer(active=active),
        ]


def _plot(curve: list[tuple[int, float, float]], steps: int) -> Any:
    """The loss, raw and smoothed, over an axis that stands still."""
    import pandas as pd

    rows = [(step, loss, say("plot.raw")) for step, loss, _ in curve] + [
        (step, smooth, say("plot.smooth")) for step, _, smooth in curve
    ]
    table = pd.DataFrame(rows, columns=["step", "loss", "line"])
    return gr.LinePlot(table, x_lim=[0, max(1, steps)], visible=bool(rows))


def image_tab(family: str, example: str) -> Any:
    """A function that builds the tab of one family of picture models into a page."""

    def build(site: Site, who: gr.BrowserState, demo: gr.Blocks) -> None:
        ImageTab(site, family, example).build(who, demo)

    return build
