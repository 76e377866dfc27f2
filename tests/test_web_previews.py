"""What the strength panel accepts from a browser: only what its own page could have sent."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lora_web import scripts
from lora_web.entries import Entry
from lora_web.ladder import ladder
from lora_web.previews import SPANS, Asked, Previews, plain, read_asked, read_request
from pipelines import adherence, bases
from pipelines.data.plain import MAX_CAPTION
from pipelines.data.regions import READ_REGIONS, Region
from pipelines.errors import ProblemsError

BOX = {"box": [0.1, 0.2, 0.5, 1], "caption": "a fox"}
LAYOUT: dict[str, Any] = {"regions": [], "layout_scale": 1, "layout_until": 100}
REQUEST = {"prompt": "a fox", "negative_prompt": "", "seed": 3, "steps": 5, "guidance": 4.0, **LAYOUT}
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
        {**GOOD, "request": {name: value for name, value in REQUEST.items() if name != "regions"}},
        {**GOOD, "request": {**REQUEST, "regions": "all"}},
        {**GOOD, "request": {**REQUEST, "regions": [BOX] * (READ_REGIONS + 1)}},
        {**GOOD, "request": {**REQUEST, "regions": [{**BOX, "box": [0.5, 0, 0.1, 1]}]}},
        {**GOOD, "request": {**REQUEST, "regions": [{**BOX, "box": [0, 0, math.nan, 1]}]}},
        {**GOOD, "request": {**REQUEST, "regions": [{**BOX, "box": [0, 0, 2, 1]}]}},
        {**GOOD, "request": {**REQUEST, "regions": [{**BOX, "caption": {"path": "/etc/passwd"}}]}},
        {**GOOD, "request": {**REQUEST, "regions": [{**BOX, "caption": "x" * (MAX_CAPTION + 1)}]}},
        {**GOOD, "request": {**REQUEST, "layout_scale": -1}},
        {**GOOD, "request": {**REQUEST, "layout_scale": True}},
        {**GOOD, "request": {**REQUEST, "layout_until": 101}},
        {**GOOD, "request": {**REQUEST, "layout_until": None}},
    ],
    ids=str,
)
def test_everything_else_is_refused_in_sentences(bad: Any) -> None:
    with pytest.raises(ProblemsError):
        read_asked(bad)


def test_boxes_are_read_and_asked_for_again_under_the_same_name() -> None:
    """A browser has one kind of number and no tuples: what it sends back of a request is that request."""
    request = read_request("a fox", "", 3.0, 5.0, 4.0, [BOX], 1, 50)
    assert request.regions == (Region((0.1, 0.2, 0.5, 1.0), "a fox"),)
    again = read_asked({**GOOD, "request": _by_a_browser(plain(request))})
    assert again.request == request and json.dumps(plain(again.request)) == json.dumps(plain(request))
    # A canvas that nobody has touched has no value.
    assert read_request("a fox", "", 3, 5, 4.0, None, 1, 100) == read_request("a fox", "", 3, 5, 4.0)


def test_every_problem_of_a_request_is_named_at_once() -> None:
    with pytest.raises(ProblemsError) as told:
        read_request("a fox", "", -1, 5, 4.0, [BOX, {"box": [0, 0, 0, 0]}], 9, 100)
    assert len(told.value.problems) == 3
    for name in ("seed", "Boxes, number 2", "layout_scale"):
        assert any(name in problem for problem in told.value.problems)


def test_the_component_has_a_sentence_for_all_it_says() -> None:
    """The script names its sentences; one that is missing would show as "undefined"."""
    script, page = scripts.text("strengths", "ladder"), str(ladder("ladder").html_template)
    words = json.loads(html.unescape(re.findall(r"data-words='([^']*)'", page)[0]))
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


def test_boxes_are_judged_where_the_judge_can_read_the_drawings(
    tiny_base: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "bases" / "tiny-layout"
    shutil.copytree(tiny_base("layout"), base)
    entry = _entry(base, tmp_path / "home", "mmdit_layout")
    boxes = [BOX, {**BOX, "caption": "a quux"}]
    asked = Asked(read_request("a fox", "", 0, 1, 1.0, boxes, 1, 100))
    previews = Previews(tmp_path / "cache")
    assert list(previews.adherence(entry, asked)) == []

    monkeypatch.setattr(bases, "BUNDLED_FOLDER", base.parent)
    monkeypatch.setitem(bases.BUNDLED, base.name, bases.Bundled(base.name, (entry.family,), "Tiny", "CC BY 4.0", 64))
    entry = replace(entry, base=base.name)
    (message,) = previews.adherence(entry, asked)
    fox, quux = message["found"]
    assert message["of"] == previews.ladder(entry, asked)["of"]
    assert [type(each) for each in fox] == [bool] * len(asked.strengths) and quux is None
    assert "box 2" in message["hint"]
    assert list(previews.adherence(entry, Asked(read_request("a fox", "", 0, 1, 1.0)))) == []

    monkeypatch.setattr(adherence, "FOLDER", tmp_path)
    (message,) = previews.adherence(entry, asked)
    assert message["found"] == [] and "not part of this copy" in message["hint"]


def _by_a_browser(value: Any) -> Any:
    """What `JSON.stringify` makes of it, read again."""
    whole = partial(re.sub, r"\b(\d+)\.0\b", r"\1")
    return json.loads(whole(json.dumps(value)))


def _entry(base: Path, home: Path, family: str = "stable_diffusion") -> Entry:
    import torch

    from pipelines import registry
    from pipelines.adapters.attach import shapes
    from pipelines.adapters.file import write_adapter
    from pipelines.bases import find_base
    from tests.adapter_parts import random_layers

    model = registry.create(family).load(find_base(str(base)), torch.device("meta"), torch.float32).model
    home.mkdir()
    write_adapter(home / "adapter.safetensors", random_layers(shapes(model)), form="diffusers", metadata={})
    return Entry(home / "adapter.safetensors", family, str(base), None, "t", home)
