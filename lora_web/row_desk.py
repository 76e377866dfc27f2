"""A visitor's dialogues as their editor changes them: a page of rows at a time, every edit with its version."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pipelines.data.dialogue_files import FORMS, without_marks
from pipelines.data.dialogues import LIMITS, TABLE, Dialogue, import_dialogues, read_table, remember_table, write_table
from pipelines.data.picture_dialogues import in_folder
from pipelines.data.samples import REPORT, Dataset, Sample, read_report, write_report
from pipelines.data.sources import Named
from pipelines.errors import ProblemsError

from .desk import Desk, State, ids_of, list_of
from .picture_desk import PictureDesk
from .row_edits import Edits, Rows, number_of
from .text import say
from .workspace import Visitor

PAGE = 20
# Rows that went because a picture they speak of did; they come back with it.
_WITH_PICTURES = "with_pictures.jsonl"


class RowDesk(Desk):
    """Questions with answers. A row is known by its number, which it keeps; rows may speak of the `pictures` that are
    in the same dataset."""

    state_file: ClassVar[str] = "rows.json"
    need: ClassVar[str] = "need_rows"

    def __init__(self, visitor: Visitor, name: str, pictures: PictureDesk | None = None):
        super().__init__(visitor, name)
        self.pictures = pictures
        # A row whose picture is lost is shown, for a person to decide about.
        self.find = in_folder(self.folder, missing=True)

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return not self.read()

    def open(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A page of rows, and what the last import had to say. What was taken out before is gone now: nothing is left
        to undo it with."""
        with self.alone():
            (self.removed / TABLE).unlink(missing_ok=True)
            # Where there are pictures, their editor tells what was imported.
            rejected, notes = ([], []) if self.pictures else read_report(self.folder)
            return self.view(asked) | {"rejected": rejected, "notes": notes}

    def view(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The rows of a `page`, or of the page that row `at` is on, among those in which the words of `query` stand."""
        rows, query, page = self.read(), asked.get("query"), asked.get("page")
        at = number_of(asked.get("at"))
        found = _matching(rows, query)
        if at in rows and at not in found:
            query, found = "", list(rows)
        if at in rows:
            page = found.index(at) // PAGE
        pages = max(1, math.ceil(len(found) / PAGE))
        page = min(max(page, 0), pages - 1) if type(page) is int else 0
        return {
            "version": self.state.version,
            "rows": [_show(rows[number]) for number in found[page * PAGE : (page + 1) * PAGE]],
            "query": query if isinstance(query, str) else "",
            "page": page,
            "pages": pages,
            "found": len(found),
            "count": len(rows),
        }

    def add(self, sources: Sequence[Path | Named], example: bool = False) -> dict[str, Any]:
        """Add the rows of files. An example that nobody has touched makes way for others. Raises ProblemsError when
        nothing of it can be used."""
        with self.incoming(sources) as (folder, limits):
            limits = dataclasses.replace(LIMITS, total_bytes=limits.total_bytes)
            new = import_dialogues(sources, folder, limits=limits)
            if not new.samples:
                raise ProblemsError(new.rejected or say("no_row_found"))
            with self.alone():
                change = self.take_in(new.samples, example)
                told: Dataset[Any] = Dataset((), new.rejected, (*new.notes, *change["notes"]))
                write_report(self.folder, told)
                return self.after(change, told)

    def take_in(self, dialogues: Sequence[Dialogue], example: bool = False) -> dict[str, list[str]]:
        """Put dialogues into the table, under the lock: the numbers of those that `come`, of those that are `gone` to
        make way, and `notes`. Raises ProblemsError when they are too many."""
        if not dialogues:
            return {"come": [], "gone": [], "notes": []}
        rows = self.read()
        there = {row.id for row in rows.values()}
        new = [dialogue for dialogue in dialogues if dialogue.id not in there]
        gone = rows if new and self.state.example and not example else {}
        self.check_room_for(len(new) - len(gone))
        come = self._numbered(new, rows)
        self._take_out([*gone.values()])
        self._write({number: row for number, row in rows.items() if number not in gone} | come, example and not rows)
        notes = [say("example_rows_made_way")] if gone else []
        if len(new) < len(dialogues):
            notes.append(say("rows_here_already", count=len(dialogues) - len(new)))
        return {"come": [*map(str, come)], "gone": [*map(str, gone)], "notes": notes}

    def after(self, change: Mapping[str, Any], told: Dataset[Any]) -> dict[str, Any]:
        """What the page is shown after rows came or went: the first that came."""
        where = {"at": change["come"][0]} if change["come"] else {}
        report = {"rejected": list(told.rejected), "notes": list(told.notes)}
        return {**self.view(where), **report, "come": change["come"], "gone": change["gone"], "changes": {}}

    def check_room_for(self, more: int) -> None:
        """Raise ProblemsError when so many further rows are too many."""
        self.visitor.limits.check_samples(0, len(self.read()) + more)

    def save(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make changes that came from a browser: `edits` [{id, turns, pictures?}], numbers to `remove` and to
        `restore`. An edit whose id is no number but "new-…" is a new row; `added` says which number it was given.

        What is refused comes back under `refused`, {id: sentences}; everything else is made.
        """
        wanted = list_of(request, "edits")
        remove, restore = ids_of(request, "remove"), ids_of(request, "restore")
        with self.alone():
            version, rows = self.state.version, self.read()
            edits = Edits(self, rows)
            edits.restore(restore, self._taken_out(TABLE) if restore else {})
            for edit in wanted:
                edits.make(edit)
            self._take_out([rows.pop(number) for number in dict.fromkeys(map(number_of, remove)) if number in rows])
            self._write(rows, example=False)
            answer: dict[str, Any] = {"version": version + 1, "count": len(rows)}
            answer |= {"refused": edits.refused, "added": edits.added, "missing": edits.missing}
            if restore or remove or request.get("version") != version:
                answer |= self.view(request)
            return answer

    def clear(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Take out all rows, or those in which the words of `query` stand."""
        with self.alone():
            rows = self.read()
            gone = {number: rows[number] for number in _matching(rows, asked.get("query"))}
            self._take_out([*gone.values()])
            self._write({number: row for number, row in rows.items() if number not in gone}, example=False)
            return self.after({"come": [], "gone": [*map(str, gone)]}, Dataset(()))

    def file(self, form: str) -> tuple[str, str]:
        """The rows in one of the `FORMS`: the name of a file, and its text."""
        name, write = FORMS[form]
        return name, write([*self.read().values()], {sample.id: sample.name for sample in self.samples()})

    def samples(self) -> tuple[Sample, ...]:
        """The pictures that rows may speak of."""
        return self.pictures.samples() if self.pictures else ()

    def go_with(self, pictures: Sequence[Sample]) -> None:
        """Pictures go, under the lock: what is said of them goes too."""
        names = {sample.path.name for sample in pictures}
        rows = self.read()
        gone = {n: row for n, row in rows.items() if any(path.name in names for path in row.pictures)}
        if gone:
            self._put_aside(_WITH_PICTURES, self._taken_out(_WITH_PICTURES) | gone)
            self._write({n: row for n, row in rows.items() if n not in gone}, example=False)

    def come_with(self) -> None:
        """Pictures have come back, under the lock: what is said only of pictures that are there comes too."""
        kept, rows = self._taken_out(_WITH_PICTURES), self.read()
        come = {n: row for n, row in kept.items() if n not in rows and all(path.is_file() for path in row.pictures)}
        if come:
            self._put_aside(_WITH_PICTURES, {n: row for n, row in kept.items() if n not in come})
            self._write(rows | come, example=False)

    def read(self) -> Rows:
        """All rows by their numbers, in order."""
        dialogues, _ = read_table(self.folder / TABLE, self.find)
        rows = {row.number: row for row in reversed(dialogues) if row.number > 0}
        # What came by other ways has no numbers yet: the order gives them, the same at each reading.
        rows |= self._numbered([row for row in dialogues if row is not rows.get(row.number)], rows)
        return dict(sorted(rows.items()))

    def _numbered(self, dialogues: Sequence[Dialogue], rows: Rows) -> Rows:
        first = max(self.state.next, max(rows, default=0) + 1)
        return {number: dataclasses.replace(row, number=number) for number, row in enumerate(dialogues, first)}

    def _write(self, rows: Rows, example: bool) -> None:
        self.make_folders()
        if not (self.folder / REPORT).exists():
            write_report(self.folder, Dataset(()))
        rows, state = dict(sorted(rows.items())), self.state
        write_table(self.folder / TABLE, [*rows.values()])
        remember_table(self.folder / TABLE, [*rows.values()])
        self.note(State(state.version + 1, example, max(state.next, max(rows, default=0) + 1)))

    def _take_out(self, rows: Sequence[Dialogue]) -> None:
        if rows:
            self._put_aside(TABLE, self._taken_out(TABLE) | {row.number: row for row in rows})

    def _taken_out(self, name: str) -> Rows:
        return {row.number: row for row in read_table(self.removed / name, self.find)[0]}

    def _put_aside(self, name: str, rows: Rows) -> None:
        self.removed.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_table(self.removed / name, [*rows.values()])


def _matching(rows: Rows, query: Any) -> list[int]:
    """The numbers of the rows in which all words of a query stand, in any case; of all without one."""
    words = query.casefold().split() if isinstance(query, str) else []
    if not words:
        return list(rows)
    return [number for number, row in rows.items() if _says(row, words)]


def _says(row: Dialogue, words: Sequence[str]) -> bool:
    text = "\n".join([row.name, *(turn.text for turn in row.turns)]).casefold()
    return all(word in text for word in words)


def _show(row: Dialogue) -> dict[str, Any]:
    turns = [{"role": turn.role, "text": turn.text} for turn in row.turns]
    first = next(turn for turn in turns if turn["role"] == "user")
    first["text"] = without_marks(first["text"], len(row.pictures))
    return {"id": str(row.number), "name": row.name, "turns": turns, "pictures": [path.stem for path in row.pictures]}
