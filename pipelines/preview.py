"""PreviewSession: one base kept loaded, adapters attached to it, pictures at chosen strengths."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from . import registry
from .adapters.attach import Attached, attach_weights, detach, match, shapes
from .adapters.file import read_adapter
from .adapters.strength import Strength, check_numbers, strengths
from .bases import find_base
from .devices import pick_device, pick_dtype
from .errors import ProblemsError
from .family import PreviewRequest
from .files import write_bytes, write_text

LADDER = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_MAX_ROWS = 8
_MAX_ATTACHED = 8


@dataclass(frozen=True)
class Ladder:
    """One picture per strength, all of one seed. The picture at strength 0 is the base without any adapter."""

    strengths: tuple[float, ...]
    images: tuple[Image.Image, ...]
    base: Image.Image


class PreviewSession:
    """Pictures of one base with adapters at chosen strengths. Safe to call from several threads; one runs at a time.

    With `cache_dir`, results are kept on disk by (base, adapter bytes, request, strengths), and a cached ladder needs
    no model: the base is loaded at the first picture that has to be computed.
    """

    def __init__(
        self,
        family: str,
        base: str,
        options: Any = None,
        *,
        precision: str = "auto",
        device: str = "auto",
        cache_dir: Path | None = None,
    ):
        self.family = registry.create(family, options)
        self.base = find_base(base)
        self.device = pick_device(device)
        self.dtype = pick_dtype(precision, self.device)
        self.cache_dir = cache_dir
        self._attached: dict[str, Attached] = {}
        self._lock = threading.RLock()
        self._parts: Any = None
        self._fingerprint = self.base.fingerprint

    @property
    def parts(self) -> Any:
        """The loaded base."""
        with self._lock:
            if self._parts is None:
                self._parts = self.family.load(self.base, self.device, self.dtype)
            return self._parts

    def render(self, adapters: Mapping[Path, Strength], request: PreviewRequest) -> Image.Image:
        """One picture with several adapters, each at its strength (a number, or one per group).

        Raises ProblemsError for a request out of range, an adapter that does not fit, and a strength that is no number.
        """
        request.validate()
        named = {Path(path): value for path, value in adapters.items() if not _is_zero(value)}
        key = self._key(request, {_digest(path): value for path, value in named.items()})
        return self._cached(key, 1, lambda: self._compute(named, dataclasses.replace(request, copies=1)))[0]

    def ladder(
        self,
        adapter: Path,
        request: PreviewRequest,
        values: Sequence[float] = LADDER,
        *,
        group: str | None = None,
        others: Mapping[Path, Strength] | None = None,
    ) -> Ladder:
        """The same picture at several strengths of one adapter, computed in one batched pass.

        With `group`, only that group of layers moves and the others stay at strength 1. `others` are further adapters
        at fixed strengths.
        """
        request.validate()
        values = tuple(float(value) for value in values)
        if not values:
            raise ProblemsError("strengths is empty, must have at least one number")
        check_numbers("strengths", values)
        adapter, others = Path(adapter), dict(others or {})
        base = self.render({}, request)
        # Strength 0 of a plain ladder *is* the base: the same bits, and already computed.
        moving = [value for value in values if value != 0 or group or others]
        pictures: list[Image.Image] = []
        if moving:
            key = self._key(
                request, {_digest(adapter): [moving, group], **{_digest(Path(p)): v for p, v in others.items()}}
            )
            pictures = self._cached(key, len(moving), lambda: self._sweep(adapter, request, moving, group, others))
        found = iter(pictures)
        images = tuple(next(found) if value != 0 or group or others else base for value in values)
        return Ladder(values, images, base)

    def _sweep(
        self,
        adapter: Path,
        request: PreviewRequest,
        values: list[float],
        group: str | None,
        others: Mapping[Path, Strength],
    ) -> list[Image.Image]:
        pictures: list[Image.Image] = []
        for start in range(0, len(values), _MAX_ROWS):
            rows = values[start : start + _MAX_ROWS]
            strength: Strength = {group: rows} if group else rows
            pictures += self._compute({adapter: strength, **others}, dataclasses.replace(request, copies=len(rows)))
        return pictures

    def _compute(self, adapters: Mapping[Path, Strength], request: PreviewRequest) -> list[Image.Image]:
        with self._lock:
            values = {self._use(Path(path)).name: strength for path, strength in adapters.items()}
            with strengths(list(self._attached.values()), values):
                return list(self.family.preview(self.parts, request).images)

    def _use(self, path: Path) -> Attached:
        """The adapter of a file, attached if it is not yet; the one attached longest ago makes room."""
        name = _digest(path)
        if name not in self._attached:
            model = self.parts.model
            layers = read_adapter(path, shapes(model))
            while len(self._attached) >= _MAX_ATTACHED:
                detach(model, self._attached.pop(next(iter(self._attached))))
            groups = match(layers, self.family.groups(self.parts))
            self._attached[name] = attach_weights(model, layers, groups, name)
        return self._attached[name]

    def groups(self, path: Path) -> list[str]:
        """The groups of layers an adapter has."""
        with self._lock:
            return sorted(set(self._use(Path(path)).groups.values()))

    def _key(self, request: PreviewRequest, adapters: Mapping[str, Any]) -> str:
        plain = json.dumps(
            [
                self.family.name,
                self._fingerprint,
                str(self.dtype),
                str(self.device),
                dataclasses.asdict(request),
                adapters,
            ],
            sort_keys=True,
        )
        return hashlib.sha256(plain.encode()).hexdigest()

    def _cached(self, key: str, count: int, make: Any) -> list[Image.Image]:
        if self.cache_dir is None:
            pictures: list[Image.Image] = make()
            return pictures
        folder = self.cache_dir / key[:2] / key
        if (folder / "done").exists():
            # A damaged picture is a picture that has to be made again.
            with contextlib.suppress(OSError, SyntaxError):
                return [_read(folder / f"{i}.png") for i in range(count)]
        pictures = make()
        for i, picture in enumerate(pictures):
            write_bytes(folder / f"{i}.png", png_bytes(picture))
        write_text(folder / "done", "")
        return pictures


def _is_zero(value: Strength) -> bool:
    return isinstance(value, (int, float)) and value == 0


def _read(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    from io import BytesIO

    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _digest(path: Path) -> str:
    """Identity of an adapter: the hash of its bytes (also its PEFT name, so without dots)."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    except OSError as error:
        raise ProblemsError(f"adapter {path.name} cannot be read: {error.strerror or error}") from error


def free_memory(session: PreviewSession) -> None:
    """Forget the loaded base; the next picture loads it again."""
    with session._lock:
        session._attached.clear()
        session._parts = None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
