"""The cards of the library as a component, and the tables that say what is in an adapter file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from .library import Card
from .scripts import script
from .text import say
from .words import WORDS

_PAGE = """<p class="quiet" data-part="empty" hidden>{empty}</p>
<div class="shelf" role="group" aria-label="{label}" data-part="cards"></div>"""
_WORDS_SHOWN = 6
_FACTS = (
    *("base", "variant", "ranks", "bytes", "trigger_words", "recommended_strength", "made_with", "made_for"),
    *("form", "modules", "parameters", "dtypes", "resolution", "date", "author", "license", "description", "file"),
)
_VARIANTS = {"lora": "LoRA", "rslora": "rsLoRA"}


def shelf() -> gr.HTML:
    """The component; its value is what `cards_for` returns. A click on a card is its event `choose`."""
    page = _PAGE.format(empty=escape(say("library.empty")), label=escape(say("library.shelf")))
    return gr.HTML(
        value=None, html_template=page, js_on_load=script("shelf", "choose"), apply_default_css=False, elem_id="shelf"
    )


def cards_for(cards: Sequence[Card], chosen: Any) -> dict[str, Any]:
    """What the component shows."""
    return {"cards": [_card(card) for card in cards], "chosen": chosen}


def _card(card: Card) -> dict[str, Any]:
    facts, entry = card.facts, card.entry
    parts = [shown_fact(name, facts.get(name)) for name in ("variant", "bytes")]
    ranks = facts.get("ranks") or []
    if ranks:
        low, high = ranks[0], ranks[-1]
        parts.insert(1, say("library.rank", rank=low) if low == high else say("library.ranks", low=low, high=high))
    strength = facts.get("recommended_strength")
    date = card.added.date().isoformat()
    origin = say("library.brought", file=card.source, date=date) if card.source else say("library.trained", date=date)
    return {
        "id": card.id,
        "title": entry.title,
        "picture": card.picture,
        "lines": [
            base_name(entry.base),
            " · ".join(part for part in parts if part),
            *([say("library.recommended", strength=f"{strength:g}")] if strength is not None else []),
            origin,
        ],
        "words": facts.get("trigger_words", [])[:_WORDS_SHOWN],
        "problems": facts.get("problems", []),
    }


def base_name(base: str) -> str:
    """What a card calls a base: of a path only the last part."""
    return Path(base).name if Path(base).is_absolute() else base


def shown_fact(name: str, value: Any) -> str:
    """A fact of `pipelines inspect` as a person reads it; empty when there is none."""
    if value is None or value in ("", []):
        return ""
    if name == "bytes":
        return f"{value / 2**20:.1f} MB" if value >= 2**20 else f"{max(1, round(value / 2**10))} KB"
    if name == "variant":
        return _VARIANTS.get(value, str(value))
    if name == "parameters":
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def particulars(card: Card) -> str:
    """The facts of an adapter and the header of its file, as tables."""
    facts = {**card.facts, "base": base_name(card.entry.base), "file": card.source}
    rows = [(say(f"fact.{name}"), text) for name in _FACTS if (text := shown_fact(name, facts.get(name)))]
    header = list(card.facts.get("metadata", {}).items())
    inside = _table((say("library.key"), say("library.value")), header) if header else _quiet(say("library.no_header"))
    return f'<div class="particulars">{_pairs(rows)}{_fold(say("library.header"), inside)}</div>'


def layer_tables(rows: Sequence[dict[str, Any]]) -> str:
    """What `Library.layers` found: one line a group, then every layer."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    heads = (say("library.group"), say("library.count"), say("library.norm"))
    sums = [
        (group_name(name), len(found), _number(math.hypot(*(row["norm"] for row in found))))
        for name, found in groups.items()
    ]
    layers = [(row["layer"], group_name(row["group"]), row["rank"], _number(row["norm"])) for row in rows]
    every = (say("library.layer"), say("library.group"), say("library.layer_rank"), say("library.norm"))
    fold = _fold(say("library.every_layer", count=len(rows)), _table(every, layers))
    return f'<div class="particulars">{_table(heads, sums)}{fold}</div>'


def group_name(group: str) -> str:
    """A group of layers in the language of the page."""
    return say(f"group.{group}") if f"group.{group}" in WORDS else group


def _number(value: float) -> str:
    return f"{value:.3g}"


def _quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>'


def _pairs(rows: Sequence[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in rows)}</dl>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _fold(title: str, inside: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inside}</details>"
