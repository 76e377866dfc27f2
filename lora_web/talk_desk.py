"""A visitor's pictures with dialogues about them: two editors on one dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pipelines.data.dialogues import LIMITS
from pipelines.data.picture_dialogues import gather_dialogues
from pipelines.data.samples import Dataset, Sample
from pipelines.data.sources import Named
from pipelines.errors import ProblemsError

from .picture_desk import PictureDesk
from .row_desk import RowDesk
from .text import say
from .workspace import Visitor


class TalkDesk(PictureDesk):
    """Pictures whose captions are answers, and `rows` about them. What is said of a picture goes and comes with it."""

    need: ClassVar[str] = "need_talks"

    def __init__(self, visitor: Visitor, name: str):
        super().__init__(visitor, name)
        self.rows = TalkRows(self)

    @property
    def empty(self) -> bool:
        """Whether there is neither picture nor row."""
        return super().empty and self.rows.empty

    def add(self, sources: Sequence[Path | Named], replace: bool = False, example: bool = False) -> dict[str, Any]:
        """As with pictures alone; dialogues in the files become rows."""
        return self.take(sources, replace, example)[0]

    def take(
        self, sources: Sequence[Path | Named], replace: bool = False, example: bool = False
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add pictures, captions and dialogues: what the editor of the pictures is shown, and that of the rows. Raises
        ProblemsError when nothing can be used."""
        with self.incoming(sources) as (folder, room):
            limits = dataclasses.replace(LIMITS, total_bytes=room.total_bytes)
            new, told, dialogues = gather_dialogues(sources, folder, self.samples(), limits)
            if not (new.samples or told or dialogues):
                raise ProblemsError(new.rejected or new.notes or say("no_talk_found"))
            with self.alone():
                self.rows.check_room_for(len(dialogues))
                answer = self._merge(new, told, replace, example)
                change = self.rows.take_in(
                    [
                        dataclasses.replace(one, pictures=tuple(self.folder / path.name for path in one.pictures))
                        for one in dialogues
                    ]
                )
                answer["notes"] += change["notes"]
                told_both: Dataset[Any] = Dataset((), tuple(answer["rejected"]), tuple(answer["notes"]))
                return answer, self.rows.after(change, told_both)

    def _take_out(self, samples: Sequence[Sample]) -> None:
        super()._take_out(samples)
        self.rows.go_with(samples)

    def _restore(self, names: Sequence[str], found: dict[str, Sample]) -> dict[str, list[str]]:
        refused = super()._restore(names, found)
        if names:
            self.rows.come_with()
        return refused


class TalkRows(RowDesk):
    """The rows of a `TalkDesk`."""

    def __init__(self, desk: TalkDesk):
        super().__init__(desk.visitor, desk.folder.name, desk)
        self.desk = desk

    def add(self, sources: Sequence[Path | Named], example: bool = False) -> dict[str, Any]:
        """As with text alone; pictures and captions in the files go to their editor."""
        return self.desk.take(sources, example=example)[1]
