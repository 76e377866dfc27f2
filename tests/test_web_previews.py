"""What the strength panel accepts from a browser: only what its own page could have sent."""

from __future__ import annotations

import html
import json
import math
import re
from typing import Any

import pytest

from lora_web.ladder import ladder
from lora_web.previews import SPANS, read_asked, read_request
from pipelines.errors import ProblemsError

REQUEST = {"prompt": "a fox", "negative_prompt": "", "seed": 3, "steps": 5, "guidance": 4.0}
GOOD: dict[str, Any] = {"request": REQUEST, "span": "−2 … 2", "balance": {"self-attention": 0.5}}


def test_what_the_page_sends_is_read() -> None:
    asked = read_asked(GOOD)
    assert asked.request == read_request("a fox", "", 3.0, 5.0, 4.0)
    assert asked.strengths == (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2) and asked.balance == {"self-attention": 0.5}
    assert all(0.0 in span and list(span) == sorted(span) for span in SPANS.values())


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "x",
        [],
        {},
        {**GOOD, "span": "0 … 9"},
        {**GOOD, "span": ["0 … 2"]},
        {**GOOD, "balance": {"self-attention": math.nan}},
        {**GOOD, "balance": {"self-attention": 1e9}},
        {**GOOD, "balance": {"self-attention": True}},
        {**GOOD, "balance": {str(i): 1 for i in range(100)}},
        {**GOOD, "balance": "all"},
        {**GOOD, "request": None},
        {**GOOD, "request": {**REQUEST, "seed": -1}},
        {**GOOD, "request": {**REQUEST, "steps": 10**9}},
        {**GOOD, "request": {**REQUEST, "steps": math.inf}},
        {**GOOD, "request": {**REQUEST, "prompt": {"path": "/etc/passwd"}}},
        {**GOOD, "request": {**REQUEST, "prompt": "  "}},
    ],
    ids=str,
)
def test_everything_else_is_refused_in_sentences(bad: Any) -> None:
    with pytest.raises(ProblemsError):
        read_asked(bad)


def test_the_component_has_a_sentence_for_all_it_says() -> None:
    """The script names its sentences; one that is missing would show as "undefined"."""
    component = ladder("ladder")
    script, page = str(component.js_on_load), str(component.html_template)
    words = json.loads(html.unescape(re.findall(r'data-words="([^"]*)"', page)[0]))
    assert set(re.findall(r"words\.(\w+)", script)) <= set(words)
    parts = set(re.findall(r'data-part="([\w-]+)"', page))
    assert set(re.findall(r'\$\("([\w-]+)"\)', script)) <= parts
