"""Two runs side by side: settings that differ, how they ended, pictures of the same prompt. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from pipelines.config import leaves

from . import folders, form
from .progress import picture
from .status import Status
from .text import duration, say

NAMES = ("A", "B")
_PROMPTS = 4


@dataclass(frozen=True)
class Side:
    """One of the two."""

    run: Path
    status: Status


def table(sides: tuple[Side, Side]) -> str:
    """The comparison without its plot."""
    titles = "".join(
        f'<th scope="col">{name}: <a href="?run={escape(side.run.name)}">{escape(side.status.title)}</a></th>'
        for name, side in zip(NAMES, sides, strict=True)
    )
    head = f"<thead><tr><td></td>{titles}</tr></thead>"
    different = _different(sides)
    rows = _rows(different) or f'<tr><td colspan="3">{escape(say("compare.same"))}</td></tr>'
    return (
        f'<div class="comparison"><h3>{escape(say("compare.title"))}</h3><div class="wide" tabindex="0"><table>{head}'
        f"<tbody>{_heading('compare.outcome')}{_rows(_outcome(sides))}</tbody>"
        f'<tbody data-part="different">{_heading("compare.settings")}{rows}</tbody>'
        f"</table></div>{_pictures(sides)}</div>"
    )


def curves(sides: tuple[Side, Side]) -> list[tuple[int, float, str]]:
    """(step, smoothed loss, name) of both."""
    pairs = zip(NAMES, sides, strict=True)
    return [(step, smooth, name) for name, side in pairs for step, _, smooth in side.status.curve]


def _heading(key: str) -> str:
    return f'<tr><th scope="rowgroup" colspan="3">{escape(say(key))}</th></tr>'


def _rows(rows: Iterable[tuple[str, str, str]]) -> str:
    return "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(a)}</td><td>{escape(b)}</td></tr>' for name, a, b in rows
    )


def _outcome(sides: tuple[Side, Side]) -> list[tuple[str, str, str]]:
    def told(status: Status) -> dict[str, str]:
        finite = [loss for loss in status.validations.values() if loss == loss]
        return {
            "compare.state": say(f"run.{status.state}"),
            "compare.step": f"{status.step} / {status.steps}",
            "compare.loss": f"{status.curve[-1][2]:.4f}" if status.curve else "–",
            "compare.validation": f"{min(finite):.4f}" if finite else "–",
            "compare.time": duration(status.duration) if status.duration else "–",
        }

    first, second = (told(side.status) for side in sides)
    return [(say(key), first[key], second[key]) for key in first]


def _different(sides: tuple[Side, Side]) -> list[tuple[str, str, str]]:
    first, second = (_flat(side.run) for side in sides)
    names = [*first, *(name for name in second if name not in first)]
    return [
        (name, first.get(name, "–"), second.get(name, "–")) for name in names if first.get(name) != second.get(name)
    ]


def _flat(run: Path) -> dict[str, str]:
    """Settings as text, by the name the form gives them and the one they have elsewhere."""
    config = folders.settings(run)
    if config is None:
        return {}
    known, found = {field.name: field for field in form.fields(config.family)}, {}
    for name, value in leaves(config).items():
        if name in known:
            found[f"{known[name].label} ({name})"] = known[name].value(value)
        else:
            found[name] = str(value)
    return found


def _pictures(sides: tuple[Side, Side]) -> str:
    """The latest pictures of every prompt that both have drawn."""
    latest = [
        {event.prompt: event for _, event in sorted(side.status.previews.items()) if event.paths} for side in sides
    ]
    parts = []
    for prompt in [prompt for prompt in latest[0] if prompt and prompt in latest[1]][-_PROMPTS:]:
        figures = ""
        for name, side, events in zip(NAMES, sides, latest, strict=True):
            caption = escape(f"{name}: {say('preview.step', step=events[prompt].step)}")
            uri = picture(side.run, events[prompt].paths[0])
            figures += f'<figure><img src="{uri}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        told = escape(say("compare.pictures", prompt=prompt))
        parts.append(f'<p class="quiet">{told}</p><div class="pair">{figures}</div>')
    return "".join(parts)
