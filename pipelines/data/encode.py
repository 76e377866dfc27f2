"""From a run's samples to encoded tensors and batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProblemsError
from ..randomness import Randomness
from .batches import plan, split_validation
from .buckets import bucket_for, crop_box, fit, move_regions, to_tensor
from .cache import EncodeCache
from .regions import Region
from .samples import METADATA, Sample, import_dataset, read_dataset

if TYPE_CHECKING:
    from torch import Tensor

    from ..bases import Base
    from ..config import RunConfig, TrainConfig
    from ..family import Family, Parts


@dataclass(frozen=True)
class EncodedSample:
    """A sample as the loss will get it, and its regions where they are then; `mirrored` is there when the run flips
    pictures."""

    id: str
    caption: str
    size: tuple[int, int]
    tensors: dict[str, Tensor]
    mirrored: dict[str, Tensor] | None
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class Encoded:
    """All samples of a run, split into training and validation."""

    train: tuple[EncodedSample, ...]
    validation: tuple[EncodedSample, ...]
    rejected: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str

    def batch(
        self, train: TrainConfig, micro_step: int, process: int, processes: int
    ) -> tuple[tuple[str, ...], dict[str, Tensor]]:
        """Row ids and stacked tensors of one process's share of a batch, a pure function of (seed, micro step)."""
        import torch

        sizes = tuple(sample.size for sample in self.train)
        rows = plan(sizes, train.batch_size, train.seed, micro_step)[process::processes]
        ids = tuple(f"{self.train[index].id}#{occurrence}" for index, occurrence in rows)
        flips = Randomness(train.seed, micro_step, ids).uniform("flip") < 0.5
        chosen = []
        for (index, _), flipped in zip(rows, flips, strict=True):
            sample = self.train[index]
            chosen.append(sample.mirrored if flipped and sample.mirrored is not None else sample.tensors)
        return ids, {name: torch.stack([tensors[name] for tensors in chosen]) for name in chosen[0]}


def encode_dataset(family: Family, parts: Parts, base: Base, config: RunConfig, folders: tuple[Path, Path]) -> Encoded:
    """Import the samples into the run folder if they are not there yet, and encode all of them (cached).

    `folders` are the run folder and the cache. Raises ProblemsError when no sample can be used.
    """
    run_dir, cache_dir = folders
    target = run_dir / "dataset"
    fresh = not (target / METADATA).exists()
    if fresh:
        source = Path(config.data.path).expanduser()
        if not source.exists():
            raise ProblemsError(
                f"data.path is {config.data.path!r}, which does not exist; name a folder, zip file or picture"
            )
        import_dataset([source], target)
    data = config.data
    try:
        dataset = read_dataset(
            target, caption=data.caption, trigger_word=data.trigger_word, captions_from_names=data.captions_from_names
        )
    except ProblemsError:
        if fresh:
            # Started again with better pictures in data.path, the run must look there again.
            (target / METADATA).unlink(missing_ok=True)
        raise
    cache = EncodeCache(cache_dir)
    key = family.cache_key(base)
    encoded = [_encode(family, parts, sample, config, (cache, key)) for sample in dataset.samples]
    ids = [sample.id for sample in dataset.samples]
    train, validation = split_validation(ids, config.data.validation_percent, config.train.seed)
    return Encoded(
        tuple(encoded[i] for i in train),
        tuple(encoded[i] for i in validation),
        dataset.rejected,
        dataset.notes,
        dataset.fingerprint,
    )


def _encode(
    family: Family, parts: Parts, sample: Sample, config: RunConfig, cached: tuple[EncodeCache, str]
) -> EncodedSample:
    from ..family import Item

    cache, base_key = cached
    size = bucket_for(sample.width, sample.height, config.data.resolution, parts.rest["multiple"], config.data.buckets)

    def regions(flip: bool) -> tuple[Region, ...]:
        return move_regions(sample.regions, (sample.width, sample.height), size, flip)

    def make(flip: bool) -> dict[str, Tensor]:
        left, top, right, _ = crop_box(sample.width, sample.height, size)
        # XL is told the corner of the crop in pixels of the resized picture.
        scale = size[0] / (right - left)
        corner = (round(top * scale), round(left * scale))
        pixels = to_tensor(fit(sample.open(), size, flip=flip))
        item = Item(sample.id, sample.caption, pixels, (sample.height, sample.width), corner, regions(flip))
        return family.encode(parts, item)

    def get(flip: bool) -> dict[str, Any]:
        return cache.get((base_key, sample.id, sample.caption, size, flip, *regions(flip)), lambda: make(flip))

    mirrored = get(True) if config.data.flip else None
    return EncodedSample(sample.id, sample.caption, size, get(False), mirrored, regions(False))
