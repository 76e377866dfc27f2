"""Which samples stand in which batch: a pure function of (seed, micro step), so there is no state to save."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..randomness import derive, shuffled

Row = tuple[int, int]


def plan(sizes: Sequence[tuple[int, int]], batch_size: int, seed: int, micro_step: int) -> list[Row]:
    """The batch of a micro step: `batch_size` rows (sample index, occurrence), all of one bucket.

    `sizes` holds the bucket of each sample. An epoch holds every sample at least once, in an order of its own; a
    bucket that does not fill its last batch begins again from its first sample. `occurrence` counts how often the
    sample stands in this batch already (0 first). Raises ValueError without samples or with a batch size below 1.
    """
    if not sizes or batch_size < 1:
        raise ValueError(f"got {len(sizes)} samples and batch size {batch_size}, expected at least 1 of each")
    samples = tuple(sizes)
    epoch, batch = divmod(micro_step, batches_per_epoch(samples, batch_size))
    return list(_epoch(samples, batch_size, seed, epoch)[batch])


def batches_per_epoch(sizes: Sequence[tuple[int, int]], batch_size: int) -> int:
    """How many micro steps it takes until every sample was seen."""
    return sum(-(-len(members) // batch_size) for _, members in _buckets(tuple(sizes)))


def split_validation(ids: Sequence[str], percent: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the samples to train on, and of those held out: about `percent` of them, chosen by the hash of
    their id, so that a sample stays where it is when others come or go.

    Of two samples or more at least one is held out (when `percent` > 0) and at least one is trained on.
    """
    everything = list(range(len(ids)))
    if percent <= 0 or len(ids) < 2:
        return everything, []
    luck = [derive("validation", seed, name) for name in ids]
    held = [index for index in everything if luck[index] < percent / 100 * 2**63]
    if not held:
        held = [min(everything, key=lambda index: luck[index])]
    elif len(held) == len(ids):
        held.remove(max(everything, key=lambda index: luck[index]))
    out = set(held)
    return [index for index in everything if index not in out], held


@lru_cache(maxsize=8)
def _buckets(sizes: tuple[tuple[int, int], ...]) -> tuple[tuple[tuple[int, int], tuple[int, ...]], ...]:
    members: dict[tuple[int, int], list[int]] = {}
    for index, size in enumerate(sizes):
        members.setdefault(size, []).append(index)
    return tuple((size, tuple(members[size])) for size in sorted(members))


@lru_cache(maxsize=8)
def _epoch(sizes: tuple[tuple[int, int], ...], batch_size: int, seed: int, epoch: int) -> tuple[tuple[Row, ...], ...]:
    batches = []
    for size, members in _buckets(sizes):
        order = shuffled(list(members), seed, "samples", epoch, size)
        for start in range(0, len(order), batch_size):
            batches.append(_rows([order[(start + offset) % len(order)] for offset in range(batch_size)]))
    turns = shuffled(list(range(len(batches))), seed, "batches", epoch)
    return tuple(batches[turn] for turn in turns)


def _rows(indices: list[int]) -> tuple[Row, ...]:
    seen: dict[int, int] = {}
    rows = []
    for index in indices:
        rows.append((index, seen.get(index, 0)))
        seen[index] = seen.get(index, 0) + 1
    return tuple(rows)
