"""Entries: an adapter that can be tried or taken home, wherever on the page it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.data.samples import Sample, read_dataset
from pipelines.errors import ProblemsError
from pipelines.registry import family_class

from . import folders
from .cards import read_card
from .folders import ADAPTER
from .text import say


@dataclass(frozen=True)
class Entry:
    """An adapter file and the base it belongs to.

    `home` is a folder of the adapter's own, where what is measured of it is kept. `dataset` holds the samples it was
    trained on (as `read_dataset` reads them), where they are known.
    """

    path: Path
    family: str
    base: str
    options: Any
    title: str
    home: Path
    dataset: Path | None = None


# From the browser's state to the entry it means; raises ProblemsError when there is none.
Source = Callable[[Any], Entry]
# From the browser's state to further entries of the same base, by the name a person knows them by.
Others = Callable[[Any], Iterator[tuple[str, Entry]]]


def none(state: Any) -> Iterator[tuple[str, Entry]]:
    """Nothing to compare with."""
    yield from ()


def of_run(run: Path) -> Entry:
    """The adapter a run has learned. Raises ProblemsError while there is none."""
    if not (run / ADAPTER).is_file():
        raise ProblemsError(say("need_adapter"))
    config = RunConfig.load(run / "run.json")
    title = str(read_card(run / ADAPTER).get("title", "")) or folders.title(run)
    dataset = run / "dataset"
    return Entry(
        run / ADAPTER, config.family, config.base, config.options, title, run, dataset if dataset.is_dir() else None
    )


def answers(entry: Entry) -> bool:
    """Whether the family of an adapter answers in words."""
    return family_class(entry.family).answers


def sees(entry: Entry) -> bool:
    """Whether it answers about pictures."""
    kind = family_class(entry.family)
    return kind.answers and "picture" in kind.reads


def trained_on(entry: Entry, triggered: bool = False) -> list[Sample]:
    """The samples a run's adapter was trained on, as far as they are known; `triggered`: with the trigger word in their
    captions. Raises ProblemsError."""
    if entry.dataset is None:
        return []
    data = RunConfig.load(entry.home / "run.json").data
    dataset = read_dataset(
        entry.dataset,
        caption=data.caption,
        trigger_word=data.trigger_word if triggered else "",
        captions_from_names=data.captions_from_names,
    )
    return list(dataset.samples)


def checkpoints_of(run: Path) -> Iterator[tuple[str, Entry]]:
    """The checkpoints a run has kept, as adapters, oldest first. They are written out when first asked for."""
    from pipelines.checkpoints import adapters

    entry = of_run(run)
    for step, path in adapters(run):
        yield say("checkpoint", step=step), replace(entry, path=path)
