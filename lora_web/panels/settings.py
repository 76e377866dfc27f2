"""The settings of a run: presets, the form, the run as text, and the button that starts it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines import presets
from pipelines.config import RunConfig, command_line, leaves, with_values
from pipelines.errors import ProblemsError
from pipelines.presets import EFFORT, SUBJECT

from .. import form, sentences
from ..datasets import desk_of
from ..scripts import script
from ..site import Site
from ..slots import Slot
from ..text import say, spoken
from ..workspace import Visitor
from . import QUICK
from .preflight import Preflight

_OUTPUT = "my-run"
_MAX_JSON = 100_000
_PAST_RUNS = 50


class Settings:
    """Step 2. `text` are the components that follow the form; `components` are the form."""

    def __init__(self, site: Site, who: gr.BrowserState, slot: Slot):
        self.site, self.who, self.slot = site, who, slot
        self.family, prefix = slot.family, slot.prefix
        gr.Markdown(f"## {say('settings')}")
        with gr.Row():
            self.effort = self._presets(EFFORT)
            self.subject = self._presets(SUBJECT)
        self.changes = gr.HTML("", apply_default_css=False, elem_id=f"{prefix}preset-changes")
        choices = form.bases(self.family, site.hosted, site.offered())
        self.form = form.build(self.family, choices, typed=not site.hosted)
        self.fields, self.components = self.form.fields, self.form.components
        self.marks = gr.HTML(
            {}, html_template="", js_on_load=script("marks"), apply_default_css=False, elem_id=f"{prefix}marks"
        )
        with gr.Accordion(say("as_text"), open=False, elem_id=f"{prefix}as-text"):
            shown: dict[str, Any] = {"interactive": False, "buttons": ["copy"], "placeholder": say("as_text_wait")}
            self.command = gr.Textbox(
                label=say("command"),
                info=say("command_help"),
                lines=2,
                max_lines=6,
                elem_id=f"{prefix}command",
                **shown,
            )
            self.run_json = gr.Textbox(label="run.json", lines=6, max_lines=12, elem_id=f"{prefix}run-json", **shown)
            gr.Markdown(f"#### {say('load')}")
            self.past = gr.Dropdown([], label=say("past_run"), info=say("past_run_help"), elem_id=f"{prefix}past-run")
            self.file = gr.UploadButton(say("load_file"), file_types=[".json"], size="sm", elem_id=f"{prefix}load-file")
            self.paste = gr.Textbox(label=say("paste"), lines=3, max_lines=8, elem_id=f"{prefix}paste")
            self.use = gr.Button(say("use_paste"), size="sm", elem_id=f"{prefix}use-paste")
        self.preflight = Preflight(site, prefix)
        self.problems = gr.HTML("", elem_id=f"{prefix}problems")
        # Counts the moments at which the form has come to rest after changes; `look_again` is an event that is one.
        self.looked = gr.Textbox("", visible="hidden")
        self.look_again = {
            "fn": None,
            "inputs": [self.looked],
            "outputs": [self.looked],
            "js": f"(last) => loraWeb.atRest({json.dumps(self.family)}, last)",
        }
        self.train = gr.Button(say("train"), variant="primary", interactive=False, elem_id=f"{prefix}train")
        # What a start that was refused changes.
        self.marked = [self.problems, self.marks, self.form.advanced]
        self.text = [self.problems, self.marks, self.effort, self.subject, self.changes, self.command, self.run_json]
        self.text += self.preflight.outputs

    def _presets(self, axis: str) -> gr.Radio:
        names = [name for name, preset in presets.of_family(self.family).items() if preset.axis == axis]
        choices = [(say(f"preset.{name}"), name) for name in names]
        shown: dict[str, Any] = {
            "min_width": 200,
            "visible": bool(names),
            "elem_id": f"{self.slot.prefix}preset-{axis}",
        }
        return gr.Radio(choices, label=say(axis), value=None, **shown)

    def connect(self, saved: Sequence[Any]) -> None:
        """Events of this panel, and those of samples that have changed."""
        every = [self.who, *self.components]
        changed = [component.change for component in self.components]
        gr.on(changed, **self.look_again)
        for samples_saved in saved:
            samples_saved(**self.look_again)
        self.looked.change(spoken(self.describe), every, self.text, **(QUICK | {"trigger_mode": "always_last"}))
        self.preflight.timer.tick(spoken(self.wait), every, self.preflight.outputs, **QUICK)
        for radio in (self.effort, self.subject):
            radio.input(spoken(self.use_preset), [radio, *self.components], self.components, **QUICK)
        loaded = [self.problems, *self.components]
        self.past.input(spoken(self.use_past), [self.who, self.past], loaded, **QUICK)
        self.file.upload(spoken(self.use_file), [self.file], loaded, **QUICK)
        self.use.click(spoken(self.use_text), [self.paste], loaded, **QUICK)
        self.preflight.panel.click(spoken(self.use_fix), every, self.components, **QUICK)

    def read(self, values: Sequence[Any]) -> RunConfig:
        """The run config of the form. Raises ProblemsError with every problem at once."""
        config = form.read(self.family, self.fields, values)
        self.site.check(config)
        return config

    def show(self, run: Path | None) -> list[Any]:
        """Updates of `components`: the settings of a run, or no change. Raises ProblemsError."""
        if run is None:
            return [gr.skip()] * len(self.fields)
        return form.show(self._own(RunConfig.load(run / "run.json")), self.fields)

    def tell(self, problems: Sequence[str]) -> str:
        """The update of `problems`."""
        return sentences.problems(form.tell(problems, self.fields))

    def mark(self, problems: Sequence[str]) -> list[Any]:
        """Updates of `problems`, the marks at the fields, and the folded part, opened when there is one in it."""
        names = [getattr(problem, "name", "") for problem in problems]
        opened = gr.Accordion(open=True) if self.form.folded(names) else gr.skip()
        return [self.tell(problems), form.marks(problems, self.fields), opened]

    def describe(self, state: Any, *values: Any) -> list[Any]:
        """Everything that follows the form: marks, presets, command line, run.json, checks."""
        visitor, who = self.site.who(state)
        try:
            config = self.read(values)
        except ProblemsError as error:
            marks = form.marks(error.problems, self.fields)
            return [gr.skip(), marks, *[gr.skip()] * 3, "", "", *self.preflight.view(visitor, None, None)]
        dataset = self._samples(visitor, who)
        effort, subject = (presets.matching(config, axis) for axis in (EFFORT, SUBJECT))
        return [
            # What was told of the form no longer holds; that pictures are missing may still.
            "" if dataset else gr.skip(),
            {},
            effort,
            subject,
            self._changes(config),
            command_line(config, _OUTPUT),
            config.to_json(),
            *self.preflight.view(visitor, config, dataset),
        ]

    def wait(self, state: Any, *values: Any) -> list[Any]:
        """The timer: the measured part of the checks, once it is there."""
        visitor, who = self.site.who(state)
        dataset = self._samples(visitor, who)
        try:
            config = self.read(values)
        except ProblemsError:
            return self.preflight.view(visitor, None, None)
        panel, timer = self.preflight.view(visitor, config, dataset)
        # While it is waited for, the page is left alone.
        return [gr.skip(), gr.skip()] if timer.active else [panel, timer]

    def past_runs(self, state: Any) -> Any:
        """The update of `past`: this visitor's runs, newest first."""
        visitor, _ = self.site.who(state)
        files = sorted(visitor.runs_folder().glob("*/run.json"), key=lambda file: -file.stat().st_mtime)
        choices = []
        for file in files[:_PAST_RUNS]:
            if not visitor.run(file.parent.name):
                continue
            try:
                config = RunConfig.load(file)
            except ProblemsError:
                continue
            if config.family == self.family:
                choices.append((_called(file.parent.name, config), file.parent.name))
        return gr.Dropdown(choices=choices, value=None)

    def use_preset(self, name: Any, *values: Any) -> list[Any]:
        """Set what the preset sets; leave alone all else, right or wrong."""
        if name is None:
            return [gr.skip()] * len(self.components)
        base = values[[field.name for field in self.fields].index("base")]
        wanted = presets.values(self.family, base if self._allowed(base) else "", [name])
        return self._set(wanted)

    def use_past(self, state: Any, name: Any) -> list[Any]:
        """The settings of an earlier run of this visitor."""
        visitor, _ = self.site.who(state)
        run = visitor.run(name)
        return self._load((run / "run.json").read_text(encoding="utf-8") if run else "")

    def use_file(self, name: Any) -> list[Any]:
        """The settings of an uploaded run.json."""
        path = Path(str(name)).resolve()
        if not path.is_relative_to(self.site.served) or not path.is_file() or path.stat().st_size > _MAX_JSON:
            return self._refuse([say("too_long")])
        return self._load(path.read_text(encoding="utf-8", errors="replace"))

    def use_text(self, text: Any) -> list[Any]:
        """The settings of a pasted run.json."""
        return self._load(str(text or ""))

    def use_fix(self, event: gr.EventData, state: Any, *values: Any) -> list[Any]:
        """What one click on a fix puts right."""
        visitor, who = self.site.who(state)
        dataset = self._samples(visitor, who)
        try:
            config = self.read(values)
        except ProblemsError:
            return self._set({})
        kind = event._data.get("fix") if isinstance(event._data, Mapping) else None
        return self._set(self.preflight.fixed(visitor, config, dataset, kind) if dataset else {})

    def _samples(self, visitor: Visitor, who: Mapping[str, Any]) -> Path | None:
        """The folder of the visitor's dataset, if there are samples in it."""
        folder = visitor.dataset(who.get(self.slot.dataset))
        return None if folder is None or desk_of(visitor, folder.name, self.family).empty else folder

    def _own(self, config: RunConfig) -> RunConfig:
        """A config of this family. Raises ProblemsError for that of another."""
        if config.family != self.family:
            raise ProblemsError(say("other_family", family=config.family, expected=self.family))
        return config

    def _allowed(self, base: Any) -> bool:
        """Whether a base may be looked at: on a server for strangers a name must not reach the disk."""
        return isinstance(base, str) and (not self.site.hosted or base in self.site.offered())

    def _set(self, wanted: Mapping[str, Any]) -> list[Any]:
        return [wanted.get(field.name, gr.skip()) for field in self.fields]

    def _refuse(self, problems: Sequence[str]) -> list[Any]:
        return [self.tell(problems), *[gr.skip()] * len(self.fields)]

    def _load(self, text: str) -> list[Any]:
        """Updates of `problems` and `components` from a run.json; nothing changes when there is a problem in it."""
        if len(text) > _MAX_JSON:
            return self._refuse([say("too_long")])
        try:
            config = self._own(RunConfig.from_dict(json.loads(text)))
            # The pictures are those of the page, not those that stood in the file.
            config = with_values(config, {"data.path": "dataset"})
            self.site.check(config)
        except (ValueError, RecursionError) as error:
            problems = error.problems if isinstance(error, ProblemsError) else [say("not_json", reason=error)]
            return self._refuse(problems)
        return ["", *form.show(config, self.fields)]

    def _changes(self, config: RunConfig) -> str:
        """What each preset would change in the form as it is."""
        have, fields = leaves(config), {field.name: field for field in self.fields}
        lines = []
        for name in presets.of_family(self.family):
            wanted = presets.values(self.family, config.base, [name])
            told = [
                f"{fields[key].label} {fields[key].value(have[key])} → {fields[key].value(value)}"
                for key, value in wanted.items()
                if have[key] != value
            ]
            changes = " · ".join(told) or say("preset_nothing")
            lines.append(f"<dt>{escape(say(f'preset.{name}'))}</dt><dd>{escape(changes)}</dd>")
        if not lines:
            return ""
        title = escape(say("preset_help"))
        return f'<details class="presets"><summary>{title}</summary><dl>{"".join(lines)}</dl></details>'


def _called(name: str, config: RunConfig) -> str:
    word = config.data.trigger_word or config.base.rpartition("/")[2]
    return f"{word} · {config.train.steps} · {name[:8]}"
