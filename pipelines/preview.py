"""PreviewSession: one base kept loaded, adapters attached to it, pictures or answers at chosen strengths."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from . import registry
from .adapters.attach import Attached, attach_weights, detach, match, shapes, whole_shapes
from .adapters.file import read_adapter
from .adapters.identity import identity
from .adapters.strength import OnMarked, Plain, Strength, check_numbers, strengths
from .bases import find_base
from .devices import pick_device, pick_dtype
from .errors import ProblemsError
from .family import Answer, PreviewRequest
from .files import write_bytes, write_text
from .relay import relay

LADDER = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_MAX_ROWS = 8
_MAX_ATTACHED = 8
# What is attached, what is asked in one go, and at which places of the answers these stand.
_Pass = tuple[Mapping[Path, Strength], PreviewRequest, list[int]]


@dataclass(frozen=True)
class Ladder:
    """One picture per strength, all of one seed. The picture at strength 0 is the base without any adapter."""

    strengths: tuple[float, ...]
    images: tuple[Image.Image, ...]
    base: Image.Image


@dataclass(frozen=True)
class Zero:
    """What previewing at strength 0 showed: how many bytes of the picture or answer were `compared` with the base's,
    how many are `different`."""

    compared: int
    different: int


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
    def loaded(self) -> bool:
        """Whether the base is in memory."""
        return self._parts is not None

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
        if self.family.answers:
            raise ProblemsError(f"{self.family.title} answers in words and draws no pictures; ask for answers")
        named = {Path(path): value for path, value in adapters.items() if not _is_zero(value)}
        return self._one(named, request)

    def at_zero(self, adapter: Path, request: PreviewRequest) -> Zero:
        """Preview with the adapter attached at strength 0 and compare with the base with nothing attached."""
        request.validate()
        base, zero = self._plain({}, request), self._plain({Path(adapter): 0.0}, request)
        different = sum(a != b for a, b in itertools.zip_longest(base, zero)) if base != zero else 0
        return Zero(len(base), different)

    def _plain(self, adapters: Mapping[Path, Strength], request: PreviewRequest) -> bytes:
        if not self.family.answers:
            return self._one(adapters, request).tobytes()
        *_, (answer,) = self._said(adapters, dataclasses.replace(request, copies=1))
        return json.dumps(dataclasses.asdict(answer)).encode()

    def ladder(
        self,
        adapter: Path,
        request: PreviewRequest,
        values: Sequence[float] = LADDER,
        *,
        group: str | None = None,
        balance: Mapping[str, float] | None = None,
        others: Mapping[Path, Strength] | None = None,
    ) -> Ladder:
        """The same picture at several strengths of one adapter, computed in one batched pass.

        With `group`, only that group of layers moves and the others stay at strength 1. With `balance`, all move
        together, the groups it names at that multiple of the strength. `others` are further adapters at fixed
        strengths.
        """
        request.validate()
        values = _numbers(values)
        adapter, others = Path(adapter), dict(others or {})
        base = self.render({}, request)
        # Strength 0 of a plain ladder *is* the base: the same bits, and already computed.
        moving = [value for value in values if value != 0 or group or others]
        pictures: list[Image.Image] = []
        if moving:
            strength: Strength = {group: moving} if group else balanced(moving, balance)
            key = self._key(request, {adapter: strength, **others})
            pictures = self._cached(key, len(moving), lambda: self._sweep(adapter, request, strength, others))
        found = iter(pictures)
        images = tuple(next(found) if value != 0 or group or others else base for value in values)
        return Ladder(values, images, base)

    def answers(
        self,
        adapter: Path,
        request: PreviewRequest,
        values: Sequence[float] = LADDER,
        *,
        on_marked: bool = False,
        balance: Mapping[str, float] | None = None,
    ) -> Generator[tuple[Answer, ...], None, None]:
        """What a language model answers at several strengths of an adapter, as it is said: one Answer per strength each
        time. The base speaks first, with nothing attached, for every strength that is 0; then all others in one batched
        pass. With `on_marked` strengths count for marked tokens alone; `balance` is that of `ladder`. The generator may
        be resumed from any thread, and closed before its end."""
        request.validate()
        if not self.family.answers:
            raise ProblemsError(f"{self.family.title} draws pictures and answers nothing; ask for a ladder")
        values = _numbers(values)
        return self._speak(len(values), self._passes(Path(adapter), request, values, on_marked, balance))

    def has_answers(
        self,
        adapter: Path,
        request: PreviewRequest,
        values: Sequence[float] = LADDER,
        *,
        on_marked: bool = False,
        balance: Mapping[str, float] | None = None,
    ) -> bool:
        """Whether `answers` would find all of them in the cache."""
        passes = self._passes(Path(adapter), request, _numbers(values), on_marked, balance)
        kept = [self._kept(adapters, each) for adapters, each, _ in passes]
        return all(path is not None and path.is_file() for path in kept)

    @staticmethod
    def _passes(
        adapter: Path,
        request: PreviewRequest,
        values: tuple[float, ...],
        on_marked: bool,
        balance: Mapping[str, float] | None,
    ) -> list[_Pass]:
        """For the base, and for all other strengths of `values`."""
        still = [i for i, value in enumerate(values) if value == 0]
        moving = [i for i, value in enumerate(values) if value != 0]
        plain = balanced([values[i] for i in moving], balance)
        strength: Strength = OnMarked(plain) if on_marked else plain
        passes: list[_Pass] = [({}, dataclasses.replace(request, copies=1), still)] if still else []
        if moving:
            passes.append(({adapter: strength}, dataclasses.replace(request, copies=len(moving)), moving))
        return passes

    def _speak(self, count: int, passes: Sequence[_Pass]) -> Generator[tuple[Answer, ...], None, None]:
        said = [Answer()] * count
        for adapters, request, places in passes:
            for found in self._said(adapters, request):
                for place, answer in zip(places, itertools.cycle(found), strict=False):
                    said[place] = answer
                yield tuple(said)

    def _said(self, adapters: Mapping[Path, Strength], request: PreviewRequest) -> Iterator[tuple[Answer, ...]]:
        """The answers of all copies as they are said; those kept from an earlier time at once."""
        kept = self._kept(adapters, request)
        if kept and kept.is_file():
            # A damaged answer is one that has to be given again.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                yield tuple(map(Answer.from_dict, json.loads(kept.read_text(encoding="utf-8"))))
                return
        found: tuple[Answer, ...] = ()
        for found in relay(lambda: self._stream(adapters, request)):
            yield found
        if kept:
            write_text(kept, json.dumps([dataclasses.asdict(answer) for answer in found], ensure_ascii=False))

    def _kept(self, adapters: Mapping[Path, Strength], request: PreviewRequest) -> Path | None:
        if self.cache_dir is None:
            return None
        return self._folder(self._key(request, adapters), self.cache_dir) / "answers.json"

    def _stream(self, adapters: Mapping[Path, Strength], request: PreviewRequest) -> Iterator[tuple[Answer, ...]]:
        """In as many batches as it takes: what was said in one stays while the next is said."""
        most = min((self._most_rows(path) for path in adapters), default=request.copies)
        done: tuple[Answer, ...] = ()
        while len(done) < request.copies:
            rows = slice(len(done), min(len(done) + most, request.copies))
            later = (Answer(),) * (request.copies - rows.stop)
            found = later[:0]
            with self.at({path: _some(strength, rows) for path, strength in adapters.items()}) as parts:
                for result in self.family.stream(parts, dataclasses.replace(request, copies=rows.stop - rows.start)):
                    found = result.answers
                    yield (*done, *found, *later)
            done += found

    def has_ladder(
        self,
        adapter: Path,
        request: PreviewRequest,
        values: Sequence[float] = LADDER,
        balance: Mapping[str, float] | None = None,
    ) -> bool:
        """Whether `ladder` would find its pictures in the cache."""
        moving = [float(value) for value in values if value != 0]
        keys = [self._key(request, {}), self._key(request, {Path(adapter): balanced(moving, balance)})]
        return self.cache_dir is not None and all(self._folder(key, self.cache_dir).exists() for key in keys)

    def _one(self, adapters: Mapping[Path, Strength], request: PreviewRequest) -> Image.Image:
        key = self._key(request, adapters)
        return self._cached(key, 1, lambda: self._compute(adapters, dataclasses.replace(request, copies=1)))[0]

    def _sweep(
        self, adapter: Path, request: PreviewRequest, strength: Strength, others: Mapping[Path, Strength]
    ) -> list[Image.Image]:
        pictures: list[Image.Image] = []
        groups = strength if isinstance(strength, Mapping) else {"": strength}
        count = max(len(rows) for rows in groups.values() if isinstance(rows, Sequence))
        most = self._most_rows(adapter)
        for start in range(0, count, most):
            part = {name: rows[start : start + most] for name, rows in groups.items() if isinstance(rows, Sequence)}
            rows = min(most, count - start)
            pictures += self._compute({adapter: part, **others}, dataclasses.replace(request, copies=rows))
        return pictures

    def _most_rows(self, adapter: Path) -> int:
        """How many strengths of an adapter one pass can hold."""
        with self._lock:
            return _MAX_ROWS if self._use(adapter).rowwise else 1

    @contextlib.contextmanager
    def at(self, adapters: Mapping[Path, Strength]) -> Iterator[Any]:
        """Inside, the loaded base has these adapters at their strengths, and nobody else's."""
        with self._lock:
            if not adapters:
                # What is called the base has nothing attached, not something turned off.
                self._detach()
            values = {self._use(Path(path)).name: strength for path, strength in adapters.items()}
            with strengths(list(self._attached.values()), values):
                yield self.parts

    def _compute(self, adapters: Mapping[Path, Strength], request: PreviewRequest) -> list[Image.Image]:
        with self.at(adapters) as parts:
            return list(self.family.preview(parts, request).images)

    def _use(self, path: Path) -> Attached:
        """The adapter of a file, attached if it is not yet; the one attached longest ago makes room."""
        name = identity(path)
        if name not in self._attached:
            model = self.parts.model
            layers = read_adapter(path, shapes(model), whole_shapes(self.parts.extra))
            while len(self._attached) >= _MAX_ATTACHED:
                detach(model, self._attached.pop(next(iter(self._attached))))
            groups = match(layers, self.family.groups(self.parts))
            self._attached[name] = attach_weights(model, layers, groups, name)
        return self._attached[name]

    def _detach(self) -> None:
        while self._attached:
            detach(self.parts.model, self._attached.popitem()[1])

    def groups(self, path: Path) -> list[str]:
        """The groups of layers an adapter has (kept in the cache, so that a cached ladder needs no model)."""
        kept = self._groups_file(path)
        if kept and kept.is_file():
            with contextlib.suppress(OSError, ValueError):
                return list(json.loads(kept.read_text(encoding="utf-8")))
        with self._lock:
            found = sorted(set(self._use(Path(path)).groups.values()))
        if kept:
            write_text(kept, json.dumps(found))
        return found

    def knows_groups(self, path: Path) -> bool:
        """Whether `groups` finds its answer in the cache."""
        kept = self._groups_file(path)
        return kept is not None and kept.is_file()

    def _groups_file(self, path: Path) -> Path | None:
        if self.cache_dir is None:
            return None
        return self.cache_dir / "groups" / f"{self._fingerprint[:32]}-{identity(Path(path))}.json"

    def _key(self, request: PreviewRequest, adapters: Mapping[Path, Strength]) -> str:
        plain = json.dumps(
            [
                self.family.name,
                self._fingerprint,
                str(self.dtype),
                str(self.device),
                dataclasses.asdict(request) | {"picture": hashlib.sha256(request.picture).hexdigest()},
                {identity(Path(path)): value for path, value in adapters.items()},
            ],
            sort_keys=True,
            default=repr,
        )
        return hashlib.sha256(plain.encode()).hexdigest()

    @staticmethod
    def _folder(key: str, cache_dir: Path) -> Path:
        return cache_dir / key[:2] / key

    def _cached(self, key: str, count: int, make: Any) -> list[Image.Image]:
        if self.cache_dir is None:
            pictures: list[Image.Image] = make()
            return pictures
        folder = self._folder(key, self.cache_dir)
        if (folder / "done").exists():
            # A damaged picture is a picture that has to be made again.
            with contextlib.suppress(OSError, SyntaxError):
                return [_read(folder / f"{i}.png") for i in range(count)]
        pictures = make()
        for i, picture in enumerate(pictures):
            write_bytes(folder / f"{i}.png", png_bytes(picture))
        write_text(folder / "done", "")
        return pictures


def balanced(strength: float | Sequence[float], balance: Mapping[str, float] | None) -> Plain:
    """A strength (or one per row) of which some groups get a multiple."""
    moved = {name: factor for name, factor in (balance or {}).items() if factor != 1}
    if not moved:
        return strength
    if not isinstance(strength, Sequence):
        return {"": strength, **{name: strength * factor for name, factor in moved.items()}}
    return {"": strength, **{name: [each * factor for each in strength] for name, factor in moved.items()}}


def _some(strength: Any, rows: slice) -> Any:
    """What some rows of a batch have of a strength."""
    if isinstance(strength, OnMarked):
        return OnMarked(_some(strength.strength, rows))
    if isinstance(strength, Mapping):
        return {name: _some(each, rows) for name, each in strength.items()}
    return strength[rows] if isinstance(strength, Sequence) else strength


def _numbers(values: Sequence[float]) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if not found:
        raise ProblemsError("strengths is empty, must have at least one number")
    check_numbers("strengths", found)
    return found


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
