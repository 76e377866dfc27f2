"""Captions: found beside pictures, cleaned, made from file names, led by a trigger word."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from ..errors import ProblemsError
from .boxes import Marked
from .layouts import Told, read_layouts, read_names, read_yolo, row_boxes, row_caption
from .plain import MAX_CAPTION, clean, some
from .sources import CAPTIONS, PICTURES, YOLO_NAMES, Entry, ImportLimits, Source, plain_name

_CAMERA = re.compile(r"(?i)(?=.*\d)([a-z]{1,5}\d{3,}|[0-9a-f]{4,}|u\+?[0-9a-f]{4,}|\d+x\d+|wa\d+|v\d+)")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Words that programs and cameras put into names; a name of nothing else says nothing about the picture.
_NAMELESS = re.compile(
    r"(?i)img|imag|images?|dsc[fn]?|dcim|pxl|mvimg|gopr|dji|cimg|pict|photos?|pictures?|pics?|screenshot|screen|shot"
    r"|scan|whatsapp|untitled|unnamed|downloads?|file|frame|copy|edited|sample|at|pm|am|output|test|te?mp|new|final"
)


@dataclass(frozen=True)
class Found:
    """What was said about one picture: its own caption ("" if none), its boxes, and, if a table says, the name it had
    before."""

    caption: str = ""
    name: str = ""
    marked: Marked | None = None

    def beside(self, other: Found) -> Found:
        """This, with what only the other knows."""
        return Found(self.caption or other.caption, self.name or other.name, self.marked or other.marked)


@dataclass
class CaptionBook:
    """All captions and boxes of one source. Precedence: metadata table, then `.json`, then `.txt`, then `.caption`.

    Sentences go to `rejected` (a caption that cannot be used) and `notes`.
    """

    limits: ImportLimits
    rejected: list[str]
    notes: list[str]
    _rows: dict[str, tuple[Found, str]] = field(default_factory=dict)
    _files: dict[str, dict[str, Entry]] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _several: list[str] = field(default_factory=list)
    # Names of YOLO classes by the folder of their list; there is one where YOLO files are to be expected.
    _classes: dict[str, dict[int, str]] = field(default_factory=dict)

    def read(self, source: Source) -> None:
        """Take in the tables and caption files of a source; caption files are opened when their picture comes."""
        stems = {picture.name[: -len(picture.suffix)] for picture in source.pictures}
        lists = [one for one in source.captions if one.base in YOLO_NAMES and one.name[: -len(one.suffix)] not in stems]
        for entry in source.tables:
            self._read_table(entry)
        for entry in source.layouts:
            self._read_layouts(entry, source.pictures)
        for entry in [*source.names, *lists]:
            self._read_names(entry)
        for entry in source.captions:
            if entry in lists:
                continue
            kinds = self._files.setdefault(entry.name[: -len(entry.suffix)], {})
            if entry.suffix in kinds:
                self.notes.append(f"{entry.name} was given more than once: the first one is used")
            kinds.setdefault(entry.suffix, entry)

    def find(self, picture: Entry) -> Found:
        """The caption of a picture, cleaned, and its boxes as they were given."""
        row, table = self._rows.get(picture.name, (Found(), ""))
        self._used.add(picture.name)
        candidates = [(row.caption, table)] if row.caption else []
        stem = picture.name[: -len(picture.suffix)]
        for key in dict.fromkeys((stem, picture.name, _label_path(stem))):
            if key not in self._files:
                continue
            self._used.add(key)
            for suffix in CAPTIONS:
                text, marked = self._read_file(self._files[key].get(suffix))
                row = row.beside(Found(marked=marked))
                if text:
                    candidates.append((text, self._files[key][suffix].name))
        if len({text for text, _ in candidates}) > 1:
            self._several.append(picture.name)
        if not candidates:
            return row
        text, where = candidates[0]
        return replace(row, caption=self._cut(text, f"The caption of {picture.name} in {where}"))

    def find_earlier(self, names: Sequence[str]) -> dict[str, Found]:
        """For pictures that were there before (`names`): what met no picture of this source and is called like them.

        The whole name counts first, then the last part of it where that fits one picture only.
        """
        # A caption file is known by its stem, a row by the name of its picture.
        left = {_stem(key): f"{key}.png" for key in self._files if key not in self._used}
        left |= {_stem(key): key for key in self._rows if key not in self._used}
        alike: dict[str, list[str]] = {}
        for name in names:
            alike.setdefault(_tail(name), []).append(name)
        found: dict[str, Found] = {}
        for stem, picture in sorted(left.items()):
            same = alike.get(_tail(stem), [])
            whole = [name for name in same if _stem(name) == stem]
            for name in whole or (same if len(same) == 1 else []):
                found.setdefault(name, self.find(Entry(picture, _no_picture)))
        return found

    def finish(self) -> None:
        """Note what is left: captions that met no picture, pictures with several captions."""
        files = [entry.name for key, kinds in self._files.items() if key not in self._used for entry in kinds.values()]
        if files:
            self.notes.append(
                f"No picture goes with {some(files)}: a caption file is named like its picture, as fox.png and fox.txt"
            )
        rows = [key for key in self._rows if key not in self._used]
        if rows:
            self.notes.append(f"There are captions or boxes for pictures that are not there: {some(rows)}")
        if self._several:
            names = some(self._several)
            self.notes.append(
                f"Different captions were found for {names}: metadata comes before .json, .json before .txt, .txt "
                "before .caption"
            )

    def _cut(self, text: str, what: str) -> str:
        if len(text) > MAX_CAPTION:
            self.notes.append(f"{what} has {len(text)} characters: the first {MAX_CAPTION} are used")
        return text[:MAX_CAPTION].rstrip()

    def _read_file(self, entry: Entry | None) -> tuple[str, Marked | None]:
        """The caption in a caption file, or the boxes in it."""
        text = self._text(entry, self.limits.caption_bytes, "its picture is kept without it") if entry else None
        if entry is None or text is None:
            return "", None
        marked = read_yolo(text, self._names_for(entry.folder)) if entry.suffix == ".txt" else None
        return ("", marked) if marked else (clean(text), None)

    def _names_for(self, folder: str) -> dict[int, str] | None:
        """The names of YOLO classes that hold in a folder: of the list in it or above it, else of the only one."""
        above = [folder, *map(str, PurePosixPath(folder).parents)]
        found = next((self._classes[one] for one in above if one in self._classes), None)
        return next(iter(self._classes.values())) if found is None and len(self._classes) == 1 else found

    def _text(self, entry: Entry, limit: int, otherwise: str) -> str | None:
        try:
            return entry.read(limit).decode("utf-8-sig")
        except ProblemsError as error:
            self.rejected.extend(error.problems)
        except UnicodeDecodeError:
            self.rejected.append(f"{entry.name} is not UTF-8 text, {otherwise}: save it as UTF-8")
        return None

    def _read_table(self, entry: Entry) -> None:
        text = self._text(entry, self.limits.table_bytes, "the captions in it are not used")
        if text is None:
            return
        bad: list[int] = []
        for number, row in _csv_rows(text) if entry.suffix == ".csv" else _json_rows(text):
            file_name = row.get("file_name")
            if not isinstance(file_name, str) or not file_name or not (_says_caption(row) or row_boxes(row)):
                bad.append(number)
                continue
            name = row.get("name")
            name = plain_name(name) if isinstance(name, str) and name else ""
            self._tell(_beside(entry, file_name), Found(clean(row_caption(row)), name, row_boxes(row)), entry)
        if bad:
            lines = ("line " if len(bad) == 1 else "lines ") + some([str(number) for number in bad])
            wanted = (
                "columns file_name and text" if entry.suffix == ".csv" else '{"file_name": "fox.png", "text": "a fox"}'
            )
            self.rejected.append(f"{entry.name}, {lines}: no file name and caption could be read, expected {wanted}")

    def _read_layouts(self, entry: Entry, pictures: Sequence[Entry]) -> None:
        text = self._text(entry, self.limits.table_bytes, "what is in it is not used")
        if text is None:
            return
        try:
            told = read_layouts(text, entry.name)
        except ProblemsError as error:
            self.rejected.extend(error.problems)
            return
        places = _Places(pictures)
        for one in told:
            for key in places.of(one, entry):
                self._tell(key, Found(clean(one.caption), "", one.marked), entry)

    def _read_names(self, entry: Entry) -> None:
        text = self._text(entry, self.limits.caption_bytes, "the names in it are not used")
        if text is None:
            return
        try:
            self._classes[entry.folder] = read_names(text, entry.name)
        except ProblemsError as error:
            self.rejected.extend(error.problems)

    def _tell(self, key: str, found: Found, entry: Entry) -> None:
        first, where = self._rows.get(key, (Found(), entry.name))
        self._rows[key] = (first.beside(found), where)


class _Places:
    """Which picture of a source a file of boxes means. Programs write whole paths of another machine, or only the last
    part of a name."""

    def __init__(self, pictures: Sequence[Entry]):
        self.names = {picture.name for picture in pictures}
        self.stems: dict[str, list[str]] = {}
        self.tails: dict[str, list[str]] = {}
        for name in sorted(self.names):
            for stem in {name, _stem(name)}:
                self.stems.setdefault(stem, []).append(name)
            self.tails.setdefault(posixpath.basename(name), []).append(name)

    def of(self, told: Told, entry: Entry) -> list[str]:
        """The names of the pictures; one that is not there when there is none."""
        if not told.file:
            stem = entry.name[: -len(entry.suffix)]
            # Called like a picture, for captions that look for theirs among those of earlier sources.
            return self.stems.get(stem, [f"{stem}.png"])
        given = _beside(entry, told.file)
        if given in self.names:
            return [given]
        alike = self.tails.get(posixpath.basename(given), [])
        ends = [name for name in alike if name.endswith("/" + plain_name(told.file))] or alike
        return ends if len(ends) == 1 else [given]


def _beside(entry: Entry, file_name: str) -> str:
    return posixpath.normpath(posixpath.join(entry.folder, plain_name(file_name)))


def _says_caption(row: dict[str, Any]) -> bool:
    given = [row[key] for key in ("text", "caption", "global_caption") if row.get(key) is not None]
    return bool(given) and isinstance(given[0], str)


def _label_path(stem: str) -> str:
    """Where YOLO keeps what belongs to images/a: in labels/a."""
    parts = stem.split("/")
    at = next((i for i in range(len(parts) - 2, -1, -1) if parts[i].lower() == "images"), None)
    return stem if at is None else "/".join([*parts[:at], "labels", *parts[at + 1 :]])


def _stem(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in PICTURES else name


def _tail(name: str) -> str:
    return posixpath.basename(_stem(name)).casefold()


def _no_picture(limit: int) -> bytes:
    return b""


def words_of_name(name: str) -> str:
    """The words in a file name: "red_fox-02.png" gives "red fox"; names given by cameras and programs give ""."""
    stem = PurePosixPath(name).stem
    if _UUID.search(stem):
        return ""
    words = [word for word in re.split(r"[\s_\-.,+()\[\]{}#~]+", stem) if word and not _CAMERA.fullmatch(word)]
    while words and words[-1].isdigit():
        words.pop()
    while words and words[0].isdigit():
        words.pop(0)
    telling = [w for w in words if any(c.isalpha() for c in w) and not _NAMELESS.fullmatch(w)]
    if not any(len(word) > 1 or not word.isascii() for word in telling):
        return ""
    return clean(" ".join(words))


def with_trigger(caption: str, trigger_word: str) -> str:
    """The caption led by the trigger word, unless it has it as a whole word already (in any case)."""
    trigger_word = clean(trigger_word)
    if not trigger_word or re.search(rf"(?<!\w){re.escape(trigger_word)}(?!\w)", caption, re.IGNORECASE):
        return caption
    return f"{trigger_word}, {caption}"[:MAX_CAPTION].rstrip() if caption else trigger_word


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each line; an empty object where there is none."""
    # Not splitlines(): a JSON string may hold line separators of other kinds.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield number, row if isinstance(row, dict) else {}


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text.replace("\0", ""), newline=""))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error:
        yield reader.line_num, {}
