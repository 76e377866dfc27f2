"""Dialogues about pictures: from LLaVA's JSON and tables of questions beside the picture files, and from captions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ProblemsError, shown
from ..randomness import derive
from .dialogues import (
    FILES,
    LIMITS,
    PICTURE,
    Dialogue,
    Finder,
    Heap,
    Unread,
    read_row,
    stored_dialogues,
    write_dialogues,
)
from .plain import some
from .samples import Dataset, Sample, gather, stored_dataset, trained_caption, write_dataset
from .sources import CAPTIONS, PICTURES, TABLES, Entry, ImportLimits, Named, Source, open_sources, plain_name

if TYPE_CHECKING:
    from ..config import DataConfig

# How a caption is asked for; which of them, a picture's id decides.
ASKS = (
    "What is in the picture?",
    "Describe the picture.",
    "What does the picture show?",
    "What do you see?",
    "Say what this is.",
)
_STORED = re.compile(r"[0-9a-f]{16}\.(png|jpg|webp)")


def import_picture_dialogues(
    sources: Sequence[Path | Named], into: Path, *, limits: ImportLimits = LIMITS
) -> Dataset[Dialogue]:
    """Read pictures, their captions and the dialogues about them into the folder `into`: dialogues without pictures as
    well. Raises ProblemsError when a source does not exist or `into` cannot be written."""
    pictures, _, found = gather_dialogues(sources, into, (), limits)
    dataset = Dataset(found, pictures.rejected, pictures.notes)
    write_dialogues(into, dataset)
    write_dataset(into, pictures)
    return dataset


def gather_dialogues(
    sources: Sequence[Path | Named], into: Path, earlier: Sequence[Sample], limits: ImportLimits = LIMITS
) -> tuple[Dataset[Sample], dict[str, Sample], tuple[Dialogue, ...]]:
    """As `samples.gather`, with the dialogues as well, which may speak of new pictures and of those that are there
    already. The sentences are about both."""
    pictures, told = gather(sources, into, earlier, limits, _sort_pictures)
    rejected = list(pictures.rejected)
    heap, find = Heap(rejected), by_name([*earlier, *pictures.samples])
    # What is wrong with a source itself was said the first time.
    for source in open_sources(sources, into, limits, [], _sort_dialogues):
        for entry in source.tables:
            heap.add(entry, limits, find)
    pictures = replace(pictures, rejected=tuple(rejected), notes=(*pictures.notes, *heap.notes))
    return pictures, told, tuple(heap.found.values())


def read_picture_dialogues(folder: Path, data: DataConfig) -> Dataset[Dialogue]:
    """The dialogues of such a folder, and one for the caption of each picture that no dialogue speaks of. Raises
    ProblemsError, with the reasons, when there is none."""
    dialogues, pictures = stored_dialogues(folder, in_folder(folder)), stored_dataset(folder)
    spoken_of = {path for dialogue in dialogues.samples for path in dialogue.pictures}
    found, silent = list(dialogues.samples), []
    for sample in pictures.samples:
        caption = trained_caption(sample, data.caption, data.trigger_word, data.captions_from_names)
        if caption and sample.path not in spoken_of:
            found.append(_of_caption(sample, caption))
        elif sample.path not in spoken_of:
            silent.append(sample.name)
    rejected = tuple(dict.fromkeys((*pictures.rejected, *dialogues.rejected)))
    if not found:
        raise ProblemsError(["No dialogue can be used: give pictures with captions, or with questions", *rejected[:20]])
    told = f"{len(silent)} pictures have neither caption nor dialogue ({some(silent)}): nothing is learned from them"
    return Dataset(tuple(found), rejected, (*dialogues.notes, *([told] if silent else [])))


def _of_caption(sample: Sample, caption: str) -> Dialogue:
    ask = ASKS[derive("ask", sample.id) % len(ASKS)]
    row = {"question": f"{PICTURE}\n{ask}", "answer": caption, "image": sample.path.name}
    return read_row(sample.name, row, lambda names: (sample.path,))


def by_name(samples: Sequence[Sample]) -> Finder:
    """Pictures by the name they have in their source, else by the last part of it where only one is called so."""
    whole = {sample.name: sample.path for sample in samples}
    last: dict[str, dict[str, Path]] = {}
    for sample in samples:
        last.setdefault(sample.name.rpartition("/")[2], {})[sample.id] = sample.path

    def find(names: Sequence[str]) -> tuple[Path, ...]:
        found = []
        for name in names:
            plain = plain_name(name)
            alike = [*last.get(plain.rpartition("/")[2], {}).values()]
            if plain not in whole and len(alike) != 1:
                why = f"{len(alike)} pictures are called so" if alike else "which is not there"
                raise Unread(f"names the picture {shown(name)}, {why}")
            found.append(whole.get(plain) or alike[0])
        return tuple(found)

    return find


def in_folder(folder: Path, missing: bool = False) -> Finder:
    """Pictures by the names of their files in a dataset's folder; `missing` ones only if that is said."""

    def find(names: Sequence[str]) -> tuple[Path, ...]:
        # The pattern also keeps a forged line from naming a file outside the folder.
        if not all(_STORED.fullmatch(name) and (missing or (folder / name).is_file()) for name in names):
            raise Unread("names a picture that is not in this data set")
        return tuple(folder / name for name in names)

    return find


def _sort_pictures(source: Source, entry: Entry, rejected: list[str]) -> None:
    if entry.suffix in PICTURES:
        source.pictures.append(entry)
    elif entry.suffix in CAPTIONS:
        source.captions.append(entry)
    elif entry.base in TABLES:
        source.tables.append(entry)
    elif entry.suffix not in FILES:
        rejected.append(f"{entry.name} is no picture, caption or table of dialogues: leave it out")


def _sort_dialogues(source: Source, entry: Entry, rejected: list[str]) -> None:
    if entry.suffix in FILES and entry.base not in TABLES:
        source.tables.append(entry)
