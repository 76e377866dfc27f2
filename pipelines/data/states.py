"""What a training run would do with each picture, told before it starts: size, crop, caption, and what is amiss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import DataConfig
from .buckets import bucket_for, crop_box
from .looks import twins
from .samples import Sample, trained_caption

# A picture enlarged by less than this does not look blurred.
_ENLARGED = 1.1


@dataclass(frozen=True)
class PictureState:
    """`bucket` is the training size and `crop` the part that is kept, as shares of the picture (left, top, right,
    bottom); both None when the base does not say yet which sizes it takes. `twin` is the id of an earlier picture
    that looks the same, or ""."""

    id: str
    caption: str
    bucket: tuple[int, int] | None
    crop: tuple[float, float, float, float] | None
    too_small: bool
    twin: str

    @property
    def problems(self) -> tuple[str, ...]:
        """Those of "too_small", "duplicate" and "no_caption" that hold; none: the picture is ok."""
        told = {"too_small": self.too_small, "duplicate": bool(self.twin), "no_caption": not self.caption}
        return tuple(name for name, holds in told.items() if holds)


def picture_states(samples: Sequence[Sample], data: DataConfig, multiple: int | None) -> list[PictureState]:
    """The state of each sample (captions as stored, see `stored_dataset`) in a run with these settings.

    `multiple` is what both sides of a training picture are a multiple of (`Family.multiple`).
    """
    alike = twins({sample.id: sample.look for sample in samples})
    rule = (data.caption, data.trigger_word, data.captions_from_names)
    found = []
    for sample in samples:
        caption = trained_caption(sample, *rule)
        bucket, crop, small = None, None, False
        width, height = sample.width, sample.height
        if multiple:
            bucket = bucket_for(width, height, data.resolution, multiple, data.buckets)
            left, top, right, bottom = crop_box(width, height, bucket)
            crop = (left / width, top / height, right / width, bottom / height)
            small = bucket[0] > _ENLARGED * (right - left)
        found.append(PictureState(sample.id, caption, bucket, crop, small, alike.get(sample.id, "")))
    return found
