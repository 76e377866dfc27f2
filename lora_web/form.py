"""A run config as widgets, and back. Everything comes from the dataclasses: a new knob is one line there, none here."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipelines.bases import BUNDLED
from pipelines.config import RunConfig

from .text import say

# The page sets these itself.
_NOT_SHOWN = ("family", "data.path")


@dataclass(frozen=True)
class Field:
    """One setting: its dotted name, type, default and what `knob` says about it."""

    name: str
    kind: Any
    default: Any
    rules: typing.Mapping[str, Any]

    @property
    def part(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def label(self) -> str:
        return self.rules["label"] or self.name.rpartition(".")[2].replace("_", " ").capitalize()

    @property
    def elem_id(self) -> str:
        return "set-" + self.name.replace(".", "-").replace("_", "-")


def fields(family: str) -> list[Field]:
    """Every setting of a family's run config that a person sets on the page, in order of declaration."""
    return [field for field in _walk(RunConfig(family=family), "") if field.name not in _NOT_SHOWN]


def _walk(part: Any, prefix: str) -> list[Field]:
    types = typing.get_type_hints(type(part))
    found: list[Field] = []
    for spec in dataclasses.fields(part):
        value, name = getattr(part, spec.name), prefix + spec.name
        if dataclasses.is_dataclass(value):
            found.extend(_walk(value, name + "."))
        elif spec.metadata:
            found.append(Field(name, types[spec.name], value, spec.metadata))
    return found


def widget(field: Field, family: str) -> gr.components.Component:
    """The component for one setting. Bounds are told, not set: the run config names every value that is out of them."""
    rules = field.rules
    common: dict[str, Any] = {"value": field.default, "label": field.label, "elem_id": field.elem_id, "min_width": 140}
    if field.name == "base":
        bases = [(base.title, base.name) for base in BUNDLED.values() if base.family == family]
        return gr.Dropdown(choices=bases, allow_custom_value=True, info=rules["help"], **common)
    if field.kind is bool:
        return gr.Checkbox(info=rules["help"], **common)
    if rules["choices"]:
        return gr.Dropdown(choices=list(rules["choices"]), info=rules["help"], **common)
    if field.kind in (int, float):
        step = 1 if field.kind is int else 10.0**-4
        return gr.Number(info=f"{rules['help']} {_range(field)}".strip(), step=step, **common)
    return gr.Textbox(info=rules["help"], max_lines=3, **common)


def _range(field: Field) -> str:
    low, high, unit = field.rules["low"], field.rules["high"], field.rules["unit"]
    if low is None or high is None:
        return f"In {unit}." if unit else ""
    return f"{low:.10g} to {high:.10g}{' ' + unit if unit else ''}."


def build(family: str) -> tuple[list[Field], list[gr.components.Component]]:
    """Lay out the form: plain settings two to a row, the others folded away by part. Returns fields and components."""
    every = fields(family)
    plain = [field for field in every if not field.rules["advanced"]]
    hidden = [field for field in every if field.rules["advanced"]]
    made: dict[str, gr.components.Component] = {}
    for start in range(0, len(plain), 2):
        with gr.Row():
            for field in plain[start : start + 2]:
                made[field.name] = widget(field, family)
    with gr.Accordion(say("advanced"), open=False, elem_id="advanced"):
        for part in dict.fromkeys(field.part for field in hidden):
            group = [field for field in hidden if field.part == part]
            gr.Markdown(f"#### {say('parts.' + part)}")
            for start in range(0, len(group), 2):
                with gr.Row():
                    for field in group[start : start + 2]:
                        made[field.name] = widget(field, family)
    return every, [made[field.name] for field in every]


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
    tree = config.to_dict()
    return [(tree[field.part] if field.part else tree)[field.name.rpartition(".")[2]] for field in every]
