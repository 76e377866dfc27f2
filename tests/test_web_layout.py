"""The boxes of a preview, on the server: whose pictures are offered, and what is taken over from one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_web.folders import ADAPTER
from lora_web.site import Site
from lora_web.slots import Slot
from lora_web.tabs.family import FamilyTab
from lora_web.tabs.library import LibraryTab
from lora_web.workspace import Visitor, Workspace
from pipelines.config import DataConfig, RunConfig
from pipelines.data.samples import import_dataset

gr = pytest.importorskip("gradio")
SLOT = Slot("mmdit_layout")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(Workspace(tmp_path / "workspace"))
    yield site
    site.supervisor.close()


@pytest.fixture
def tab(site: Site) -> FamilyTab:
    made = FamilyTab(site, SLOT.family, "openmoji")
    with gr.Blocks() as demo, gr.Tabs(), gr.Tab():
        made.build(gr.BrowserState({}), demo)
    return made


def state_with(site: Site, pictures: Path, family: str = SLOT.family) -> tuple[Visitor, dict[str, Any]]:
    """A visitor who watches a run that has learned something from these pictures."""
    visitor, who = site.who(None)
    run = visitor.runs_folder() / ("a" * 32)
    run.mkdir()
    config = RunConfig(family=family, data=DataConfig(path="dataset", trigger_word="ink"))
    (run / "run.json").write_text(replace(config, base="somewhere").to_json(), encoding="utf-8")
    import_dataset([pictures], run / "dataset")
    (run / ADAPTER).parent.mkdir(exist_ok=True)
    (run / ADAPTER).touch()
    SLOT.watch(who, run.name)
    return visitor, who


def test_pictures_with_boxes_are_offered_with_their_captions_as_trained(
    site: Site, tab: FamilyTab, layouts: Path
) -> None:
    _, who = state_with(site, layouts)
    assert tab.strength.layout
    choices = tab.strength.layout.offer(who).choices
    assert len(choices) == 6 and choices[0][0] == "disc-0.png: ink, a disc 0"
    prompt, boxes = tab.strength.layout.use(who, choices[1][1])
    assert prompt == "ink, a disc 1" and [box["caption"] for box in boxes] == ["disc 1", "paper"]
    assert tab.strength.suggest(who) == tab.strength.layout.use(who, choices[0][1])
    values = ["0 … 2", prompt, "", 0, 2, 1, boxes, 1, 100]
    entry = tab.watched(who)
    request = tab.strength.read(entry, values).request
    assert [region.to_dict() for region in request.regions] == boxes
    # Where adapters of all families are tried, those of the others are not asked for boxes.
    assert tab.strength.read(replace(entry, family="stable_diffusion"), values).request.regions == ()


@pytest.mark.parametrize("name", [None, "../x", ["a"], "0" * 64])
def test_nothing_is_taken_over_from_anything_else(site: Site, tab: FamilyTab, layouts: Path, name: Any) -> None:
    _, who = state_with(site, layouts)
    assert tab.strength.layout
    assert [each["__type__"] for each in tab.strength.layout.use(who, name)] == ["update", "update"]
    stranger, _ = site.who(None)
    assert tab.strength.layout.offer(who | {"visitor": stranger.token}).choices == []


def test_pictures_without_boxes_are_not_offered(site: Site, tab: FamilyTab, pictures: Path) -> None:
    _, who = state_with(site, pictures)
    assert tab.strength.layout and tab.strength.layout.offer(who).choices == []
    prompt, boxes = tab.strength.suggest(who)
    assert prompt.startswith("ink, ") and boxes is None


def test_a_run_of_another_family_is_not_shown_in_this_tab(site: Site, tab: FamilyTab, layouts: Path) -> None:
    _, who = state_with(site, layouts, "stable_diffusion")
    opened, shown, *_ = tab.open(who, False)
    assert opened is True and SLOT.run not in shown
    # What was opened once stays as its person left it.
    assert all(isinstance(each, dict) and each.get("__type__") == "update" for each in tab.open(who, True)[1:])


def test_the_library_has_a_canvas_for_adapters_that_read_boxes(site: Site, layouts: Path) -> None:
    shelf = LibraryTab(site)
    with gr.Blocks() as demo, gr.Tabs(), gr.Tab():
        shelf.build(gr.BrowserState({}), demo)
    for family, shown in ((SLOT.family, True), ("stable_diffusion", False)):
        _, who = state_with(site, layouts, family)
        *_, drawing, numbers = shelf.look(who | {"adapter": "a" * 32})
        assert drawing.visible == numbers.visible == shown
