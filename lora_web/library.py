"""The library of a visitor: the adapters their runs have learned, and those they brought from other tools.

An adapter that was brought has a folder of its own, `visitors/<token>/adapters/<id>/`; that of a run is in the run's
folder. What a person said of either is beside its file (`lora_web.cards`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.adapters.contents import PEFT_CONFIG, PEFT_TENSORS, inspect, read_header
from pipelines.adapters.metadata import thumbnail as header_picture
from pipelines.bases import BUNDLED, find_base
from pipelines.config import RunConfig
from pipelines.errors import ProblemsError
from pipelines.registry import FAMILIES, family_class, options_class, reading

from . import cards
from .entries import Entry, of_run
from .folders import ADAPTER
from .previews import data_uri, thumbnail
from .text import say
from .workspace import Visitor, new_token

if TYPE_CHECKING:
    from .site import Site

_CHUNK = 2**20


@dataclass(frozen=True)
class Card:
    """An adapter as the library shows it. `facts` are those of `pipelines inspect`; `source` is the name of the file it
    came in, empty for one that was trained here; `picture` is a data URI, or empty."""

    id: str
    entry: Entry
    facts: dict[str, Any]
    source: str
    added: datetime
    picture: str


class Library:
    """Every visitor's adapters. Methods take a visitor and ids; what is not theirs is not there."""

    def __init__(self, site: Site):
        self.site = site

    def cards(self, visitor: Visitor) -> list[Card]:
        """All adapters of a visitor, the newest first."""
        names = [path.name for kind in ("adapters", "runs") for path in (visitor.folder / kind).glob("*")]
        found = [card for name in names if (card := self.card(visitor, name))]
        return sorted(found, key=lambda card: card.added, reverse=True)

    def card(self, visitor: Visitor, name: Any) -> Card | None:
        """One adapter with all that is known of it, or None."""
        entry = self._find(visitor, name)
        if entry is None:
            return None
        try:
            facts = inspect(entry.path)
        except ProblemsError as error:
            facts = {"problems": list(error.problems)}
        said = cards.read_card(entry.path)
        # The file of a run's adapter is written again when something is measured of it; what happened in a run is not.
        log = entry.home / "events.jsonl"
        when = said.get("added") or (log if log.exists() else entry.path).stat().st_mtime
        added = datetime.fromtimestamp(float(when), timezone.utc)
        picture = cards.cover_uri(entry.path) or _last_preview(entry.home)
        return Card(str(name), entry, facts, str(said.get("source", "")), added, picture)

    def entry(self, visitor: Visitor, name: Any) -> Entry:
        """The adapter with this id. Raises ProblemsError when this visitor has none."""
        found = self._find(visitor, name)
        if found is None:
            raise ProblemsError(say("library.gone"))
        return found

    def take_in(self, visitor: Visitor, upload: Path, base: str = "") -> str:
        """Check an uploaded file against its base, keep it and return its id.

        `base` stands in for one that the file does not name. Raises ProblemsError with every problem; then nothing is
        kept.
        """
        visitor.check_room(upload.stat().st_size)
        name = new_token()
        folder = visitor.adapters_folder() / name
        part = folder.with_name(f"{name}.part")
        try:
            part.mkdir(mode=0o700)
            source = _unpacked(upload, part / "peft") if upload.suffix == ".zip" else upload
            facts = inspect(source)
            if facts["problems"]:
                raise ProblemsError(f"{upload.name}: {problem}" for problem in facts["problems"])
            config = self._fitting(source, self._base(visitor, upload.name, facts, base), facts)
            _keep(source, part, config)
            title = facts["title"] or upload.stem
            self._note(part / ADAPTER.name, title[: cards.TITLE_LENGTH], upload.name, config)
            part.rename(folder)
        except OSError as error:
            raise ProblemsError(say("library.unstored", name=upload.name, reason=error.strerror or error)) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return name

    def rename(self, visitor: Visitor, name: Any, title: Any) -> None:
        """Give an adapter another title. Raises ProblemsError."""
        cards.write_card(self.entry(visitor, name).path, title=cards.read_title(title))

    def delete(self, visitor: Visitor, name: Any) -> None:
        """Delete an adapter; the run that learned it stays. Raises ProblemsError."""
        folder = self.entry(visitor, name).path.parent
        # Under a name that no page can ask for, in case deleting takes long or fails halfway.
        gone = folder.with_name(f"{folder.name}.{new_token()[:8]}.gone")
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def layers(self, visitor: Visitor, name: Any) -> list[dict[str, Any]]:
        """One row for each layer of an adapter (`pipelines.fit.Fit.table`). Raises ProblemsError."""
        from pipelines.fit import fit

        entry = self.entry(visitor, name)
        return fit(entry.path, RunConfig(entry.family, entry.base, options=entry.options)).table()

    def _find(self, visitor: Visitor, name: Any) -> Entry | None:
        folder = visitor.adapter(name)
        if folder and (folder / ADAPTER.name).is_file():
            said = cards.read_card(folder / ADAPTER.name)
            family, base = str(said.get("family", "")), str(said.get("base", ""))
            if family not in FAMILIES:
                return None
            options = _options(family, said.get("options", {}))
            return Entry(folder / ADAPTER.name, family, base, options, str(said.get("title", "")), folder)
        run = visitor.run(name)
        if run and (run / ADAPTER).is_file() and not self.site.supervisor.status(run).active:
            with contextlib.suppress(ProblemsError):
                return of_run(run)
        return None

    def bases(self, visitor: Visitor) -> list[str]:
        """The bases a file may mean: bundled ones, those this server offers, those this visitor has used."""
        brought = visitor.folder.glob(f"adapters/*/{ADAPTER.name}")
        used = [str(cards.read_card(path).get("base", "")) for path in brought]
        for path in visitor.folder.glob("runs/*/run.json"):
            with contextlib.suppress(ProblemsError):
                used.append(RunConfig.load(path).base)
        offered = os.environ.get("LORA_WEB_BASES", "").split(",")
        return list(dict.fromkeys(base for base in [*BUNDLED, *offered, *used] if base))

    def _base(self, visitor: Visitor, file: str, facts: dict[str, Any], chosen: str) -> str:
        """The base to check a file against. Raises ProblemsError when neither person nor file names one."""
        if chosen:
            return chosen
        named = facts["base"]
        for base in self.bases(visitor) if named else ():
            same = named in (base, Path(base).name)
            if same and not facts["base_sha256"]:
                return base
            with contextlib.suppress(ProblemsError):
                if facts["base_sha256"] and find_base(base).fingerprint == facts["base_sha256"]:
                    return base
        hint = say("library.made_for", kind=facts["made_for"]) if facts["made_for"] else ""
        key = "library.base_elsewhere" if named else "library.base_unnamed"
        raise ProblemsError(f"{say(key, name=file, base=named)} {hint}".strip())

    def _fitting(self, path: Path, base: str, facts: dict[str, Any]) -> RunConfig:
        """The config of the family whose base this is, if the adapter fits it. Raises ProblemsError."""
        from pipelines.fit import fit

        self.site.check(RunConfig(base=base))
        said = facts["config"] or {}
        named = str(said.get("family"))
        known = BUNDLED[base].families if base in BUNDLED else reading(find_base(base))
        problems: tuple[str, ...] = ()
        for family in [named] if named in known else known:
            # What was trained whole fits only with the options it was trained with, and what answers is asked as it was
            # trained to be; anything else is tried with the options of every run.
            own = family == named and (facts["variant"] == "whole" or family_class(family).answers)
            config = RunConfig(family, base, options=_options(family, said.get("options", {}) if own else {}))
            try:
                fit(path, config)
                return config
            except ProblemsError as error:
                problems = problems or error.problems
        raise ProblemsError(problems)

    @staticmethod
    def _note(adapter: Path, title: str, source: str, config: RunConfig) -> None:
        now = datetime.now(timezone.utc).timestamp()
        cards.write_card(
            adapter,
            title=title,
            source=source,
            family=config.family,
            base=config.base,
            options=asdict(config.options),
            added=now,
        )
        with contextlib.suppress(ProblemsError):
            cards.set_cover(adapter, header_picture(read_header(adapter)))


def _options(family: str, said: Any) -> Any:
    """A family's options as a file or a card states them, or those of every run where that cannot be read. Further
    models that only training needs are left out: they were on another machine."""
    found = options_class(family)()
    with contextlib.suppress(ProblemsError):
        found = RunConfig.from_dict({"family": family, "options": said}).options
    return replace(found, **{each.name: "" for each in fields(found) if each.metadata["model"]})


def _keep(source: Path, folder: Path, config: RunConfig) -> None:
    """Copy a file as it is; a PEFT folder becomes one file."""
    target = folder / ADAPTER.name
    if source.is_file():
        shutil.copyfile(source, target)
        return
    from pipelines.export import keep

    keep(source, config, target)
    shutil.rmtree(source)


def _unpacked(upload: Path, target: Path) -> Path:
    """The PEFT folder in a zip file, unpacked to `target`; only its two files are. Raises ProblemsError."""
    try:
        with zipfile.ZipFile(upload) as archive:
            inside = {Path(info.filename).name: info for info in archive.infolist()}
            if not {PEFT_CONFIG, PEFT_TENSORS} <= inside.keys():
                raise ProblemsError(say("library.zip", name=upload.name, first=PEFT_CONFIG, second=PEFT_TENSORS))
            # Compressed weights hardly shrink: what is much larger than its zip file is no adapter.
            room = 4 * upload.stat().st_size + _CHUNK
            target.mkdir()
            for name in (PEFT_CONFIG, PEFT_TENSORS):
                with archive.open(inside[name]) as packed, (target / name).open("wb") as file:
                    while chunk := packed.read(_CHUNK):
                        room -= len(chunk)
                        if room < 0:
                            raise ProblemsError(say("library.zip_bomb", name=upload.name))
                        file.write(chunk)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ProblemsError(say("library.zip_damaged", name=upload.name)) from error
    return target


def _last_preview(run: Path) -> str:
    """The newest picture a run drew while it trained, as a small data URI, or nothing."""
    path = max(run.glob("previews/step-*-0.png"), default=None)
    return data_uri(thumbnail(path)) if path else ""
