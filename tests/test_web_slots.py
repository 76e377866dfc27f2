"""The tabs of several families on one page: each has its own dataset and run, and believes nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_web.site import Site
from lora_web.slots import SLOTS, WATCHED, Slot, slot_of
from lora_web.workspace import Workspace
from pipelines.config import RunConfig
from pipelines.registry import FAMILIES

PICTURES, LAYOUT = Slot("stable_diffusion"), Slot("mmdit_layout")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(Workspace(tmp_path))
    yield site
    site.supervisor.close()


def test_no_two_families_share_a_name() -> None:
    assert [slot.family for slot in SLOTS] == list(FAMILIES)
    for names in zip(*[(slot.prefix, slot.dataset, slot.run) for slot in SLOTS], strict=True):
        assert len(set(names)) == len(SLOTS)
    assert (PICTURES.prefix, PICTURES.dataset, PICTURES.run) == ("", "dataset", "run")


def test_the_state_of_a_browser_keeps_what_each_family_has(site: Site) -> None:
    visitor, _ = site.who(None)
    state = {"visitor": visitor.token}
    for slot in SLOTS:
        state[slot.dataset] = visitor.new_dataset()
        run = visitor.runs_folder() / f"{SLOTS.index(slot):032x}"
        run.mkdir()
        slot.watch(state, run.name)
    assert state[WATCHED] == SLOTS[-1].run
    assert site.who(state)[1] == state
    LAYOUT.leave(state, state[PICTURES.run])
    assert LAYOUT.run in state
    LAYOUT.leave(state, state[LAYOUT.run])
    assert LAYOUT.run not in state and PICTURES.run in state


@pytest.mark.parametrize("lie", [None, "../x", ["a"], {"a": 1}, "0" * 32])
def test_what_is_not_of_the_visitor_is_left_out(site: Site, lie: object) -> None:
    visitor, _ = site.who(None)
    state = {"visitor": visitor.token, LAYOUT.dataset: lie, LAYOUT.run: lie, WATCHED: lie}
    assert site.who(state)[1] == {"visitor": visitor.token}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_slot_of_a_run_is_that_of_its_family(tmp_path: Path, family: str) -> None:
    (tmp_path / "run.json").write_text(RunConfig(family=family).to_json(), encoding="utf-8")
    assert slot_of(tmp_path) == Slot(family)


def test_a_run_that_cannot_be_read_has_no_slot(tmp_path: Path) -> None:
    assert slot_of(tmp_path) is None
