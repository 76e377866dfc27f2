"""Samples: what an upload becomes. `import_dataset` copies it into a folder, `read_dataset` reads that folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..errors import ProblemsError
from ..files import write_bytes, write_text
from .boxes import BoxReader, Seen
from .captions import CaptionBook, with_trigger, words_of_name
from .looks import is_look, look_of
from .pictures import content_id, open_picture, picture_format
from .plain import clean, some
from .regions import Region, read_regions
from .sources import ImportLimits, Named, Sort, open_sources, plain_name

if TYPE_CHECKING:
    from PIL.Image import Image

METADATA = "metadata.jsonl"
REPORT = "import.json"
DEFAULT_LIMITS = ImportLimits()
_SHOWN_PROBLEMS = 20
_FILE_NAME = re.compile(r"([0-9a-f]{16})\.(png|jpg|webp)")


class Learned(Protocol):
    """What a sample of any kind has; `learned` is what is learned from, in plain JSON types."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def learned(self) -> list[Any]: ...


Kind = TypeVar("Kind", bound=Learned)


@dataclass(frozen=True)
class Sample:
    """A picture and its caption. `id` depends on the file's bytes only; `name` is what the person called it;
    `width` and `height` are in pixels, upright; `look` is what `looks.twins` compares ("" when not known)."""

    id: str
    name: str
    path: Path
    caption: str
    width: int
    height: int
    regions: tuple[Region, ...] = ()
    look: str = ""

    def open(self) -> Image:
        """The picture, upright, mode RGB. Raises ProblemsError when the file has gone bad since it was imported."""
        return open_picture(self.path, self.name)

    @property
    def learned(self) -> list[Any]:
        return [self.id, self.caption, *([[region.to_dict() for region in self.regions]] if self.regions else [])]


@dataclass(frozen=True)
class Dataset(Generic[Kind]):
    """Samples in a fixed order (name, then id), and sentences: `rejected` for each file left out, `notes` for what
    else a person would want to know."""

    samples: tuple[Kind, ...]
    rejected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what is learned from, sorted: the same samples in any order give the same text."""
        told = sorted(sample.learned for sample in self.samples)
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def import_dataset(
    sources: Sequence[Path | Named], into: Path, *, limits: ImportLimits = DEFAULT_LIMITS
) -> Dataset[Sample]:
    """Copy the pictures and captions of folders, zip files and single files (any mix) into the folder `into`.

    Pictures are decoded once to prove them, and stored byte for byte as `<id>.<ext>`, with `metadata.jsonl` written
    last. Captions are the pictures' own, without fallbacks. No picture at all is not an error here: the sentences say
    why. Raises ProblemsError when a source does not exist or `into` cannot be written.
    """
    return import_more(sources, into, (), limits=limits)[0]


def import_more(
    sources: Sequence[Path | Named],
    into: Path,
    earlier: Sequence[Sample],
    *,
    limits: ImportLimits = DEFAULT_LIMITS,
) -> tuple[Dataset[Sample], dict[str, Sample]]:
    """As `import_dataset`; captions and boxes that meet no picture of their own source go to the pictures `earlier`
    that are called like them, and come back by the ids of those."""
    dataset, told = gather(sources, into, earlier, limits)
    write_dataset(into, dataset)
    return dataset, told


def gather(
    sources: Sequence[Path | Named],
    into: Path,
    earlier: Sequence[Sample],
    limits: ImportLimits,
    sort: Sort | None = None,
) -> tuple[Dataset[Sample], dict[str, Sample]]:
    """What `import_more` does before it writes the table. `sort` is that of `open_sources`."""
    rejected: list[str] = []
    notes: list[str] = []
    found: dict[str, Sample] = {}
    told: dict[str, Sample] = {}
    boxes = BoxReader()
    called: dict[str, list[Sample]] = {}
    for sample in earlier:
        called.setdefault(sample.name, []).append(sample)
    for source in open_sources(sources, into, limits, rejected, sort):
        book = CaptionBook(limits, rejected, notes)
        book.read(source)
        for entry in source.pictures:
            words = book.find(entry)
            try:
                data = entry.read(limits.picture_bytes)
                picture = open_picture(data, entry.name)
            except ProblemsError as error:
                rejected.extend(error.problems)
                continue
            sample = Sample(content_id(data), words.name or entry.name, into, words.caption, *picture.size)
            regions = boxes.regions(words.marked, Seen(sample.name, picture.size, data))
            _keep(replace(sample, regions=regions, look=look_of(picture)), data, found, notes)
        for name, words in book.find_earlier(list(called)).items():
            for sample in called[name]:
                regions = boxes.regions(words.marked, Seen(name, (sample.width, sample.height), sample.path))
                told.setdefault(sample.id, replace(sample, caption=words.caption, regions=regions))
        book.finish()
    rejected += boxes.rejected
    notes += boxes.notes
    return Dataset(_ordered(found), tuple(rejected), tuple(notes)), told


def write_dataset(folder: Path, dataset: Dataset[Sample]) -> None:
    """Write the table and the report of a folder whose pictures are there. Raises ProblemsError."""
    write_report(folder, dataset)
    if dataset.samples:
        write_text(folder / METADATA, "".join(_to_line(sample) for sample in dataset.samples))
    else:
        # Nobody shall find the samples of an earlier import here and think them the ones just given.
        (folder / METADATA).unlink(missing_ok=True)


def write_report(folder: Path, dataset: Dataset[Any]) -> None:
    """Write what an import had to say."""
    report = {"rejected": dataset.rejected, "notes": dataset.notes}
    write_text(folder / REPORT, json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def stored_dataset(folder: Path) -> Dataset[Sample]:
    """What lies in a folder that `write_dataset` wrote, captions without fallbacks; it may have no sample.

    Raises ProblemsError when the folder is not of that kind.
    """
    rejected, notes = read_report(folder)
    found: dict[str, Sample] = {}
    for number, line in enumerate(_read_lines(folder), 1):
        sample = _from_line(line, folder)
        if sample is None:
            rejected.append(f"{METADATA}, line {number} names no picture of this data set: import the pictures again")
        else:
            found.setdefault(sample.id, sample)
    return Dataset(_ordered(found), tuple(rejected), tuple(notes))


def trained_caption(sample: Sample, caption: str, trigger_word: str, captions_from_names: bool) -> str:
    """What a sample is trained on: its own caption, else the common one, else the words of its file name; led by the
    trigger word."""
    own = clean(sample.caption) or clean(caption) or (words_of_name(sample.name) if captions_from_names else "")
    return with_trigger(own, trigger_word)


def read_dataset(
    folder: Path, *, caption: str = "", trigger_word: str = "", captions_from_names: bool = True
) -> Dataset[Sample]:
    """The samples of a folder that `import_dataset` made, each with the caption it will be trained on.

    A sample's own caption comes before the common `caption`, and that before the words of its file name; then the
    trigger word is put in front. `rejected` and `notes` begin with those of the import. Raises ProblemsError, with
    the reasons, when no sample is left.
    """
    stored = stored_dataset(folder)
    if not stored.samples:
        raise ProblemsError(_nothing_left(stored.rejected))
    rule = (caption, trigger_word, captions_from_names)
    samples = [replace(sample, caption=trained_caption(sample, *rule)) for sample in stored.samples]
    notes = list(stored.notes)
    silent = [sample.name for sample in samples if not sample.caption]
    if silent:
        notes.append(
            f"{len(silent)} of {len(samples)} pictures have no caption ({some(silent)}): "
            "describe them, or give one caption for all"
        )
    if len(samples) == 1:
        notes.append("There is only 1 picture: an adapter learns better from 10 or more")
    return Dataset(tuple(samples), stored.rejected, tuple(notes))


def _keep(sample: Sample, data: bytes, found: dict[str, Sample], notes: list[str]) -> None:
    """Store a picture (`sample.path` is the folder to store it in), or note that it is there already."""
    first = found.get(sample.id)
    if first is None:
        path = sample.path / f"{sample.id}.{picture_format(data)}"
        write_bytes(path, data)
        found[sample.id] = replace(sample, path=path)
        return
    sentence = f"{sample.name} is the same picture as {first.name}: it is used once"
    caption, regions = first.caption or sample.caption, first.regions or sample.regions
    found[sample.id] = replace(first, caption=caption, regions=regions)
    if sample.caption and sample.caption != caption:
        sentence += f", with the caption of {first.name}"
    notes.append(sentence)


def _ordered(found: dict[str, Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(found.values(), key=lambda sample: (sample.name, sample.id)))


def _nothing_left(rejected: Sequence[str]) -> list[str]:
    if not rejected:
        return ["No picture was found: add PNG, JPEG or WebP pictures"]
    files = "1 file was left out" if len(rejected) == 1 else f"{len(rejected)} files were left out"
    more = len(rejected) - _SHOWN_PROBLEMS
    problems = [f"No picture can be used, {files}: add PNG, JPEG or WebP pictures", *rejected[:_SHOWN_PROBLEMS]]
    return [*problems, f"{more} more files were left out"] if more > 0 else problems


def _to_line(sample: Sample) -> str:
    values: dict[str, Any] = {
        "file_name": sample.path.name,
        "caption": sample.caption,
        "name": sample.name,
        "width": sample.width,
        "height": sample.height,
        "look": sample.look,
    }
    if sample.regions:
        values["regions"] = [region.to_dict() for region in sample.regions]
    return json.dumps(values, ensure_ascii=False) + "\n"


def _from_line(line: str, folder: Path) -> Sample | None:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    file_name, caption, name = values.get("file_name"), values.get("caption", ""), values.get("name", "")
    # The pattern also keeps a forged line from naming a file outside the folder.
    match = _FILE_NAME.fullmatch(file_name) if isinstance(file_name, str) else None
    width, height = values.get("width"), values.get("height")
    if type(width) is not int or type(height) is not int or min(width, height) < 1:
        return None
    if not match or not isinstance(caption, str) or not isinstance(name, str):
        return None
    path = folder / match.group(0)
    if not path.is_file():
        return None
    try:
        regions = read_regions(values.get("regions", ()), "its regions")
    except ProblemsError:
        return None
    look = values["look"] if is_look(values.get("look")) else ""
    name = plain_name(name) if name else match.group(0)
    return Sample(match.group(1), name, path, caption, width, height, regions, look)


def _read_lines(folder: Path) -> list[str]:
    try:
        return [line for line in (folder / METADATA).read_text(encoding="utf-8").split("\n") if line.strip()]
    except FileNotFoundError:
        if (folder / REPORT).exists():
            return []
        raise ProblemsError(f"{folder.name} has no {METADATA}: import the pictures first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemsError(f"{METADATA} in {folder.name} cannot be read: import the pictures again") from error


def read_report(folder: Path) -> tuple[list[str], list[str]]:
    """The sentences of the import; none when the file is missing or not ours."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        return [str(item) for item in report["rejected"]], [str(item) for item in report["notes"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return [], []
