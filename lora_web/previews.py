"""Preview pictures and exported files for the page: torch is imported at the first one asked for, not before."""

from __future__ import annotations

import base64
import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ProblemsError
from pipelines.family import PreviewRequest

from .entries import Entry

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preview import PreviewSession

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
FORMS = ("diffusers", "kohya")


def read_request(prompt: Any, negative: Any, seed: Any, steps: Any, guidance: Any) -> PreviewRequest:
    """A preview request from component values. Raises ProblemsError with every problem at once."""
    # A number field sends 25.0 where a person wrote 25.
    seed, steps = (int(v) if isinstance(v, float) and v.is_integer() else v for v in (seed, steps))
    return PreviewRequest(prompt, negative or "", seed, steps, guidance).validate()


class Previews:
    """One preview session, kept for the base asked for last."""

    def __init__(self, cache: Path):
        self._cache = cache
        self._lock = threading.Lock()
        self._key: Any = None
        self._session: PreviewSession | None = None

    def ladder(self, entry: Entry, request: PreviewRequest) -> dict[str, Any]:
        """What the ladder component shows: strengths, pictures as data URIs, the base's picture, the request."""
        ladder = self._for(entry).ladder(entry.path, request, STRENGTHS)
        return {
            "strengths": list(ladder.strengths),
            "images": [data_uri(image) for image in ladder.images],
            "base": data_uri(ladder.base),
            "prompt": request.prompt,
            "seed": request.seed,
        }

    def _for(self, entry: Entry) -> PreviewSession:
        key = (entry.family, entry.base, entry.options)
        with self._lock:
            if self._session is None or self._key != key:
                # The old base goes before the new one comes: two may not fit.
                self._session = None
                from pipelines.preview import PreviewSession

                self._session = PreviewSession(*key, cache_dir=self._cache)
                self._key = key
            return self._session


def export_for_browser(entry: Entry, form: str, served: Path) -> Path:
    """The adapter in one form, at a path the browser may fetch. Raises ProblemsError."""
    if form not in FORMS:
        raise ProblemsError(f"format is {form!r}, must be one of {', '.join(FORMS)}")
    from pipelines.export import export

    word = "".join(c for c in entry.title if c.isascii() and c.isalnum())[:40] or "adapter"
    output = served / entry.home.name / f"{word}-{entry.home.name[:8]}-{form}.safetensors"
    output.parent.mkdir(parents=True, exist_ok=True)
    export(entry.path, form, output, base=entry.base)
    return output


def data_uri(picture: Image) -> str:
    """A picture as a data URI: exact for small ones, lightly compressed for large ones."""
    buffer = io.BytesIO()
    if picture.width * picture.height <= 256 * 256:
        picture.save(buffer, "PNG")
        kind = "png"
    else:
        picture.save(buffer, "WEBP", quality=92)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def thumbnail(path: Path, side: int = 256) -> Image:
    """A small upright copy of a picture of a dataset (which the import has checked and turned already)."""
    from PIL import Image as images

    with images.open(path, formats=["PNG", "JPEG", "WEBP"]) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side))
    return small
