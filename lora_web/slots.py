"""What one family's tab has of its own on a page of several: ids of its elements, its dataset, the run it watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.errors import ProblemsError
from pipelines.registry import FAMILIES

from .workspace import Visitor

# The tab a page opens on. Its names are plain; those of the other families begin with theirs.
FIRST = "stable_diffusion"
# Where the browser's state says which of its entries is the run that the page's address names.
WATCHED = "watched"


@dataclass(frozen=True)
class Slot:
    """The names of one family's elements, and of its entries in the browser's state."""

    family: str

    @property
    def prefix(self) -> str:
        """What the ids of the family's elements begin with."""
        return "" if self.family == FIRST else self.family.replace("_", "-") + "-"

    @property
    def dataset(self) -> str:
        """The entry that names the dataset in the family's editor."""
        return f"{self.prefix}dataset"

    @property
    def run(self) -> str:
        """The entry that names the run the family's tab watches."""
        return f"{self.prefix}run"

    def watch(self, who: dict[str, Any], run: str) -> None:
        """Let the tab watch a run, and the page's address name it."""
        who[self.run] = run
        who[WATCHED] = self.run

    def leave(self, who: dict[str, Any], run: str) -> None:
        """Watch a run no longer, if it is the one."""
        if who.get(self.run) == run:
            del who[self.run]


SLOTS = tuple(Slot(family) for family in FAMILIES)


def slot_of(run: Path) -> Slot | None:
    """The slot of a run's family; None when the run cannot be read."""
    try:
        return Slot(RunConfig.load(run / "run.json").family)
    except ProblemsError:
        return None


def known(state: Mapping[str, Any], visitor: Visitor) -> dict[str, Any]:
    """The entries of every family in a browser's state that name something of this visitor's."""
    found: dict[str, Any] = {}
    for slot in SLOTS:
        if visitor.dataset(state.get(slot.dataset)):
            found[slot.dataset] = state[slot.dataset]
        if visitor.run(state.get(slot.run)):
            found[slot.run] = state[slot.run]
    if state.get(WATCHED) in [slot.run for slot in SLOTS]:
        found[WATCHED] = state[WATCHED]
    return found
