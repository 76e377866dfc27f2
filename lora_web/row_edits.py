"""What a browser wants changed in rows: each edit is made or refused with sentences of its own."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.data.dialogue_files import with_marks
from pipelines.data.dialogues import MAX_TURN, PICTURE, Dialogue, Unread, read_row
from pipelines.errors import ProblemsError, shown

from .text import say

if TYPE_CHECKING:
    from .row_desk import RowDesk

MAX_TURNS = 200
_NUMBER, _DRAFT = re.compile(r"[1-9][0-9]{0,8}", re.ASCII), re.compile(r"new-[0-9a-z]{1,20}", re.ASCII)

Rows = dict[int, Dialogue]


class Edits:
    """Changes that are made in `rows`, under the lock of their desk. `refused` has sentences by the id that the browser
    gave, `added` the numbers of new rows by theirs, `missing` the ids of rows that were to be changed and are gone."""

    def __init__(self, desk: RowDesk, rows: Rows):
        self.desk, self.rows = desk, rows
        self.refused: dict[str, list[str]] = {}
        self.added: dict[str, str] = {}
        self.missing: list[str] = []
        self._numbers = {row.id: number for number, row in rows.items()}
        self._next = max(desk.state.next, max(rows, default=0) + 1)
        self._left: int | None = None

    def restore(self, names: Sequence[str], kept: Rows) -> None:
        """Put rows back that were taken out; what is gone for good is refused."""
        for name in names:
            number = number_of(name)
            row = kept.get(number)
            if number in self.rows:
                continue
            if row is None:
                self.refused[_called(name)] = [say("row_gone")]
            elif not all(path.is_file() for path in row.pictures):
                self.refused[_called(name)] = [say("row_picture_gone", row=number)]
            elif row.id in self._numbers:
                self.refused[_called(name)] = [say("row_twice", row=number, other=self._numbers[row.id])]
            else:
                self._put(row)

    def make(self, edit: Any) -> None:
        """One edit."""
        name = edit.get("id") if isinstance(edit, Mapping) else edit
        try:
            if isinstance(name, str) and _DRAFT.fullmatch(name):
                self.added[name] = str(self._add(edit))
            elif number_of(name) in self.rows:
                self._change(number_of(name), edit)
            else:
                self.missing.append(_called(name))
                raise ProblemsError(say("row_gone"))
        except ProblemsError as error:
            self.refused[_called(name)] = list(error.problems)

    def _add(self, edit: Mapping[str, Any]) -> int:
        known = {sample.id: sample.path.name for sample in self.desk.samples()}
        ids = edit.get("pictures", [])
        if not isinstance(ids, list) or not all(isinstance(one, str) and one in known for one in ids):
            raise ProblemsError(say("picture_gone"))
        row = self._read(self._next, f"row {self._next}", edit, [known[one] for one in ids])
        # Asked twice, because the first answer did not arrive, it is there already.
        if row.id in self._numbers:
            return self._numbers[row.id]
        self.desk.visitor.limits.check_samples(0, len(self.rows) + 1)
        self._check_room(len(row.line.encode()))
        self._put(row)
        self._next += 1
        return row.number

    def _change(self, number: int, edit: Mapping[str, Any]) -> None:
        before = self.rows[number]
        row = self._read(number, before.name, edit, [path.name for path in before.pictures])
        other = self._numbers.get(row.id, number)
        if other != number:
            raise ProblemsError(say("row_twice", row=number, other=other))
        self._check_room(len(row.line.encode()) - len(before.line.encode()))
        del self._numbers[before.id]
        self._put(row)

    def _read(self, number: int, name: str, edit: Mapping[str, Any], pictures: Sequence[str]) -> Dialogue:
        messages = _messages(number, edit.get("turns"), len(pictures))
        try:
            row = read_row(name, {"messages": messages, "images": [*pictures]}, self.desk.find)
        except Unread as reason:
            raise ProblemsError(say("row_refused", row=number, reason=reason)) from None
        if len(row.turns) != len(messages):
            raise ProblemsError(say("row_turns", row=number, value=shown(edit.get("turns"))))
        return dataclasses.replace(row, number=number)

    def _put(self, row: Dialogue) -> None:
        self.rows[row.number] = row
        self._numbers[row.id] = row.number

    def _check_room(self, more: int) -> None:
        """Raise ProblemsError when a row would grow beyond the visitor's space."""
        if more <= 0:
            return
        if self._left is None:
            self._left = self.desk.visitor.limits.visitor_bytes - self.desk.visitor.used_bytes()
        if more > self._left:
            self.desk.visitor.check_room(more)
        self._left -= more


def number_of(name: Any) -> int:
    """The number of a row as a browser gives it; 0, which no row has, for anything else."""
    return int(name) if isinstance(name, str) and _NUMBER.fullmatch(name) else 0


def _called(name: Any) -> str:
    """How a browser finds its own ids in an answer; whatever else it sent cannot do harm there."""
    return name if isinstance(name, str) and (_NUMBER.fullmatch(name) or _DRAFT.fullmatch(name)) else shown(name)


def _messages(number: int, turns: Any, pictures: int) -> list[dict[str, str]]:
    """The turns of an edit as a row of a file has them, all of them said: (system,) user, assistant, user, ..."""
    if not isinstance(turns, list) or not 2 <= len(turns) <= MAX_TURNS or not all(map(_is_turn, turns)):
        raise ProblemsError(say("row_turns", row=number, value=shown(turns)))
    said = [{"role": turn["role"], "content": turn["text"].strip()} for turn in turns]
    if said[0]["role"] == "system" and not said[0]["content"]:
        said.pop(0)
    talk = said[1:] if said[0]["role"] == "system" else said
    if not talk or [turn["role"] for turn in talk] != ["user", "assistant"] * (len(talk) // 2):
        raise ProblemsError(say("row_turns", row=number, value=shown(turns)))
    if pictures and not any(PICTURE in turn["content"] for turn in talk[::2]):
        talk[0]["content"] = with_marks(talk[0]["content"], pictures).strip()
    problems = []
    if any(not turn["content"] for turn in talk[::2]):
        problems.append(say("row_no_question", row=number))
    if any(not turn["content"] for turn in talk[1::2]):
        problems.append(say("row_no_answer", row=number))
    if any(len(turn["content"]) > MAX_TURN for turn in said):
        problems.append(say("row_too_long", row=number, most=MAX_TURN))
    if problems:
        raise ProblemsError(problems)
    return said


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and isinstance(turn.get("role"), str) and isinstance(turn.get("text"), str)
