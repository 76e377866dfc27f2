"""From a run's samples to encoded tensors and batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LeftOut, ProblemsError
from ..randomness import Randomness
from .batches import Row, plan, split_validation
from .cache import EncodeCache
from .plain import some
from .readers import READERS, Cached, EncodedSample
from .samples import Dataset

if TYPE_CHECKING:
    from torch import Tensor

    from ..bases import Base
    from ..config import RunConfig, TrainConfig
    from ..family import Family, Parts


@dataclass(frozen=True)
class Encoded:
    """All samples of a run, split into training and validation. `rows` are what batches are made of, by default the
    training samples themselves, and `weights` say how much each row counts."""

    train: tuple[EncodedSample, ...]
    validation: tuple[EncodedSample, ...]
    rows: tuple[EncodedSample, ...]
    weights: tuple[float, ...]
    rejected: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str

    def batch(
        self, train: TrainConfig, micro_step: int, process: int, processes: int
    ) -> tuple[tuple[str, ...], dict[str, Tensor]]:
        """Row ids and stacked tensors of one process's share of a batch, a pure function of (seed, micro step)."""
        import torch

        rows = self._plan(train, micro_step)[process::processes]
        ids = tuple(f"{self.rows[index].id}#{occurrence}" for index, occurrence in rows)
        flips = Randomness(train.seed, micro_step, ids).uniform("flip") < 0.5
        chosen = []
        for (index, _), flipped in zip(rows, flips, strict=True):
            sample = self.rows[index]
            chosen.append(sample.mirrored if flipped and sample.mirrored is not None else sample.tensors)
        return ids, {name: torch.stack([tensors[name] for tensors in chosen]) for name in chosen[0]}

    def share(self, train: TrainConfig, micro_step: int, process: int, processes: int) -> float:
        """How much the loss of that share counts in the mean over the whole optimizer step, of which the processes'
        mean is taken."""
        first = micro_step - micro_step % train.accumulation
        steps = [self._plan(train, first + i) for i in range(train.accumulation)]
        own = steps[micro_step - first][process::processes]
        return processes * self._weigh(own) / sum(map(self._weigh, steps))

    def _plan(self, train: TrainConfig, micro_step: int) -> list[Row]:
        return plan(self._sizes, train.batch_size, train.seed, micro_step)

    @cached_property
    def _sizes(self) -> tuple[tuple[int, int], ...]:
        return tuple(row.size for row in self.rows)

    def _weigh(self, rows: list[Row]) -> float:
        return sum(self.weights[index] for index, _ in rows)


def encode_dataset(family: Family, parts: Parts, base: Base, config: RunConfig, folders: tuple[Path, Path]) -> Encoded:
    """Import the samples into the run folder if they are not there yet, and encode all of them (cached).

    `folders` are the run folder and the cache. Raises ProblemsError when no sample can be used.
    """
    run_dir, cache_dir = folders
    dataset = _dataset(family, config, run_dir / "dataset")
    encoded, unused = _encode(family, parts, config, dataset, _cached(cache_dir, family.cache_key(base)))
    rejected = (*dataset.rejected, *unused)
    if not encoded:
        raise ProblemsError(["No sample can be used", *rejected])
    ids = [sample.id for sample in encoded]
    train, validation = split_validation(ids, config.data.validation_percent, config.train.seed)
    learned = tuple(encoded[i] for i in train)
    rows, told = family.arrange(parts, learned, config.train.batch_size)
    return Encoded(
        train=learned,
        validation=tuple(encoded[i] for i in validation),
        rows=tuple(rows),
        weights=tuple(family.weight(row.tensors) for row in rows),
        rejected=rejected,
        notes=(*dataset.notes, *told),
        fingerprint=dataset.fingerprint,
    )


def _dataset(family: Family, config: RunConfig, folder: Path) -> Dataset:
    """The samples of a run, imported if they are not there yet."""
    reader = READERS[family.reads]
    fresh = not reader.there(folder)
    if fresh:
        source = Path(config.data.path).expanduser()
        if not source.exists():
            raise ProblemsError(f"data.path is {config.data.path!r}, which does not exist; name {reader.wanted}")
        reader.bring([source], folder)
    try:
        return reader.read(folder, config.data)
    except ProblemsError:
        if fresh:
            # Started again with better samples in data.path, the run must look there again.
            for table in reader.tables:
                (folder / table).unlink(missing_ok=True)
        raise


def _encode(
    family: Family, parts: Parts, config: RunConfig, dataset: Dataset, cached: Cached
) -> tuple[list[EncodedSample], list[str]]:
    """The samples that something can be learned from, and a sentence for each reason why others are left out."""
    found: list[EncodedSample] = []
    unused: dict[str, list[str]] = {}
    for sample in dataset.samples:
        try:
            found.append(READERS[family.reads].encode(family, parts, sample, config, cached))
        except LeftOut as reason:
            unused.setdefault(str(reason), []).append(sample.name)
    count = len(dataset.samples)
    return found, [f"{len(names)} of {count} are left out ({some(names)}): {why}" for why, names in unused.items()]


def _cached(folder: Path, base_key: str) -> Cached:
    cache = EncodeCache(folder)
    return lambda key, make: cache.get((base_key, *key), make) if base_key else make()
