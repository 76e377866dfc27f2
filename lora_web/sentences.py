"""Small pieces of HTML the server writes. All text from people or files goes through `escape`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from .runs import Status
from .text import duration, say
from .workspace import Limits, megabytes


def problems(sentences: Sequence[str]) -> str:
    """A list of problems for the place they belong to; empty text when there is none."""
    if not sentences:
        return ""
    return f'<div class="problems" role="alert">{"".join(f"<p>{escape(line)}</p>" for line in sentences)}</div>'


def limits(of: Limits, hosted: bool) -> str:
    """The limits of an upload, as the server enforces them."""
    return say("limits_hosted" if hosted else "limits", pictures=of.pictures, megabytes=of.file_bytes // 2**20)


def limit_lines(of: Limits) -> list[str]:
    """Every limit of this server that a visitor can meet."""
    lines = [
        say("limit.files", files=of.files, size=megabytes(of.file_bytes), pictures=of.pictures),
        say("limit.space", size=megabytes(of.visitor_bytes)),
        say("limit.settings", steps=of.steps, resolution=of.resolution, rank=of.rank, batch=of.batch_size),
        say("limit.line", runs=of.runs, queue=of.queue),
    ]
    if of.run_minutes:
        lines.append(say("run_time_over", minutes=of.run_minutes))
    if of.starts_per_hour:
        lines.append(say("limit.starts", starts=of.starts_per_hour))
    if of.uploads_per_hour:
        lines.append(say("limit.uploads", uploads=of.uploads_per_hour))
    return lines


def promises(parts: Sequence[tuple[str, Sequence[str]]], versions: str) -> str:
    """The trust panel: titles with sentences below, and the versions at work."""
    blocks = "".join(
        f"<section><h3>{escape(title)}</h3><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul></section>"
        for title, lines in parts
    )
    return f'<div class="promises">{blocks}</div><p class="quiet">{escape(versions)}</p>'


def quiet(sentence: str) -> str:
    """A remark."""
    return f'<p class="quiet" role="status">{escape(sentence)}</p>'


def as_script(text: str) -> str:
    """A text as a string of a script."""
    return json.dumps(text)


def status(found: Status | None, run: str) -> str:
    """State, progress, and what went wrong, of the run the page watches."""
    if found is None:
        return f'<div class="status"><p class="quiet">{escape(say("state.none"))}</p></div>'
    parts = [f'<p class="state" role="status" data-state="{found.state}">{escape(_state(found))}</p>']
    parts.append(problems(found.problems))
    if found.steps and (found.step or found.state == "running"):
        label = escape(say("progress"))
        parts.append(f'<progress max="{found.steps}" value="{found.step}" aria-label="{label}"></progress>')
        parts.append(f'<p class="quiet" data-step="{found.step}">{escape(_numbers(found))}</p>')
    if found.state in ("interrupted", "failed"):
        parts.append(f'<p class="quiet">{escape(say("keep_hint"))}</p>')
    if found.log_tail.strip():
        parts.append(
            f"<details><summary>{escape(say('log'))}</summary>"
            f"<pre tabindex='0'>{escape(found.log_tail)}</pre></details>"
        )
    if found.active:
        parts.append(
            f'<p class="quiet">{escape(say("safe"))} <a href="?run={escape(run)}">{escape(say("link"))}</a></p>'
        )
    return f'<div class="status">{"".join(parts)}</div>'


def _state(found: Status) -> str:
    if found.state == "queued":
        return say("state.queued", ahead=found.ahead) if found.ahead else say("state.queued_next")
    if found.state == "running":
        return say("state.stopping" if found.stopping else "state.running" if found.step else "state.preparing")
    return say(f"state.{found.state}")


def _numbers(found: Status) -> str:
    parts = [say("step", step=found.step, steps=found.steps)]
    if found.curve:
        parts.append(say("loss", loss=f"{found.curve[-1][2]:.4f}"))
    if found.seconds_left is not None and found.step < found.steps:
        parts.append(say("left", time=duration(found.seconds_left)))
    return " · ".join(parts)
