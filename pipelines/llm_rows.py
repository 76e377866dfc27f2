"""Rows of many lengths: dialogues as tokens, packed or padded into batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .llm_parts import IGNORED, LanguageModel

if TYPE_CHECKING:
    from torch import Tensor

    from .data.readers import EncodedSample

# Neighbours in length stand in a batch together unless the longest would be padded by more than this.
_PADDING = 1.125


def notes(language: LanguageModel, template: str, rows: Sequence[Tensor], length: int) -> tuple[str, ...]:
    """What a person should know of dialogues as tokens: how they are told, and how many were cut at `length`."""
    told = []
    if template == "auto" and language.template != "chat":
        told.append("The base has no chat template: dialogues are told as “Human: …” and “Assistant: …”")
    # A dialogue ends with the token that ends its answer, unless that was cut off.
    cut = sum(int(ids[-1]) not in language.ends for ids in rows)
    if cut:
        told.append(f"{cut} of {len(rows)} dialogues have more than {length} tokens and are cut there")
    return tuple(told)


def pack(samples: Sequence[EncodedSample], length: int) -> list[EncodedSample]:
    """Samples put end to end into rows of at most `length` tokens, longest first, each into the fullest row it fits.

    `positions` begin anew with each sample and `segments` number them, so that none reads another; nothing is learned
    at the joints.
    """
    import bisect

    rows: list[list[EncodedSample]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), sorted
    for sample in sorted(samples, key=lambda sample: (-_length(sample), sample.id)):
        place = bisect.bisect_left(room, (_length(sample), -1))
        left, row = room.pop(place) if place < len(room) else (length, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(sample)
        bisect.insort(room, (left - _length(sample), row))
    return [_packed(row) for row in rows]


def _packed(row: Sequence[EncodedSample]) -> EncodedSample:
    import torch

    ids, labels, positions, segments = [], [], [], []
    for number, sample in enumerate(row):
        count = _length(sample)
        ids.append(sample.tensors["ids"])
        labels.append(torch.cat([sample.tensors["labels"].new_tensor([IGNORED]), sample.tensors["labels"][1:]]))
        positions.append(torch.arange(count))
        segments.append(torch.full((count,), number))
    pieces = {"ids": ids, "labels": labels, "positions": positions, "segments": segments}
    return dataclasses.replace(row[0], tensors={name: torch.cat(values) for name, values in pieces.items()})


def buckets(samples: Sequence[EncodedSample], batch_size: int, padding: Mapping[str, int]) -> list[EncodedSample]:
    """Rows padded to a few lengths, each of which at least `batch_size` rows have (where there are so many). `padding`
    is what each tensor is lengthened with."""
    order = sorted(samples, key=lambda sample: (_length(sample), sample.id))
    starts = [0]
    for begin in range(batch_size, len(order) - batch_size + 1, batch_size):
        # A bucket grows by whole batches, so that only the last one has rows that stand in two batches of an epoch.
        if _length(order[begin + batch_size - 1]) > _PADDING * _length(order[starts[-1]]):
            starts.append(begin)
    found = []
    for begin, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        longest = _length(order[stop - 1])
        found += [padded(sample, longest, padding) for sample in order[begin:stop]]
    return found


def padded(sample: EncodedSample, length: int, padding: Mapping[str, int]) -> EncodedSample:
    """A row of this length, and of the bucket that is called by it."""
    from torch.nn.functional import pad

    more = length - _length(sample)
    tensors = {name: pad(value, (0, more), value=padding[name]) for name, value in sample.tensors.items()}
    return dataclasses.replace(sample, size=(length, 1), tensors=tensors)


def _length(sample: EncodedSample) -> int:
    return len(sample.tensors["ids"])
