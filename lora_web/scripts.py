"""The scripts of our own components, each of them once in the page: its head defines a function for each kind, and what
Gradio repeats for every component and tab, `js_on_load`, is a line that calls it.

A file is the body of a function, as `js_on_load` is, with the same names given. Gradio runs the scripts of the head
before it lays out the first component, so nobody waits for them.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from pathlib import Path

_HERE = Path(__file__).parent
_GIVEN = "{ element, trigger, props, server, upload, watch }"
# What all of them see, then one file for each kind of component.
_SHARED = ("parts", "strengths", "regions", "events")
_KINDS = ("answers", "canvas", "download", "fixes", "header", "history", "ladder", "marks", "picture", "shelf")
# The editors of a dataset have more in common: these parts are there for each, and see one's own.
_EDITING = ("editor_parts", "editor_saving", "editor_files")
_EDITORS = {"editor": ("editor_regions", "editor_describe", "editor"), "rows": ("rows",)}


def head() -> str:
    """For the head of the page."""
    editors = _object(f"{kind}() {{\n{text(*files)}}}" for kind, files in _EDITORS.items())
    kinds = [f"{kind}({_GIVEN}) {{\n{text(kind)}}}" for kind in _KINDS]
    kinds += [f"{kind}(given) {{ edit(given).{kind}(); }}" for kind in _EDITORS]
    parts = (
        text(*_SHARED),
        f"function edit({_GIVEN}) {{\n{text(*_EDITING)}return {editors};\n}}\n",
        f"return {_object(['...events', 'drawRegions', *kinds])};\n",
    )
    return f"<script>\nwindow.loraWeb = (() => {{\n{''.join(parts)}}})();\n</script>"


def script(kind: str, *events: str) -> str:
    """`js_on_load` of a component of this kind. Gradio looks in it for the names of `events` of the component's own."""
    return f"loraWeb.{kind}({_GIVEN});" + "".join(f' // "{event}"' for event in events)


def as_attribute(value: object) -> str:
    """A value as JSON, to stand between single quotes in a template: the double ones, of which JSON is full, stay."""
    written = html.escape(json.dumps(value, ensure_ascii=False), quote=False)
    # Gradio's templates read backslashes.
    return written.replace("'", "&#39;").replace("\\", "&#92;")


def text(*names: str) -> str:
    """These files, one after the other."""
    return "".join((_HERE / f"{name}.js").read_text(encoding="utf-8") for name in names)


def _object(members: Iterable[str]) -> str:
    return "{\n" + ",\n".join(members) + "\n}"
