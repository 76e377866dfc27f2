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
from .plain import MAX_CAPTION, clean
from .regions import Region, read_regions
from .sources import CAPTIONS, PICTURES, Entry, ImportLimits, Source, plain_name

_CAMERA = re.compile(r"(?i)(?=.*\d)([a-z]{1,5}\d{3,}|[0-9a-f]{4,}|u\+?[0-9a-f]{4,}|\d+x\d+|wa\d+|v\d+)")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Words that programs and cameras put into names; a name of nothing else says nothing about the picture.
_NAMELESS = re.compile(
    r"(?i)img|imag|images?|dsc[fn]?|dcim|pxl|mvimg|gopr|dji|cimg|pict|photos?|pictures?|pics?|screenshot|screen|shot"
    r"|scan|whatsapp|untitled|unnamed|downloads?|file|frame|copy|edited|sample|at|pm|am|output|test|te?mp|new|final"
)


@dataclass(frozen=True)
class Found:
    """What was said about one picture: its own caption ("" if none), and, if a table says, the name it had before and
    its regions."""

    caption: str = ""
    name: str = ""
    regions: tuple[Region, ...] = ()


@dataclass
class CaptionBook:
    """All captions of one source. Precedence: metadata table, then `.txt`, then `.caption`.

    Sentences go to `rejected` (a caption that cannot be used) and `notes`.
    """

    limits: ImportLimits
    rejected: list[str]
    notes: list[str]
    _rows: dict[str, tuple[Found, str]] = field(default_factory=dict)
    _files: dict[str, dict[str, Entry]] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _several: list[str] = field(default_factory=list)

    def read(self, source: Source) -> None:
        """Take in the tables and caption files of a source; caption files are opened when their picture comes."""
        for entry in source.tables:
            self._read_table(entry)
        for entry in source.captions:
            kinds = self._files.setdefault(entry.name[: -len(entry.suffix)], {})
            if entry.suffix in kinds:
                self.notes.append(f"{entry.name} was given more than once: the first one is used")
            kinds.setdefault(entry.suffix, entry)

    def find(self, picture: Entry) -> Found:
        """The caption of a picture, cleaned."""
        row, table = self._rows.get(picture.name, (Found(), ""))
        self._used.add(picture.name)
        candidates = [(row.caption, table)] if row.caption else []
        for key in (picture.name[: -len(picture.suffix)], picture.name):
            if key not in self._files:
                continue
            self._used.add(key)
            for suffix in CAPTIONS:
                text = self._read_file(self._files[key].get(suffix))
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
            self.notes.append(f"The metadata has captions for pictures that are not there: {some(rows)}")
        if self._several:
            names = some(self._several)
            self.notes.append(
                f"Different captions were found for {names}: metadata comes before .txt, .txt before .caption"
            )

    def _regions(self, table: Entry, row: dict[str, Any]) -> tuple[Region, ...]:
        if row.get("regions") is None:
            return ()
        try:
            return read_regions(row["regions"], f"{table.name}: the regions of {plain_name(row['file_name'])}")
        except ProblemsError as error:
            self.rejected.extend(error.problems)
            return ()

    def _cut(self, text: str, what: str) -> str:
        if len(text) > MAX_CAPTION:
            self.notes.append(f"{what} has {len(text)} characters: the first {MAX_CAPTION} are used")
        return text[:MAX_CAPTION].rstrip()

    def _read_file(self, entry: Entry | None) -> str:
        text = self._text(entry, self.limits.caption_bytes, "its picture is kept without it") if entry else None
        return clean(text or "")

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
        folder = posixpath.dirname(entry.name)
        bad: list[int] = []
        for number, row in _csv_rows(text) if entry.suffix == ".csv" else _json_rows(text):
            file_name = row.get("file_name")
            caption = row.get("caption") if row.get("text") is None else row["text"]
            if not isinstance(file_name, str) or not file_name or not isinstance(caption, str):
                bad.append(number)
                continue
            name = row.get("name")
            found = Found(
                clean(caption), plain_name(name) if isinstance(name, str) and name else "", self._regions(entry, row)
            )
            key = posixpath.normpath(posixpath.join(folder, plain_name(file_name)))
            self._rows.setdefault(key, (found, entry.name))
        if bad:
            lines = ("line " if len(bad) == 1 else "lines ") + some([str(number) for number in bad])
            wanted = (
                "columns file_name and text" if entry.suffix == ".csv" else '{"file_name": "fox.png", "text": "a fox"}'
            )
            self.rejected.append(f"{entry.name}, {lines}: no file name and caption could be read, expected {wanted}")


def _stem(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in PICTURES else name


def _tail(name: str) -> str:
    return posixpath.basename(_stem(name)).casefold()


def _no_picture(limit: int) -> bytes:
    return b""


def some(names: Sequence[str], limit: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


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
