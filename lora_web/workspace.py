"""Where the page keeps things: one folder per visitor, reached only by names that cannot leave it.

workspace/
  secret                     key of the browser's own memory of the visitor
  served/                    copies the browser may fetch (Gradio's cache)
  ladders/                   cached preview pictures
  visitors/<token>/datasets/<id>/    imported pictures
  visitors/<token>/runs/<id>/        run folders
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ProblemsError

from .text import say

TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Limits:
    """What one visitor may bring; the page shows these numbers and the server enforces them."""

    file_bytes: int = 256 * 2**20
    files: int = 1000
    visitor_bytes: int = 4 * 2**30


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

    def runs_folder(self) -> Path:
        """Where new runs of this visitor go."""
        return _private(self.folder / "runs")

    def import_pictures(self, sources: Sequence[Path], keep: Path | None = None) -> str:
        """Read pictures into a new dataset, after those of the dataset `keep`, and return its id.

        Raises ProblemsError when nothing is usable, with the reason for each file; then nothing is changed.
        """
        from pipelines.data.samples import import_dataset

        self._check_quota(sources)
        name = new_token()
        target = _private(self.folder / "datasets") / name
        part = target.with_name(f"{name}.part")
        try:
            dataset = import_dataset([*([keep] if keep else []), *sources], part)
            if not dataset.samples:
                raise ProblemsError(dataset.rejected or say("no_picture_found"))
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return name

    def forget_dataset(self, name: Any) -> None:
        """Delete one of this visitor's datasets, if it is one."""
        folder = self.dataset(name)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)

    def _existing(self, kind: str, name: Any) -> Path | None:
        if not is_token(name):
            return None
        path = self.folder / kind / name
        return path if path.is_dir() and not path.is_symlink() else None

    def _check_quota(self, sources: Iterable[Path]) -> None:
        sources = list(sources)
        problems = []
        if len(sources) > self.limits.files:
            problems.append(
                f"{len(sources)} files were added at once, at most {self.limits.files} are allowed; "
                "put them in a zip file or add fewer"
            )
        total = sum(path.stat().st_size for path in sources if path.is_file())
        used = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        if used + total > self.limits.visitor_bytes:
            problems.append(
                f"your space holds {used / 2**20:.0f} MB and these files are {total / 2**20:.0f} MB, at most "
                f"{self.limits.visitor_bytes / 2**20:.0f} MB fit; discard a run or add fewer files"
            )
        if problems:
            raise ProblemsError(problems)


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

    def run_folders(self) -> list[Path]:
        """Every run of every visitor (for the supervisor, never for a page)."""
        return [
            path for path in self.visitors.glob("*/runs/*") if is_token(path.name) and is_token(path.parent.parent.name)
        ]


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
