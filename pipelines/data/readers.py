"""How samples of each kind are brought into a run's folder, read there and encoded; a family names its kind by
`Family.reads`."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..files import write_text
from . import dialogues, picture_dialogues, samples
from .buckets import bucket_for, crop_box, fit, move_regions, to_tensor
from .dialogues import Dialogue, Turn
from .pictures import open_picture
from .regions import Region
from .samples import Dataset, Sample
from .sources import PICTURES, ImportLimits, Named

if TYPE_CHECKING:
    from torch import Tensor

    from ..config import DataConfig, RunConfig
    from ..family import Family, Parts

# Gives the tensors of a key from the cache, or makes them.
Cached = Callable[[tuple[object, ...], Callable[[], "dict[str, Tensor]"]], "dict[str, Tensor]"]


@dataclass(frozen=True)
class EncodedSample:
    """A sample as the loss will get it, and its regions where they are then; `mirrored` is there when the run flips
    pictures. Samples of the same `size` may stand in a batch together; `caption` is what a preview of it is asked,
    and `picture` what is shown with the question."""

    id: str
    caption: str
    size: tuple[int, int]
    tensors: dict[str, Tensor]
    mirrored: dict[str, Tensor] | None = None
    regions: tuple[Region, ...] = ()
    picture: Path | None = None


class Reader(ABC):
    """Samples of one kind. `tables` are the files of a dataset folder that list them; an import writes them last."""

    tables: ClassVar[tuple[str, ...]]
    wanted: ClassVar[str]

    def there(self, folder: Path) -> bool:
        """Whether samples were imported into this folder, and all of them."""
        return any((folder / table).exists() for table in self.tables)

    @abstractmethod
    def bring(self, sources: Sequence[Path | Named], into: Path, room: int = ImportLimits.total_bytes) -> Dataset[Any]:
        """Import what a person named into a folder, of each source at most `room` bytes."""

    @abstractmethod
    def read(self, folder: Path, data: DataConfig) -> Dataset[Any]:
        """The samples of that folder as they are trained on. Raises ProblemsError when there is none."""

    @abstractmethod
    def encode(self, family: Family, parts: Parts, sample: Any, config: RunConfig, cached: Cached) -> EncodedSample:
        """One sample, encoded by the family. Raises LeftOut."""

    @abstractmethod
    def stand_in(self, parts: Parts, config: RunConfig) -> Any:
        """An item as large as those of a run, on the meta device: to count memory with."""

    @abstractmethod
    def few(self, folder: Path, into: Path, count: int) -> None:
        """Copy a few samples of a dataset folder that stand for all of them."""


class _Pictures(Reader):
    tables: ClassVar[tuple[str, ...]] = (samples.METADATA,)
    wanted: ClassVar[str] = "a folder, zip file or picture"

    def bring(
        self, sources: Sequence[Path | Named], into: Path, room: int = ImportLimits.total_bytes
    ) -> Dataset[Sample]:
        return samples.import_dataset(sources, into, limits=replace(samples.DEFAULT_LIMITS, total_bytes=room))

    def read(self, folder: Path, data: DataConfig) -> Dataset[Sample]:
        return samples.read_dataset(
            folder, caption=data.caption, trigger_word=data.trigger_word, captions_from_names=data.captions_from_names
        )

    def encode(self, family: Family, parts: Parts, sample: Sample, config: RunConfig, cached: Cached) -> EncodedSample:
        from ..family import Item

        multiple, data = parts.rest["multiple"], config.data
        size = bucket_for(sample.width, sample.height, data.resolution, multiple, data.buckets)

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

        def get(flip: bool) -> dict[str, Tensor]:
            return cached((sample.id, sample.caption, size, flip, *regions(flip)), lambda: make(flip))

        mirrored = get(True) if data.flip else None
        return EncodedSample(sample.id, sample.caption, size, get(False), mirrored, regions(False))

    def stand_in(self, parts: Parts, config: RunConfig) -> Any:
        import torch

        from ..family import Item

        side = config.data.resolution
        width, height = bucket_for(side, side, side, parts.rest["multiple"], config.data.buckets)
        return Item("sample", "a caption", torch.empty(3, height, width, device="meta"), (height, width))

    def few(self, folder: Path, into: Path, count: int) -> None:
        """Evenly spread over the dataset: of several shapes, if there are several."""
        lines = _lines(folder / samples.METADATA)
        chosen = lines[:: max(1, len(lines) // count)][:count]
        into.mkdir()
        for line in chosen:
            name = Path(json.loads(line)["file_name"]).name
            shutil.copyfile(folder / name, into / name)
        write_text(into / samples.METADATA, "".join(line + "\n" for line in chosen))


class _Dialogues(Reader):
    tables: ClassVar[tuple[str, ...]] = (dialogues.TABLE,)
    wanted: ClassVar[str] = "a JSON, JSONL or CSV file, or a folder or zip file of those"

    def bring(
        self, sources: Sequence[Path | Named], into: Path, room: int = ImportLimits.total_bytes
    ) -> Dataset[Dialogue]:
        return dialogues.import_dialogues(sources, into, limits=replace(dialogues.LIMITS, total_bytes=room))

    def read(self, folder: Path, data: DataConfig) -> Dataset[Dialogue]:
        return dialogues.read_dialogues(folder)

    def encode(
        self, family: Family, parts: Parts, sample: Dialogue, config: RunConfig, cached: Cached
    ) -> EncodedSample:
        from ..family import DialogueItem

        tensors = cached((sample.id,), lambda: family.encode(parts, DialogueItem(sample.id, sample.turns)))
        return EncodedSample(sample.id, sample.question, (0, 0), tensors)

    def stand_in(self, parts: Parts, config: RunConfig) -> Any:
        from ..family import DialogueItem

        # Longer than any row may be: the family cuts it to its longest.
        answer = "word " * (parts.rest["length"] + 1)
        return DialogueItem("sample", (Turn("user", "a question"), Turn("assistant", answer)))

    def few(self, folder: Path, into: Path, count: int) -> None:
        """The longest, whose steps take most."""
        into.mkdir()
        lines = sorted(_lines(folder / dialogues.TABLE), key=len, reverse=True)
        write_text(into / dialogues.TABLE, "".join(line + "\n" for line in lines[:count]))


class _PictureDialogues(_Dialogues):
    tables: ClassVar[tuple[str, ...]] = (dialogues.TABLE, samples.METADATA)
    wanted: ClassVar[str] = "a folder or zip file of pictures with captions, or with a JSON file of dialogues"

    def there(self, folder: Path) -> bool:
        # Either table may be missing, where there is nothing for it to list.
        listed = (folder / samples.METADATA).exists()
        return listed or (super().there(folder) and not any(path.suffix in PICTURES for path in folder.iterdir()))

    def bring(
        self, sources: Sequence[Path | Named], into: Path, room: int = ImportLimits.total_bytes
    ) -> Dataset[Dialogue]:
        limits = replace(dialogues.LIMITS, total_bytes=room)
        return picture_dialogues.import_picture_dialogues(sources, into, limits=limits)

    def read(self, folder: Path, data: DataConfig) -> Dataset[Dialogue]:
        return picture_dialogues.read_picture_dialogues(folder, data)

    def encode(
        self, family: Family, parts: Parts, sample: Dialogue, config: RunConfig, cached: Cached
    ) -> EncodedSample:
        from PIL import ImageOps

        from ..family import DialogueItem

        def make(flip: bool) -> dict[str, Tensor]:
            pictures = [open_picture(path, sample.name) for path in sample.pictures]
            seen = tuple(map(ImageOps.mirror, pictures) if flip else pictures)
            return family.encode(parts, DialogueItem(sample.id, sample.turns, seen))

        def get(flip: bool) -> dict[str, Tensor]:
            return cached((sample.id, flip), lambda: make(flip))

        picture = sample.pictures[0] if sample.pictures else None
        question = sample.question.replace(dialogues.PICTURE, "").strip()
        mirrored = get(True) if config.data.flip and picture else None
        return EncodedSample(sample.id, question, (0, 0), get(False), mirrored, picture=picture)

    def stand_in(self, parts: Parts, config: RunConfig) -> Any:
        from PIL import Image

        from ..family import DialogueItem

        turns = (Turn("user", f"{dialogues.PICTURE}\na question"), Turn("assistant", "an answer"))
        return DialogueItem("sample", turns, (Image.new("RGB", (256, 256)),))

    def few(self, folder: Path, into: Path, count: int) -> None:
        """Some of the longest dialogues and some pictures, of each as many."""
        super().few(folder, into, count)
        pictures = [json.loads(line)["file_name"] for line in _lines(folder / samples.METADATA)[:count]]
        spoken_of = [name for line in _lines(into / dialogues.TABLE) for name in json.loads(line).get("images", [])]
        for name in {Path(name).name for name in (*pictures, *spoken_of)}:
            shutil.copyfile(folder / name, into / name)
        listed = [line for line in _lines(folder / samples.METADATA) if json.loads(line)["file_name"] in pictures]
        write_text(into / samples.METADATA, "".join(line + "\n" for line in listed))


def _lines(table: Path) -> list[str]:
    if not table.exists():
        return []
    return [line for line in table.read_text(encoding="utf-8").split("\n") if line.strip()]


READERS: dict[str, Reader] = {
    "pictures": _Pictures(),
    "dialogues": _Dialogues(),
    "pictures with dialogues": _PictureDialogues(),
}
