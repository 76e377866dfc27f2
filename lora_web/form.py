"""A run config as widgets, and back. Everything comes from the dataclasses: a new knob is one line there, none here."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipelines import presets
from pipelines.bases import BUNDLED, BUNDLED_FOLDER, HUB
from pipelines.config import RunConfig, leaves
from pipelines.errors import Problem
from pipelines.registry import family_class

from .slots import Slot
from .text import language, say
from .words import WORDS
from .words.knobs import CHINESE

# The page sets these itself.
_NOT_SHOWN = ("family", "data.path")


@dataclass(frozen=True)
class Field:
    """One setting: its dotted name, type, default and what `knob` says about it."""

    name: str
    kind: Any
    default: Any
    rules: typing.Mapping[str, Any]
    family: str

    @property
    def part(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def label(self) -> str:
        """What the setting is called in the language spoken now."""
        if language() == "zh":
            return CHINESE[self._key][0]
        return self.rules["label"] or self.name.rpartition(".")[2].replace("_", " ").capitalize()

    @property
    def help(self) -> str:
        """What it does, and the values it takes, in the language spoken now."""
        told = CHINESE[self._key][1] if language() == "zh" else self.rules["help"]
        return f"{told} {self._range()}".strip() if self.kind in (int, float) else told

    @property
    def elem_id(self) -> str:
        return Slot(self.family).prefix + "set-" + self.name.replace(".", "-").replace("_", "-")

    @property
    def _key(self) -> str:
        return f"{self.family}:{self.name}" if self.part == "options" else self.name

    def _range(self) -> str:
        low, high, unit = self.rules["low"], self.rules["high"], self.rules["unit"]
        if f"unit.{unit}" in WORDS:
            unit = say(f"unit.{unit}")
        if low is None or high is None:
            return say("in_unit", unit=unit) if unit else ""
        return say("range", low=f"{low:.10g}", high=f"{high:.10g}", unit=f" {unit}" if unit else "")

    def value(self, value: Any) -> str:
        """A value of this setting as a person would say it."""
        if isinstance(value, bool):
            return say("on" if value else "off")
        return f"{value:.6g}" if isinstance(value, float) else str(value)


def fields(family: str) -> list[Field]:
    """Every setting of a family's run config that a person sets on the page, in order of declaration."""
    # A person begins with what suits the family and its bundled base.
    begin = presets.apply(RunConfig(family=family), ["balanced"])
    return [field for field in _walk(begin, "", family) if field.name not in _NOT_SHOWN]


def _walk(part: Any, prefix: str, family: str) -> list[Field]:
    types = typing.get_type_hints(type(part))
    found: list[Field] = []
    for spec in dataclasses.fields(part):
        value, name = getattr(part, spec.name), prefix + spec.name
        if dataclasses.is_dataclass(value):
            found.extend(_walk(value, name + ".", family))
        elif spec.metadata and _concerns(family, spec.metadata["reads"]):
            found.append(Field(name, types[spec.name], value, spec.metadata, family))
    return found


def _concerns(family: str, kinds: typing.Collection[str]) -> bool:
    """Whether a setting for these kinds of samples, empty: for all, is one of this family's."""
    return not kinds or family_class(family).reads in kinds


def bases(family: str, hosted: bool, offered: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The bases to choose from, bundled ones first, as (what is shown, name). Strangers get none to download."""
    found = []
    for base in BUNDLED.values():
        if family in base.families:
            files = (BUNDLED_FOLDER / base.name).rglob("*")
            megabytes = sum(path.stat().st_size for path in files if path.is_file()) / 1e6
            found.append((f"{base.title} · {base.license} · {megabytes:.0f} MB", base.name))
    for known in HUB.values():
        if family in known.families and not hosted:
            told = say("hub", name=known.name, license=known.license, size=f"{known.gigabytes:g} GB")
            found.append((told, known.name))
    return [*found, *((name, name) for name in offered if name not in BUNDLED)]


def widget(field: Field, choices: Sequence[tuple[str, str]], typed: bool) -> gr.components.Component:
    """The component for one setting; `choices` and `typed` (may one type another?) are those of the base.

    Bounds are told, not set: the run config names every value that is out of them.
    """
    common: dict[str, Any] = {
        "value": field.default,
        "label": field.label,
        "info": field.help,
        "elem_id": field.elem_id,
        "min_width": 140,
    }
    if field.name == "base":
        return gr.Dropdown(choices=list(choices), allow_custom_value=typed, **common)
    if field.kind is bool:
        return gr.Checkbox(**common)
    if field.rules["choices"]:
        return gr.Dropdown(choices=list(field.rules["choices"]), **common)
    if field.kind in (int, float):
        return gr.Number(step=1 if field.kind is int else 10.0**-4, **common)
    return gr.Textbox(max_lines=3, **common)


@dataclass(frozen=True)
class Form:
    """The settings and their components, in the same order, and the folded part."""

    fields: list[Field]
    components: list[gr.components.Component]
    advanced: gr.Accordion

    def folded(self, names: Iterable[str]) -> bool:
        """Whether one of these settings is in the folded part."""
        hidden = {field.name for field in self.fields if field.rules["advanced"] and field.name != "base"}
        return not hidden.isdisjoint(names)


def build(family: str, choices: Sequence[tuple[str, str]], typed: bool) -> Form:
    """Lay out the form: plain settings two to a row, the others folded away by part."""
    every = fields(family)
    # The base decides what all else should be.
    base = [field for field in every if field.name == "base"]
    made: dict[str, gr.components.Component] = {}

    def rows(group: Sequence[Field]) -> None:
        for start in range(0, len(group), 2):
            with gr.Row():
                for field in group[start : start + 2]:
                    made[field.name] = widget(field, choices, typed)

    rows(base)
    rows([field for field in every if not field.rules["advanced"] and field not in base])
    hidden = [field for field in every if field.rules["advanced"] and field not in base]
    with gr.Accordion(say("advanced"), open=False, elem_id=f"{Slot(family).prefix}advanced") as advanced:
        for part in dict.fromkeys(field.part for field in hidden):
            gr.Markdown(f"#### {say('parts.' + part)}")
            rows([field for field in hidden if field.part == part])
    return Form(every, [made[field.name] for field in every], advanced)


def read(family: str, every: Sequence[Field], values: Sequence[Any]) -> RunConfig:
    """The run config that component values stand for. Raises ProblemsError with every problem at once."""
    tree: dict[str, Any] = {"family": family, "data": {"path": "dataset"}}
    for field, value in zip(every, values, strict=True):
        # Browsers know one kind of number.
        if field.kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if field.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if field.kind is str and value is None:
            value = ""
        part, _, name = field.name.rpartition(".")
        (tree.setdefault(part, {}) if part else tree)[name] = value
    return RunConfig.from_dict(tree).validate()


def show(config: RunConfig, every: Sequence[Field]) -> list[Any]:
    """The component values for a run config: the inverse of `read`."""
    values = leaves(config)
    return [values[field.name] for field in every]


def tell(problems: Sequence[str], every: Sequence[Field]) -> list[str]:
    """Problems in the language spoken now, as far as that is known: those that know their parts."""
    labels = {field.name: field.label for field in every}
    return [_told(problem, labels) for problem in problems]


def _told(problem: str, labels: typing.Mapping[str, str]) -> str:
    if language() == "en" or not isinstance(problem, Problem):
        return str(problem)
    name = problem.name
    parts = {**problem.parts, "name": f"{labels[name]}（{name}）" if name in labels else name}
    return say(f"problem.{problem.kind}", **parts)


def marks(problems: Sequence[str], every: Sequence[Field]) -> dict[str, str]:
    """The sentence for each field that has a problem, by the field's id in the page."""
    ids = {field.name: field.elem_id for field in every}
    known = [problem for problem in problems if isinstance(problem, Problem) and problem.name in ids]
    return {ids[problem.name]: sentence for problem, sentence in zip(known, tell(known, every), strict=True)}
