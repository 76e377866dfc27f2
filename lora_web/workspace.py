"""Where the page keeps things: one folder per visitor, reached only by names that cannot leave it.

workspace/
  runs.sqlite3               what the supervisor knows about runs (`lora_web.store`)
  secret                     key of the browser's own memory of the visitor
  served/                    copies the browser may fetch (Gradio's cache)
  ladders/                   cached preview pictures
  visitors/<token>/seen              its time is when the visitor was here last
  visitors/<token>/datasets/<id>/    imported pictures
  visitors/<token>/editing/<id>/     what only the editor of those pictures needs
  visitors/<token>/runs/<id>/        run folders
  visitors/<token>/adapters/<id>/    adapters brought from elsewhere
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import DataConfig, RunConfig
from pipelines.errors import Problem, ProblemsError
from pipelines.registry import family_class

from .text import say

if TYPE_CHECKING:
    from pipelines.data.sources import ImportLimits

TOKEN = re.compile(r"[0-9a-f]{32}")
_SEEN_EVERY = 60.0


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask for: the page shows these numbers, and the server refuses whatever goes beyond them.

    `LORA_WEB_<NAME>` in the environment sets one (LORA_WEB_STEPS=2000). 0 is no limit where `UNLIMITED` says so.
    """

    file_bytes: int = 256 * 2**20
    files: int = 4000
    pictures: int = 2000
    rows: int = 200_000
    visitor_bytes: int = 4 * 2**30
    steps: int = 1_000_000
    resolution: int = 2048
    rank: int = 512
    batch_size: int = 1024
    run_minutes: int = 0
    queue: int = 100
    runs: int = 100
    starts_per_hour: int = 0
    uploads_per_hour: int = 0
    keep_hours: int = 0

    @staticmethod
    def read(hosted: bool, environment: Mapping[str, str]) -> Limits:
        """Those of this server: for strangers or for its owner, with what the environment sets.

        Raises ProblemsError with every variable that is not a number.
        """
        start, found, problems = HOSTED if hosted else Limits(), {}, []
        for name in (spec.name for spec in fields(Limits)):
            text = environment.get(f"LORA_WEB_{name.upper()}", "").strip()
            least = 0 if name in UNLIMITED else 1
            if text.isdecimal() and len(text) < 16 and int(text) >= least:
                found[name] = int(text)
            elif text:
                problems.append(f"LORA_WEB_{name.upper()} is {text[:40]!r}, must be a whole number of at least {least}")
        if problems:
            raise ProblemsError(problems)
        return replace(start, **found)

    def check(self, config: RunConfig) -> list[Problem]:
        """The settings of a run that go beyond these limits, as sentences."""
        asked = {
            "train.steps": (config.train.steps, self.steps),
            "train.batch_size": (config.train.batch_size, self.batch_size),
            "adapter.rank": (config.adapter.rank, self.rank),
            "data.resolution": (config.data.resolution, self.resolution),
        }
        return [
            Problem("server", name=name, got=value, limit=limit)
            for name, (value, limit) in asked.items()
            if value > limit
        ]

    def check_samples(self, pictures: int, rows: int) -> None:
        """Raise ProblemsError for a dataset with more pictures or rows than one may have."""
        if pictures > self.pictures:
            raise ProblemsError(say("too_many_pictures", count=pictures, limit=self.pictures))
        if rows > self.rows:
            raise ProblemsError(say("too_many_rows", count=rows, limit=self.rows))

    def check_side(self, side: int) -> None:
        """Raise ProblemsError for a picture that is larger than this server makes."""
        if side > self.resolution:
            raise ProblemsError(say("over_limit", name="width or height", value=side, limit=self.resolution))


UNLIMITED = ("run_minutes", "starts_per_hour", "uploads_per_hour", "keep_hours")
# For strangers on a shared machine: a training of a bundled base fits many times over.
HOSTED = Limits(
    file_bytes=64 * 2**20,
    files=500,
    pictures=500,
    rows=50_000,
    visitor_bytes=2**30,
    steps=5000,
    resolution=1024,
    rank=128,
    batch_size=32,
    run_minutes=60,
    queue=20,
    runs=2,
    starts_per_hour=20,
    uploads_per_hour=500,
    keep_hours=48,
)


def new_token() -> str:
    """An unguessable name: 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def is_token(value: Any) -> bool:
    """Whether a value from a browser is a name this program could have made."""
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


def write_atomically(path: Path, text: str) -> None:
    """Write a small text file so that a reader or a crash never sees half of it."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


@dataclass(frozen=True)
class Visitor:
    """One browser's own corner of the workspace."""

    token: str
    folder: Path
    limits: Limits

    def dataset(self, name: Any) -> Path | None:
        """The folder of one of this visitor's datasets, or None for anything else."""
        return self._existing("datasets", name)

    def run(self, name: Any) -> Path | None:
        """The folder of one of this visitor's runs, or None for anything else."""
        return self._existing("runs", name)

    def adapter(self, name: Any) -> Path | None:
        """The folder of one of the adapters this visitor brought, or None for anything else."""
        return self._existing("adapters", name)

    def adapters_folder(self) -> Path:
        """Where adapters that this visitor brings go."""
        return _private(self.folder / "adapters")

    def runs_folder(self) -> Path:
        """Where new runs of this visitor go."""
        return _private(self.folder / "runs")

    def run_folders(self) -> list[Path]:
        """Every run of this visitor that has settings."""
        found = (self.folder / "runs").glob("*")
        return [path for path in found if is_token(path.name) and (path / "run.json").is_file()]

    def new_dataset(self) -> str:
        """Make an empty dataset and return its id."""
        name = new_token()
        _private(self.folder / "datasets" / name)
        return name

    def import_samples(self, sources: Sequence[Path], family: str) -> str:
        """Read what a family learns from into a new dataset and return its id.

        Raises ProblemsError when nothing is usable, with the reason for each file; then nothing is changed.
        """
        from pipelines.data.dialogues import TABLE
        from pipelines.data.readers import READERS
        from pipelines.data.samples import METADATA

        reader = READERS[family_class(family).reads]
        limits = self.check_files(sources)
        name = new_token()
        target = _private(self.folder / "datasets") / name
        part = target.with_name(f"{name}.part")
        try:
            reader.bring(sources, part, limits.total_bytes)
            reader.read(part, DataConfig())
            self.limits.check_samples(_lines(part / METADATA), _lines(part / TABLE))
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return name

    def forget_dataset(self, name: Any) -> None:
        """Delete one of this visitor's datasets, if it is one."""
        folder = self.dataset(name)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(self.folder / "editing" / folder.name, ignore_errors=True)

    def _existing(self, kind: str, name: Any) -> Path | None:
        if not is_token(name):
            return None
        path = self.folder / kind / name
        return path if path.is_dir() and not path.is_symlink() else None

    def check_files(self, sources: Sequence[Path]) -> ImportLimits:
        """Whether these files may be read into this visitor's space, and how much of them. Raises ProblemsError."""
        from pipelines.data.sources import ImportLimits

        if len(sources) > self.limits.files:
            raise ProblemsError(say("too_many_files", count=len(sources), limit=self.limits.files))
        self.check_room(sum(path.stat().st_size for path in sources if path.is_file()))
        # A zip file may hold far more than its own size.
        return ImportLimits(total_bytes=max(1, self.limits.visitor_bytes - self.used_bytes()))

    def used_bytes(self) -> int:
        """What everything this visitor keeps here takes up."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def check_room(self, more: int) -> None:
        """Raise ProblemsError when so many further bytes do not fit into this visitor's space."""
        used = self.used_bytes()
        if used + more > self.limits.visitor_bytes:
            raise ProblemsError(
                say("no_room", used=megabytes(used), more=megabytes(more), limit=megabytes(self.limits.visitor_bytes))
            )

    def seen(self) -> None:
        """Note that this visitor is here; who is not seen for long may be forgotten."""
        mark = self.folder / "seen"
        try:
            if not mark.exists() or time.time() - mark.stat().st_mtime > _SEEN_EVERY:
                mark.touch()
        except OSError:
            # Nothing is kept of this visitor yet.
            return

    def last_seen(self) -> float:
        """When this visitor was here last, in seconds since the epoch."""
        mark = self.folder / "seen"
        return (mark if mark.exists() else self.folder).stat().st_mtime

    def forget(self) -> None:
        """Delete everything of this visitor. Runs must have ended."""
        # Under a name that no page can ask for, in case deleting takes long or fails halfway.
        gone = self.folder.with_name(f"{self.token}.gone")
        if self.folder.exists():
            self.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


class Workspace:
    """The folder everything is kept in; created when missing, readable by its owner only."""

    def __init__(self, root: Path, limits: Limits | None = None):
        self.root = _private(root.expanduser().resolve())
        self.limits = limits or Limits()
        self.ladders = _private(self.root / "ladders")
        self.visitors = _private(self.root / "visitors")

    @property
    def secret(self) -> str:
        """The key with which the browser's stored state is encrypted; the same after a restart."""
        path = self.root / "secret"
        try:
            found = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            found = ""
        if not is_token(found):
            found = new_token()
            write_atomically(path, found)
            path.chmod(0o600)
        return found

    def visitor(self, token: Any) -> Visitor:
        """The visitor with this token; a new one for anything that is not a token."""
        name = token if is_token(token) else new_token()
        return Visitor(name, self.visitors / name, self.limits)

    def known_visitors(self) -> list[Visitor]:
        """Every visitor of whom something is kept."""
        return [self.visitor(path.name) for path in self.visitors.iterdir() if is_token(path.name)]

    def run_folders(self) -> list[Path]:
        """Every run of every visitor (for the supervisor, never for a page)."""
        return [
            path for path in self.visitors.glob("*/runs/*") if is_token(path.name) and is_token(path.parent.parent.name)
        ]


def megabytes(count: float) -> str:
    """A number of bytes as a person reads it."""
    return f"{count / 2**30:.3g} GB" if count >= 2**30 else f"{count / 2**20:.3g} MB"


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
