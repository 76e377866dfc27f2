"""What to know before a run: quick checks at once, time and memory after two trial steps, and one-click fixes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines import preflight
from pipelines.config import RunConfig
from pipelines.data.readers import READERS
from pipelines.preflight import Finding
from pipelines.registry import family_class

from ..scripts import script
from ..site import Site
from ..text import duration, say
from ..workspace import Visitor

_LEVELS = ("error", "warning", "fact")


class Preflight:
    """The panel above the Train button. `outputs` are what `view` updates."""

    def __init__(self, site: Site, prefix: str):
        self.site = site
        self.panel = gr.HTML("", js_on_load=script("fixes"), apply_default_css=False, elem_id=f"{prefix}preflight")
        self.timer = gr.Timer(1.0, active=False)
        self.outputs = [self.panel, self.timer]

    def look(self, visitor: Visitor, config: RunConfig, dataset: Path) -> tuple[list[Finding], bool]:
        """What is found now, and whether a measurement is still to come."""
        found = preflight.check(config, dataset, self.site.workspace.root)
        if preflight.errors(found):
            return found, False
        measured = self.site.measures.ask(visitor.token, config, dataset)
        if measured is None:
            return found, True
        held = READERS[family_class(config.family).reads].read(dataset, config.data).samples
        every = [*found, *preflight.judge(config, measured, len(held))]
        return sorted(every, key=lambda finding: _LEVELS.index(finding.level)), False

    def view(self, visitor: Visitor, config: RunConfig | None, dataset: Path | None) -> list[Any]:
        """Updates of `outputs`; empty while there are no samples or the settings have problems."""
        if config is None or dataset is None:
            return ["", gr.Timer(active=False)]
        found, waiting = self.look(visitor, config, dataset)
        return [_panel(found, waiting, self.site.measures.busy), gr.Timer(active=waiting)]

    def problems(self, config: RunConfig, dataset: Path) -> list[str]:
        """What blocks a run, by the quick checks alone: a person who presses Train does not wait."""
        found = preflight.check(config, dataset, self.site.workspace.root)
        return [tell(finding) for finding in found if finding.level == "error"]

    def fixed(self, visitor: Visitor, config: RunConfig, dataset: Path, kind: Any) -> dict[str, Any]:
        """The settings of the fix of this kind, if it is among those on offer now."""
        found, _ = self.look(visitor, config, dataset)
        fixes = [finding.fix for finding in found if finding.fix and finding.fix.kind == kind]
        return dict(fixes[0].settings) if fixes else {}


def tell(finding: Finding) -> str:
    """A finding in the language spoken now. What the library says of files and bases stays as it is."""
    if finding.kind == "told":
        return str(finding.parts["sentence"])
    parts = preflight.spoken(finding.parts)
    if "time" in parts:
        parts["time"] = duration(finding.parts["time"])
    return say(f"preflight.{finding.kind}", **parts)


def _panel(found: Sequence[Finding], waiting: bool, busy: bool) -> str:
    lines = []
    for finding in found:
        button = ""
        if finding.fix:
            told = escape(say(f"fix.{finding.fix.kind}", **finding.fix.parts))
            button = f'<button type="button" data-fix="{escape(finding.fix.kind)}">{told}</button>'
        level = escape(say(f"preflight.{finding.level}"))
        lines.append(
            f'<li data-level="{finding.level}" data-kind="{finding.kind}">'
            f'<b class="level">{level}</b> <span>{escape(tell(finding))}</span>{button}</li>'
        )
    wait = ""
    if waiting:
        wait = f'<p class="quiet" data-waiting>{escape(say("preflight.busy" if busy else "preflight.measuring"))}</p>'
    title = escape(say("preflight"))
    return f'<section class="preflight" aria-label="{title}"><h3>{title}</h3><ul>{"".join(lines)}</ul>{wait}</section>'
