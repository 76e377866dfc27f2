"""The HTML of a run as it goes: state, figures, what went wrong, preview pictures. All text from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from pipelines.events import Previewed

from .previews import data_uri, thumbnail
from .sentences import problems
from .status import ENDED_BADLY, Status
from .store import Row
from .text import duration, say

# Previews shown in the strip: the first, and the latest.
_SHOWN = 24
# Of an answer, for a page that shows two dozen of them.
_ANSWER_BYTES = 8000


def status(found: Status | None, run: str, others: Sequence[Row] = ()) -> str:
    """State, progress, and what went wrong, of the run the page watches; below, the visitor's other runs in line."""
    if found is None:
        quiet = f'<p class="quiet">{escape(say("state.none"))}</p>'
        return f'<div class="status">{quiet}{_others(others)}</div>'
    parts = [f'<p class="state" role="status" data-state="{found.state}">{escape(_state(found))}</p>']
    parts.append(problems(found.problems))
    if found.steps and (found.step or found.state == "running"):
        label = escape(say("progress"))
        parts.append(f'<progress max="{found.steps}" value="{found.step}" aria-label="{label}"></progress>')
        parts.append(f'<p class="quiet" data-step="{found.step}">{escape(_numbers(found))}</p>')
    if found.overfit:
        step, rise = found.overfit
        parts.append(f'<p class="hint">{escape(say("overfit", step=step, percent=round(100 * rise)))}</p>')
    if found.state in ENDED_BADLY:
        parts.append(f'<p class="quiet">{escape(say("keep_hint"))}</p>')
    if found.log_tail.strip():
        parts.append(
            f"<details open><summary>{escape(say('log'))}</summary>"
            f"<pre tabindex='0'>{escape(found.log_tail)}</pre></details>"
        )
    if found.active:
        parts.append(
            f'<p class="quiet">{escape(say("safe"))} <a href="?run={escape(run)}">{escape(say("link"))}</a></p>'
        )
    return f'<div class="status">{"".join(parts)}{_others(others)}</div>'


def page_title(found: Status | None) -> str:
    """What the browser's tab says, so that a person who does something else sees how far it is."""
    if found is None:
        return say("title")
    if found.state == "running" and found.steps:
        told = f"{100 * found.step // found.steps} %"
    else:
        told = say(f"run.{found.state}")
    return f"{told} · {say('title')}"


def probe(found: Status | None) -> str:
    """How far each block still is from the teacher it learns from; empty where there is none."""
    if found is None or not found.blocks:
        return ""
    most = max(distance for block in found.blocks for _, distance in block)
    rows = []
    for number, block in enumerate(found.blocks, 1):
        places = [(100 * step / max(1, found.steps), 24 - 24 * distance / max(most, 1e-9)) for step, distance in block]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        rows.append(
            f'<tr data-block="{number}"><th scope="row">{escape(say("probe.block", number=number))}</th>'
            f'<td><svg viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">'
            f'<polyline points="{points}"/></svg></td><td>{block[0][1]:.2f}</td><td>{block[-1][1]:.2f}</td></tr>'
        )
    heads = "".join(f'<th scope="col">{escape(say(f"probe.{key}"))}</th>' for key in ("of", "course", "first", "now"))
    return (
        f'<details class="probe" open><summary>{escape(say("probe"))}</summary><table><thead><tr>{heads}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table><p class="quiet">{escape(say("probe.help"))}</p></details>'
    )


def strip(run: Path, previews: dict[int, Previewed]) -> str:
    """The preview pictures a run made, each with its step; empty when it made none."""
    steps = sorted(previews)
    steps = steps[:1] + steps[1:][-(_SHOWN - 1) :]
    if any(name.endswith(".txt") for step in steps for name in previews[step].paths):
        return _said(run, {step: previews[step] for step in steps})
    figures = []
    for step in steps:
        caption = escape(say("preview.step", step=step))
        for name in previews[step].paths:
            uri = picture(run, name)
            if uri:
                figures.append(
                    f'<figure data-preview="{step}"><img src="{uri}" alt="{caption}">'
                    f"<figcaption>{caption}</figcaption></figure>"
                )
    if not figures:
        return ""
    label = escape(say("preview.strip"))
    prompts = {previews[step].prompt for step in steps}
    told = escape(say("preview.of", prompt=prompts.pop())) if len(prompts) == 1 and all(prompts) else label
    return (
        f'<p class="quiet">{told}</p>'
        f'<div class="strip" role="group" aria-label="{label}" tabindex="0">{"".join(figures)}</div>'
    )


def _said(run: Path, previews: dict[int, Previewed]) -> str:
    """What a run that answers in words said at each step, the newest last."""
    answers = []
    for step, found in previews.items():
        for name in found.paths:
            path = run / name
            try:
                inside = path.resolve().is_relative_to(run.resolve())
                text = path.read_bytes()[:_ANSWER_BYTES].decode("utf-8", "ignore").strip() if inside else ""
            except (OSError, ValueError):
                text = ""
            if text:
                when = escape(say("preview.step", step=step))
                answers.append(f'<div data-preview="{step}"><dt>{when}</dt><dd>{escape(text)}</dd></div>')
    if not answers:
        return ""
    label, question = escape(say("preview.answers")), next(iter(previews.values())).prompt
    told = escape(say("preview.of", prompt=question)) if question else label
    return (
        f'<p class="quiet">{told}</p><div class="strip said" role="group" aria-label="{label}" tabindex="0">'
        f"<dl>{''.join(answers)}</dl></div>"
    )


def picture(run: Path, name: str) -> str:
    """A picture of a run folder as a data URI; empty when it is not there, or not inside."""
    path = run / name
    try:
        inside = path.resolve().is_relative_to(run.resolve())
        return escape(data_uri(thumbnail(path))) if inside else ""
    except (OSError, ValueError, SyntaxError):
        return ""


def _others(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    items = "".join(
        f'<li><a href="?run={escape(row.id)}">{escape(row.title)}</a> ({escape(say("run." + row.state))})</li>'
        for row in rows
    )
    return f'<p class="quiet">{escape(say("others"))}</p><ul class="others">{items}</ul>'


def _state(found: Status) -> str:
    if found.state == "queued":
        return say("state.queued", ahead=found.ahead) if found.ahead else say("state.queued_next")
    if found.state == "running":
        return say("state.stopping" if found.stopping else "state.running" if found.step else "state.preparing")
    if found.state == "stopped" and not found.began:
        return say("state.never")
    return say(f"state.{found.state}")


def _numbers(found: Status) -> str:
    parts = [say("step", step=found.step, steps=found.steps)]
    if found.curve:
        parts.append(say("loss", loss=f"{found.curve[-1][2]:.4f}"))
    if found.validations:
        parts.append(say("validation", loss=f"{found.validations[max(found.validations)]:.4f}"))
    if found.perplexities:
        first, last = (found.perplexities[step] for step in (min(found.perplexities), max(found.perplexities)))
        parts.append(say("perplexity", perplexity=f"{last:.3g}", first=f"{first:.3g}"))
    if found.speed and found.step:
        parts.append(say("speed", speed=f"{found.speed:.3g}"))
    if found.memory:
        parts.append(say("memory", gigabytes=f"{found.memory / 2**30:.1f}"))
    if found.seconds_left is not None and found.step < found.steps:
        parts.append(say("left", time=duration(found.seconds_left)))
    if found.duration and not found.active:
        parts.append(say("took", time=duration(found.duration)))
    return " · ".join(parts)
