"""Small pieces of HTML the server writes. All text from people or files goes through `escape`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from .text import say
from .workspace import Limits, megabytes


def problems(sentences: Sequence[str]) -> str:
    """A list of problems for the place they belong to; empty text when there is none."""
    if not sentences:
        return ""
    return f'<div class="problems" role="alert">{"".join(f"<p>{escape(line)}</p>" for line in sentences)}</div>'


def good(sentence: str) -> str:
    """Something went as it should."""
    return f'<p role="status"><b>{escape(sentence)}</b></p>'


def limits(of: Limits, hosted: bool) -> str:
    """The limits of an upload, as the server enforces them."""
    return say("limits_hosted" if hosted else "limits", pictures=of.pictures, megabytes=of.file_bytes // 2**20)


def limit_lines(of: Limits) -> list[str]:
    """Every limit of this server that a visitor can meet."""
    lines = [
        say("limit.files", files=of.files, size=megabytes(of.file_bytes), pictures=of.pictures, rows=of.rows),
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
