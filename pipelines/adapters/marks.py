"""Marked tokens: whoever runs a model may say that some of the tokens in it are of another kind than the rest (of a
picture, among words), and a strength may count for those alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_MARKS: ContextVar[Tensor | None] = ContextVar("marks", default=None)


@contextmanager
def marked(tokens: Tensor) -> Iterator[None]:
    """Inside, the sequences that the model sees are (B, T, ...), and `tokens` (B, T), bool, are their marked tokens.
    Outside there is no marked one."""
    token = _MARKS.set(tokens if tokens.is_meta or bool(tokens.any()) else None)
    try:
        yield
    finally:
        _MARKS.reset(token)


def marks() -> Tensor | None:
    """The marked tokens of the forward that runs now; None when there are none."""
    return _MARKS.get()
