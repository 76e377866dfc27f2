"""The history of runs as a component: what each card says, and the page's side of it."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from . import folders
from .previews import data_uri, thumbnail
from .scripts import as_attribute, script
from .status import ENDED_BADLY, RESUMABLE, Record, reasons
from .text import duration, language, say

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
# The value is never interpolated: the script puts it in place, so typing and focus survive an update.
_PAGE = """
<div class="history" data-part="words" data-words='{words}'>
  <p class="problems" data-part="notice" hidden></p>
  <p data-part="empty" hidden>{empty}</p>
  <p class="quiet" data-part="intro" hidden>{intro}</p>
  <ul data-part="list"></ul>
  <button type="button" data-part="more" hidden>{more}</button>
</div>
"""


def history() -> gr.HTML:
    """The component; its value is what `cards` returns.

    Its event `act` carries `{"do": ..., "run": ...}`, its event `compare` the two runs that are ticked, or none:
    `{"runs": [...]}`.
    """
    words = {
        key: say(f"runs.{key}") for key in ("open", "retry", "rename", "delete", "delete_sure", "new_name", "pick")
    }
    words |= {"resume": say("resume"), "locale": language()}
    page = _PAGE.format(
        words=as_attribute(words),
        empty=html.escape(say("runs.empty")),
        intro=html.escape(say("runs.intro")),
        more=html.escape(say("runs.more")),
    )
    return gr.HTML(
        value=None,
        html_template=page,
        js_on_load=script("history", "act", "compare"),
        apply_default_css=False,
        elem_id="history",
    )


def cards(records: Sequence[Record], shown: int, longest: float | None) -> dict[str, Any]:
    """The value of the component for the newest `shown` runs. `longest`: seconds a run may train at a stretch."""
    return {"runs": [_card(record, longest) for record in records[:shown]], "more": len(records) > shown}


def _card(record: Record, longest: float | None) -> dict[str, Any]:
    row = record.row
    told = say(f"run.{row.state}")
    if row.state == "queued" and record.ahead:
        told += " · " + say("runs.place", ahead=record.ahead)
    return {
        "id": row.id,
        "title": row.title,
        "state": row.state,
        "told": told,
        "figures": _figures(record),
        "reason": " ".join(reasons(row, longest)) if row.state in (*ENDED_BADLY, "stopped") else "",
        "facts": _facts(record.run),
        "created": row.created,
        "picture": _picture(record.run),
        "resumable": row.state in RESUMABLE,
    }


def _figures(record: Record) -> str:
    row = record.row
    parts = [say("step", step=row.step, steps=row.steps)] if row.step else []
    if row.loss is not None and row.state != "queued":
        parts.append(say("loss", loss=f"{row.loss:.4f}"))
    if row.trained and row.state not in ("queued", "running"):
        parts.append(say("took", time=duration(row.trained)))
    return " · ".join(parts)


@functools.lru_cache(maxsize=1024)
def _settings(run: Path) -> tuple[str, str, int, float, int] | None:
    # A run never changes its settings.
    config = folders.settings(run)
    if config is None:
        return None
    adapter = config.adapter
    return Path(config.base).name, adapter.variant, adapter.rank, config.train.learning_rate, config.data.resolution


def _facts(run: Path) -> str:
    found = _settings(run)
    if found is None:
        return say("runs.unreadable")
    base, variant, rank, rate, resolution = found
    return say("runs.facts", base=base, variant=variant, rank=rank, rate=f"{rate:g}", resolution=resolution)


def _picture(run: Path) -> str:
    """The latest preview picture of a run, else the first it learned from, as a data URI; empty when there is none."""
    previews = sorted((run / "previews").glob("step-*.png"))
    if previews:
        return _thumbnail(previews[-1])
    try:
        samples = sorted(path for path in (run / "dataset").iterdir() if path.suffix.lower() in _PICTURES)
    except OSError:
        return ""
    return _thumbnail(samples[0]) if samples else ""


@functools.lru_cache(maxsize=512)
def _thumbnail(path: Path) -> str:
    try:
        return data_uri(thumbnail(path, 160))
    except (OSError, ValueError, SyntaxError):
        return ""
