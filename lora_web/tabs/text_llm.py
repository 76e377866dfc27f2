"""A language model that learns to answer: the tab of a family with this one's name and example."""

from __future__ import annotations

from ..text import say
from .family import family_tab

build = family_tab("text_llm", example="dialogues/plain_words.jsonl")


def title() -> str:
    return say("text_tab")
