"""Text that strangers wrote, made plain."""

from __future__ import annotations

MAX_CAPTION = 2000


def clean(text: str) -> str:
    """One line of plain text: NUL and lone surrogates removed, every run of white space one space."""
    return " ".join(text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8").split())
