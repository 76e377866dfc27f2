"""A visitor's pictures as their editor changes them: every edit with its version, nothing lost."""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pipelines.bases import find_base
from pipelines.config import RunConfig
from pipelines.data.bundle import write_bundle
from pipelines.data.looks import twins
from pipelines.data.pictures import open_picture
from pipelines.data.plain import MAX_CAPTION, clean
from pipelines.data.regions import read_regions
from pipelines.data.samples import Dataset, Sample, gather, stored_dataset, write_dataset
from pipelines.data.sources import Named
from pipelines.data.states import PictureState, picture_states
from pipelines.errors import ProblemsError, shown
from pipelines.files import write_bytes
from pipelines.registry import create

from .desk import Desk, State, ids_of, list_of
from .text import say
from .workspace import new_token

# Of the small copies that the page shows: in the list, and close up.
SIDES = (256, 1280)
_PICTURE = re.compile(r"[0-9a-f]{16}")
# A picture of 40 megapixels takes 120 MB while it is decoded.
_decoding = threading.BoundedSemaphore(4)


class PictureDesk(Desk):
    """Pictures with captions and regions. A picture is known by its content (`id`)."""

    state_file: ClassVar[str] = "state.json"
    need: ClassVar[str] = "need_pictures"

    def samples(self) -> tuple[Sample, ...]:
        """The pictures as they are now, captions without fallbacks."""
        return self._dataset().samples

    @property
    def empty(self) -> bool:
        """Whether there is no picture."""
        return not self._dataset().samples

    def open(self) -> dict[str, Any]:
        """Everything the editor shows. What was taken out before is gone now: nothing is left to undo it with."""
        with self.alone():
            shutil.rmtree(self.removed, ignore_errors=True)
            return self._show(self._dataset())

    def show(self) -> dict[str, Any]:
        """As `open`, with what can still be undone."""
        with self.alone():
            return self._show(self._dataset())

    def add(self, sources: Sequence[Path | Named], replace: bool = False, example: bool = False) -> dict[str, Any]:
        """Add pictures and captions. Captions that are there stay, unless `replace`; example pictures that nobody has
        touched make way for others. Raises ProblemsError when nothing of it can be used."""
        with self.incoming(sources) as (folder, limits):
            dataset, told = gather(sources, folder, self.samples(), limits)
            if not dataset.samples and not told:
                raise ProblemsError(dataset.rejected or dataset.notes or say("no_picture_found"))
            with self.alone():
                return self._merge(dataset, told, replace, example)

    def save(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make changes that came from a browser: `edits` [{id, caption?, regions?}], ids to `remove` and to `restore`.

        What is refused comes back under `refused`, {id: sentences}; everything else is made.
        """
        edits = list_of(request, "edits")
        remove, restore = ids_of(request, "remove"), ids_of(request, "restore")
        with self.alone():
            dataset = self._dataset()
            version = self.state.version
            found = {sample.id: sample for sample in dataset.samples}
            refused = self._restore(restore, found)
            for edit in edits:
                name = edit.get("id") if isinstance(edit, dict) else None
                try:
                    if not isinstance(name, str) or name not in found:
                        raise ProblemsError(say("picture_gone"))
                    found[name] = _edited(found[name], edit)
                except ProblemsError as error:
                    refused[name if isinstance(name, str) else shown(name)] = list(error.problems)
            self._take_out([found.pop(name) for name in dict.fromkeys(remove) if name in found])
            self._write(dataclasses.replace(dataset, samples=_ordered(found)), example=False)
            answer: dict[str, Any] = {"version": version + 1, "refused": refused}
            if restore or remove or request.get("version") != version:
                answer |= self._show(self._dataset())
            return answer

    def states(self, settings: Any, family: str) -> list[PictureState]:
        """What a run with these settings (base and data) would do with each picture. Raises ProblemsError."""
        settings = settings if isinstance(settings, Mapping) else {}
        data = settings.get("data")
        data = {**data, "path": "dataset"} if isinstance(data, Mapping) else data
        config = RunConfig.from_dict({"family": family, "base": settings.get("base"), "data": data}).validate()
        try:
            multiple = create(family).multiple(find_base(config.base))
        except ProblemsError:
            multiple = None
        return picture_states(self._dataset().samples, config.data, multiple)

    def thumbnail(self, name: str, side: int) -> Path | None:
        """A small upright copy of a picture, made once; None for anything that is no picture of this dataset."""
        if not _PICTURE.fullmatch(name) or side not in SIDES:
            return None
        small = self.aside / "small" / f"{name}-{side}.webp"
        if not small.exists():
            found = next(self.folder.glob(f"{name}.*"), None)
            if found is None:
                return None
            with _decoding:
                picture = open_picture(found)
            picture.thumbnail((side, side))
            data = io.BytesIO()
            picture.save(data, "WEBP", quality=90)
            write_bytes(small, data.getvalue())
        return small

    def bundle(self, form: str) -> Path:
        """A zip file of the dataset in one of the forms of `write_bundle`; whoever takes it deletes it."""
        target = self.aside / f"bundle-{new_token()}.zip"
        with self.alone():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_bundle(self._dataset().samples, target, form)
        return target

    def _dataset(self) -> Dataset:
        return stored_dataset(self.folder) if (self.folder / "import.json").exists() else Dataset(())

    def _write(self, dataset: Dataset, example: bool) -> None:
        self.make_folders()
        write_dataset(self.folder, dataset)
        self.note(State(self.state.version + 1, example))

    def _show(self, dataset: Dataset) -> dict[str, Any]:
        alike = twins({sample.id: sample.look for sample in dataset.samples})
        return {
            "version": self.state.version,
            "pictures": [
                {
                    "id": sample.id,
                    "name": sample.name,
                    "caption": sample.caption,
                    "regions": [region.to_dict() for region in sample.regions],
                    "width": sample.width,
                    "height": sample.height,
                    "twin": alike.get(sample.id, ""),
                }
                for sample in dataset.samples
            ],
            "rejected": list(dataset.rejected),
            "notes": list(dataset.notes),
        }

    def _merge(self, new: Dataset, told: Mapping[str, Sample], replace: bool, example: bool) -> dict[str, Any]:
        before = self._dataset()
        found = {sample.id: sample for sample in before.samples}
        here = {sample.id for sample in new.samples}
        gone = [name for name in found if here and not example and self.state.example and name not in here]
        come = [sample.id for sample in new.samples if sample.id not in found]
        count, most = len(found) - len(gone) + len(come), self.visitor.limits.pictures
        if count > most:
            raise ProblemsError(say("too_many_pictures", count=count, limit=most))
        self._take_out([found.pop(name) for name in gone])
        given = {name: sample for name, sample in told.items() if name in found}
        given |= {sample.id: sample for sample in new.samples if sample.id in found}
        changes, kept = _take_over(found, given, replace)
        for sample in new.samples:
            if sample.id in come:
                target = self.folder / sample.path.name
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sample.path.replace(target)
                found[sample.id] = dataclasses.replace(sample, path=target)
        notes = [*new.notes]
        if gone:
            notes.append(say("example_made_way"))
        for what in ("caption", "regions"):
            if taken := sum(what in change for change in changes.values()):
                notes.append(say(f"{what}_taken", count=taken))
            if kept[what]:
                notes.append(say(f"{what}_kept", count=kept[what]))
        dataset = Dataset(_ordered(found), new.rejected, tuple(notes))
        self._write(dataset, example=example and not before.samples)
        return {**self._show(dataset), "come": come, "gone": gone, "changes": changes}

    def _take_out(self, samples: Sequence[Sample]) -> None:
        if not samples:
            return
        self.removed.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = {sample.id: sample for sample in self._taken_out()}
        for sample in samples:
            kept[sample.id] = dataclasses.replace(sample, path=self.removed / sample.path.name)
            sample.path.replace(self.removed / sample.path.name)
        write_dataset(self.removed, Dataset(_ordered(kept)))

    def _taken_out(self) -> tuple[Sample, ...]:
        return stored_dataset(self.removed).samples if (self.removed / "import.json").exists() else ()

    def _restore(self, names: Sequence[str], found: dict[str, Sample]) -> dict[str, list[str]]:
        """Put pictures that were taken out back into `found`; those that are gone for good are refused."""
        kept = {sample.id: sample for sample in self._taken_out()} if names else {}
        refused: dict[str, list[str]] = {}
        for name in names:
            if name in found:
                continue
            if name in kept:
                target = self.folder / kept[name].path.name
                kept[name].path.replace(target)
                found[name] = dataclasses.replace(kept[name], path=target)
            else:
                refused[name] = [say("picture_gone")]
        return refused


def _edited(sample: Sample, edit: Mapping[str, Any]) -> Sample:
    if "caption" in edit:
        caption = edit["caption"]
        if not isinstance(caption, str):
            raise ProblemsError(say("caption_not_text", name=sample.name, value=shown(caption)))
        if len(caption) > MAX_CAPTION:
            raise ProblemsError(say("caption_too_long", name=sample.name, count=len(caption), most=MAX_CAPTION))
        sample = dataclasses.replace(sample, caption=clean(caption))
    if "regions" in edit:
        sample = dataclasses.replace(sample, regions=read_regions(edit["regions"], f"the regions of {sample.name}"))
    return sample


def _take_over(
    found: dict[str, Sample], given: Mapping[str, Sample], replace: bool
) -> tuple[dict[str, dict[str, list[Any]]], Counter[str]]:
    """Give pictures that are there the captions and regions that came for them. Returns what changed, as
    {id: {field: [before, after]}}, and how many pictures kept what they had, by field."""
    changes: dict[str, dict[str, list[Any]]] = {}
    kept: Counter[str] = Counter()
    for name, new in given.items():
        for what in ("caption", "regions"):
            before, after = getattr(found[name], what), getattr(new, what)
            if not after or after == before:
                continue
            if before and not replace:
                kept[what] += 1
                continue
            found[name] = dataclasses.replace(found[name], **{what: after})
            plain = [[region.to_dict() for region in side] if what == "regions" else side for side in (before, after)]
            changes.setdefault(name, {})[what] = plain
    return changes, kept


def _ordered(found: Mapping[str, Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(found.values(), key=lambda sample: (sample.name, sample.id)))
