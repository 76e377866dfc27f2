"""Which desk a family's dataset is worked on at."""

from __future__ import annotations

from pipelines.errors import ProblemsError
from pipelines.registry import family_class

from .desk import Desk
from .picture_desk import PictureDesk
from .row_desk import RowDesk
from .talk_desk import TalkDesk
from .text import say
from .workspace import Visitor

# By what a family reads.
_DESKS: dict[str, type[Desk]] = {"pictures": PictureDesk, "dialogues": RowDesk, "pictures with dialogues": TalkDesk}


def desk_of(visitor: Visitor, name: str, family: str) -> Desk:
    """The desk of one of a visitor's datasets."""
    return _DESKS[family_class(family).reads](visitor, name)


def need_of(family: str) -> str:
    """The key of the sentence for a run without samples."""
    return _DESKS[family_class(family).reads].need


def pictures_of(visitor: Visitor, name: str, family: str) -> PictureDesk:
    """The desk of the pictures in it. Raises ProblemsError for a family that reads none."""
    desk = desk_of(visitor, name, family)
    if not isinstance(desk, PictureDesk):
        raise ProblemsError(say("page_stale"))
    return desk


def rows_of(visitor: Visitor, name: str, family: str) -> RowDesk:
    """The desk of the rows in it. Raises ProblemsError for a family that reads none."""
    desk = desk_of(visitor, name, family)
    if isinstance(desk, TalkDesk):
        return desk.rows
    if not isinstance(desk, RowDesk):
        raise ProblemsError(say("page_stale"))
    return desk
