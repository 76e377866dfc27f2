"""What the strength panel accepts from a browser: only what its own page could have sent."""

from __future__ import annotations

import html
import json
import math
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_web.entries import Entry
from lora_web.ladder import ladder
from lora_web.previews import SPANS, Asked, Previews, read_asked, read_request
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


def test_a_drawn_ladder_waits_for_nobody(tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    """It comes out of the cache while another base is loaded and busy, and that base stays loaded."""
    entries = [_entry(tiny_base(kind), tmp_path / kind) for kind in ("sd1", "sd2")]
    asked = Asked(read_request("a fox", "", 0, 1, 1.0))
    previews = Previews(tmp_path / "cache")
    assert previews.recall(entries[0], asked) is None
    drawn = previews.ladder(entries[0], asked)
    previews.load(entries[1])
    found: list[Any] = []
    with previews.session(entries[1]).at({}):
        beside = threading.Thread(target=lambda: found.append(previews.recall(entries[0], asked)))
        beside.start()
        beside.join(60)
    assert found == [drawn]
    assert previews.ready(entries[1])


def _entry(base: Path, home: Path) -> Entry:
    import torch

    from pipelines import registry
    from pipelines.adapters.attach import shapes
    from pipelines.adapters.file import write_adapter
    from pipelines.bases import find_base
    from tests.adapter_parts import random_layers

    model = registry.create("stable_diffusion").load(find_base(str(base)), torch.device("meta"), torch.float32).model
    home.mkdir()
    write_adapter(home / "adapter.safetensors", random_layers(shapes(model)), form="diffusers", metadata={})
    return Entry(home / "adapter.safetensors", "stable_diffusion", str(base), None, "t", home)
