"""Text that strangers wrote, made plain."""

from __future__ import annotations

from collections.abc import Sequence

MAX_CAPTION = 2000


def clean(text: str) -> str:
    """One line of plain text: NUL and lone surrogates removed, every run of white space one space."""
    return " ".join(text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8").split())


def some(names: Sequence[str], limit: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
