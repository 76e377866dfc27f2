"""What a person said of an adapter: two small files beside it, `card.json` and `cover.jpg`."""

from __future__ import annotations

import base64
import binascii
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ProblemsError

from .text import say
from .workspace import write_atomically

if TYPE_CHECKING:
    from pipelines.adapters.metadata import Remarks

CARD, COVER = "card.json", "cover.jpg"
TITLE_LENGTH = 100
_SIDE = 512
_PICTURE_LIMIT = 16 * 2**20


def read_card(adapter: Path) -> dict[str, Any]:
    """What is noted of the adapter in this file; empty when nothing is."""
    try:
        found = json.loads((adapter.parent / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_card(adapter: Path, **changes: Any) -> None:
    """Note something of an adapter; what else is noted stays."""
    text = json.dumps({**read_card(adapter), **changes}, ensure_ascii=False, indent=1)
    write_atomically(adapter.parent / CARD, text + "\n")


def read_title(value: Any) -> str:
    """A title as a person may give it. Raises ProblemsError."""
    title = " ".join("".join(c if c.isprintable() else " " for c in value).split()) if isinstance(value, str) else ""
    if not title:
        raise ProblemsError(say("library.no_title"))
    if len(title) > TITLE_LENGTH:
        raise ProblemsError(say("library.long_title", count=len(title), limit=TITLE_LENGTH))
    return title


def set_cover(adapter: Path, picture: bytes) -> None:
    """Make a picture the cover of an adapter. Raises ProblemsError when it is none."""
    from pipelines.data.pictures import open_picture

    opened = open_picture(picture, say("library.picture"))
    opened.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    opened.save(buffer, "JPEG", quality=90)
    part = adapter.parent / f"{COVER}.tmp"
    part.write_bytes(buffer.getvalue())
    part.replace(adapter.parent / COVER)


def picture_of_uri(uri: Any) -> bytes:
    """The picture in a data URI that a browser sent. Raises ProblemsError."""
    if not isinstance(uri, str) or not uri.startswith("data:image/") or len(uri) > _PICTURE_LIMIT:
        raise ProblemsError(say("library.no_picture"))
    try:
        return base64.b64decode(uri.partition(",")[2], validate=True)
    except binascii.Error:
        raise ProblemsError(say("library.no_picture")) from None


def cover(adapter: Path) -> bytes:
    """The cover of an adapter, a JPEG file, or nothing."""
    path = adapter.parent / COVER
    return path.read_bytes() if path.is_file() else b""


def cover_uri(adapter: Path) -> str:
    """The cover as a data URI, or empty."""
    picture = cover(adapter)
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}" if picture else ""


def remarks(adapter: Path, title: str) -> Remarks:
    """What an exported file says beyond what the adapter's own file does."""
    from pipelines.adapters.metadata import Remarks

    return Remarks(title=title, thumbnail=cover(adapter))
