"""Pictures and exported files for the page: torch is imported at the first one asked for, not before."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.bases import find_base, weight_of
from pipelines.data.regions import READ_REGIONS, Region, read_regions
from pipelines.errors import ProblemsError
from pipelines.family import PreviewRequest
from pipelines.registry import family_class

from .cards import remarks
from .entries import Entry
from .text import say
from .workspace import megabytes

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preview import PreviewSession

# What the slider can reach, and the rungs of its ladder.
SPANS = {
    "0 … 1.5": tuple(i / 4 for i in range(7)),
    "0 … 2": tuple(i / 4 for i in range(9)),
    "−1 … 1": tuple(i / 4 for i in range(-4, 5)),
    "−2 … 2": tuple(i / 2 for i in range(-4, 5)),
}
FORMS = ("diffusers", "kohya", "peft", "a1111")
_MERGED_LIMIT = 2 * 2**30
_GROUPS = 16
# What a page is told of a request, and sends back of it.
_REQUESTED = ("prompt", "negative_prompt", "seed", "steps", "guidance", "regions", "layout_scale", "layout_until")


@dataclass(frozen=True)
class Asked:
    """What a page wants to see: a request, the span of strengths, and what each group of layers gets of it."""

    request: PreviewRequest
    span: str = next(iter(SPANS))
    balance: Mapping[str, float] = field(default_factory=dict)

    @property
    def strengths(self) -> tuple[float, ...]:
        return SPANS[self.span]


def read_request(prompt: Any, negative: Any, seed: Any, steps: Any, guidance: Any, *layout: Any) -> PreviewRequest:
    """A preview request from component values; `layout` is none, or boxes, how much they count, and until when.

    Raises ProblemsError with every problem at once.
    """
    seed, steps = as_whole(seed), as_whole(steps)
    request = PreviewRequest(prompt, negative or "", seed, steps, as_float(guidance))
    problems: list[str] = []
    if layout:
        boxes, scale, until = layout
        request = replace(request, layout_scale=as_float(scale), layout_until=as_float(until))
        try:
            request = replace(request, regions=_read_boxes(boxes))
        except ProblemsError as error:
            problems.extend(error.problems)
    return checked(request, problems)


def checked(request: PreviewRequest, problems: Sequence[str] = (), empty: str = "need_prompt") -> PreviewRequest:
    """The request, or ProblemsError with these problems and all of its own at once; `empty` names what is said of a
    prompt without words, if anything is."""
    found = list(problems)
    try:
        request.validate()
    except ProblemsError as error:
        found.extend(error.problems)
    if not found and empty and not request.prompt.strip():
        found.append(say(empty))
    if found:
        raise ProblemsError(found)
    return request


def as_whole(value: Any) -> Any:
    """A number from a browser, which has one kind of them: of one request there must not be two names."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_float(value: Any) -> Any:
    """The same where it need not be whole."""
    # One with more digits than a float holds is left for the request to refuse.
    return float(value) if type(value) is int and abs(value) < 1e9 else value


def _read_boxes(boxes: Any) -> tuple[Region, ...]:
    """The boxes of a canvas, which may be untouched. Raises ProblemsError."""
    regions = read_regions([] if boxes is None else boxes, say("boxes"))
    if len(regions) > READ_REGIONS:
        raise ProblemsError(say("region.full", most=READ_REGIONS))
    return regions


def plain(request: PreviewRequest) -> dict[str, Any]:
    """A request as a page has it, in JSON types."""
    return {name: value for name, value in asdict(request).items() if name in _REQUESTED}


def read_asked(values: Any) -> Asked:
    """What a page asks for about a ladder it has. Raises ProblemsError for anything it could not have sent."""
    try:
        request, span, balance = values["request"], values["span"], values["balance"]
        found = Asked(read_request(*(request[name] for name in _REQUESTED)), span, dict(balance))
        fine = span in SPANS and is_balance(found.balance)
    except (TypeError, KeyError, ValueError):
        fine = False
    if not fine:
        raise ProblemsError(say("bad_request"))
    return found


def is_balance(values: Any) -> bool:
    """Whether a page may have sent it as multiples of the strength by group."""
    return isinstance(values, Mapping) and len(values) <= _GROUPS and all(map(_is_factor, values.values()))


def _is_factor(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -2 <= value <= 2


class Previews:
    """One preview session, kept for the base asked for last. The messages are what the ladder component takes."""

    def __init__(self, cache: Path):
        self._cache = cache
        self._lock = threading.Lock()
        # The session with what it was made for.
        self._held: tuple[Any, PreviewSession] | None = None

    def ready(self, entry: Entry) -> bool:
        """Whether the base of an adapter is loaded, so that drawing begins at once."""
        held = self._held
        return held is not None and held[0] == _base_of(entry) and held[1].loaded

    def session(self, entry: Entry) -> PreviewSession:
        """The session for the base of an adapter; that of another base goes first: two may not fit."""
        key = _base_of(entry)
        with self._lock:
            if self._held is None or self._held[0] != key:
                self._held = None
                self._held = key, self._made(key)
            return self._held[1]

    def reader(self, entry: Entry) -> PreviewSession:
        """A session for what is in the cache: for its sake no loaded base goes."""
        held, key = self._held, _base_of(entry)
        return held[1] if held is not None and held[0] == key else self._made(key)

    def _made(self, key: Any) -> PreviewSession:
        from pipelines.preview import PreviewSession

        return PreviewSession(*key, cache_dir=self._cache)

    def load(self, entry: Entry) -> None:
        """Load the base of an adapter."""
        _ = self.session(entry).parts

    def drawn(self, entry: Entry, asked: Asked) -> bool:
        """Whether a ladder is in the cache."""
        return self.reader(entry).has_ladder(entry.path, asked.request, asked.strengths, asked.balance)

    def recall(self, entry: Entry, asked: Asked) -> dict[str, Any] | None:
        """The ladder if it is in the cache: nothing is computed for it, nobody waits for it."""
        session = self.reader(entry)
        known = session.has_ladder(entry.path, asked.request, asked.strengths, asked.balance)
        return self._message(session, entry, asked) if known and session.knows_groups(entry.path) else None

    def ladder(self, entry: Entry, asked: Asked) -> dict[str, Any]:
        """The whole ladder, with the curve if it was measured."""
        return self._message(self.session(entry), entry, asked)

    @staticmethod
    def _message(session: PreviewSession, entry: Entry, asked: Asked) -> dict[str, Any]:
        from pipelines.curve import read_curve

        ladder = session.ladder(entry.path, asked.request, asked.strengths, balance=asked.balance)
        curve = read_curve(entry.home, entry.path)
        return {
            "kind": "ladder",
            "of": _name(entry, asked),
            "about": _name(entry, Asked(asked.request)),
            "strengths": list(ladder.strengths),
            "images": [data_uri(image) for image in ladder.images],
            "base": data_uri(ladder.base),
            "request": plain(asked.request),
            "span": asked.span,
            "balance": dict(asked.balance),
            "groups": session.groups(entry.path),
            "curve": asdict(curve) if curve else None,
            "recommended": curve.recommended if curve else None,
        }

    def exact(self, entry: Entry, asked: Asked, strength: Any) -> dict[str, Any]:
        """One picture between two rungs. Raises ProblemsError for a strength the slider cannot reach."""
        from pipelines.preview import balanced

        if not isinstance(strength, (int, float)) or not min(asked.strengths) <= strength <= max(asked.strengths):
            raise ProblemsError(say("bad_request"))
        strength = round(float(strength), 2)
        image = self.session(entry).render({entry.path: balanced(strength, asked.balance)}, asked.request)
        return {"kind": "exact", "of": _name(entry, asked), "strength": strength, "image": data_uri(image)}

    def zero(self, entry: Entry, asked: Asked) -> dict[str, Any]:
        """What comparing strength 0 with the base showed."""
        found = self.session(entry).at_zero(entry.path, asked.request)
        return {"kind": "zero", "of": _name(entry, asked), **asdict(found)}

    def adherence(self, entry: Entry, asked: Asked) -> Iterator[dict[str, Any]]:
        """In which boxes the judge finds what they ask for, at each strength; nothing for pictures it cannot read."""
        from pipelines.adherence import found_in_boxes, has_judge, readable

        regions = asked.request.regions
        if not regions or not readable(entry.base):
            return
        message: dict[str, Any] = {"kind": "adherence", "of": _name(entry, asked), "found": []}
        message["hint"] = say("adherence_missing")
        if has_judge():
            ladder = self.session(entry).ladder(entry.path, asked.request, asked.strengths, balance=asked.balance)
            found = found_in_boxes(ladder.images, regions)
            unknown = ", ".join(str(number) for number, row in enumerate(found, 1) if row is None)
            message |= {"found": found, "hint": say("adherence_unknown", boxes=unknown) if unknown else ""}
        yield message

    def curve(self, entry: Entry, asked: Asked) -> Iterator[dict[str, Any]]:
        """Measure the strength curve and keep it with the adapter. Raises ProblemsError without its samples."""
        if entry.dataset is None:
            raise ProblemsError(say("no_dataset"))
        from pipelines.curve import keep, measure, samples_of
        from pipelines.export import run_config

        session = self.session(entry)
        config = run_config(entry.home if (entry.home / "run.json").is_file() else entry.path, entry.base)
        steps = measure(session, entry.path, samples_of(session, entry.dataset.parent, config), asked.request)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as end:
                curve = end.value
                break
            yield {"kind": "wait", "text": say("waiting.curve", done=done + 1, total=total)}
        keep(curve, entry.home, entry.path)
        yield {"kind": "curve", "of": _name(entry, asked), "curve": asdict(curve)}

    def sheet(self, entries: Sequence[tuple[str, Entry]], asked: Asked) -> bytes:
        """A contact sheet, one row per adapter under its label, as a PNG file."""
        from pipelines.sheet import Sheet, strength_columns

        first, request = entries[0][1], asked.request
        rows = tuple(
            (label, self.session(each).ladder(each.path, request, asked.strengths, balance=asked.balance).images)
            for label, each in entries
        )
        base = Path(first.base).name
        facts = {**{name: str(value) for name, value in plain(request).items()}, "base": base}
        facts |= {"strengths": " ".join(strength_columns(asked.strengths)), "balance": json.dumps(dict(asked.balance))}
        facts["adapters"] = json.dumps([label or each.title for label, each in entries], ensure_ascii=False)
        heading = say("sheet_heading", **facts)
        return Sheet(heading, strength_columns(asked.strengths), rows, facts).png()


def _base_of(entry: Entry) -> Any:
    return entry.family, entry.base, entry.options


def _name(entry: Entry, asked: Asked) -> str:
    """Names a ladder, so that the page knows what a late answer is about."""
    from pipelines.adapters.identity import identity

    parts = [identity(entry.path), plain(asked.request), asked.span, dict(asked.balance)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def export_for_browser(entry: Entry, form: str, served: Path) -> Path:
    """The adapter in one form of its family, without a `form` in the usual one, at a path the browser may fetch.

    Raises ProblemsError.
    """
    forms = family_class(entry.family).forms
    form = form or forms[0]
    if form not in forms:
        raise ProblemsError(f"format is {form!r}, must be one of {', '.join(forms)}")
    if form == "merged":
        _check_light(entry.base)
    from pipelines.export import FOLDERS, export

    said = remarks(entry.path, entry.title)
    if form not in FOLDERS:
        output = served_path(entry, f"{form}.safetensors", served)
        export(entry.path, form, output, base=entry.base, remarks=said)
        return output
    output = served_path(entry, f"{form}.zip", served)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        export(entry.path, form, Path(folder) / form, base=entry.base, remarks=said)
        _pack(Path(folder) / form, Path(folder) / "packed.zip").replace(output)
    return output


def _check_light(base: str) -> None:
    """Raise ProblemsError for a base that is too large to be sent whole."""
    weight = weight_of(find_base(base))
    if weight is None or weight > _MERGED_LIMIT:
        size = megabytes(weight) if weight else say("merged_unknown")
        raise ProblemsError(say("merged_too_large", size=size, limit=megabytes(_MERGED_LIMIT)))


def _pack(folder: Path, target: Path) -> Path:
    """A folder as a zip file. Weights hardly shrink: they are not compressed."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return target


def served_path(entry: Entry, ending: str, served: Path) -> Path:
    """Where a file about an adapter is put that the browser may fetch, under a name a person can read."""
    word = "".join(c for c in entry.title if c.isascii() and c.isalnum())[:40] or "adapter"
    output = served / entry.home.name / f"{word}-{entry.home.name[:8]}-{ending}"
    output.parent.mkdir(parents=True, exist_ok=True)
    return output


def data_uri(picture: Image) -> str:
    """A picture as a data URI: exact for small ones, lightly compressed for large ones."""
    buffer = io.BytesIO()
    if picture.width * picture.height <= 256 * 256:
        # A better packed one is a few KB smaller and takes ten times as long.
        picture.save(buffer, "PNG", compress_level=1)
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
