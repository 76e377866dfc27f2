"""What the supervisor knows about runs, in one SQLite file. The run folders are the truth about training: a lost or
damaged file is made anew from them (`lora_web.runs`), only titles and the line are forgotten then."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ProblemsError

from .text import say

_VERSION = 1
_TABLE = """CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, visitor TEXT NOT NULL, title TEXT NOT NULL, device TEXT NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, started REAL, ended REAL, trained REAL NOT NULL, code INTEGER, problems TEXT NOT NULL,
    pid INTEGER, birth TEXT, start INTEGER NOT NULL, place INTEGER,
    step INTEGER NOT NULL, steps INTEGER NOT NULL, loss REAL
)"""


@dataclass(frozen=True)
class Row:
    """One run. `state` is queued, running, finished, stopped, failed or interrupted."""

    id: str
    visitor: str
    title: str
    device: str
    state: str
    created: float
    # Of the latest launch.
    started: float | None = None
    ended: float | None = None
    # Seconds of all launches that have ended.
    trained: float = 0.0
    code: int | None = None
    problems: tuple[str, ...] = ()
    # The worker's process (see `processes`), and how long events.jsonl was when it was launched.
    pid: int | None = None
    birth: str | None = None
    start: int = 0
    # Order in line; None when it does not wait.
    place: int | None = None
    step: int = 0
    steps: int = 0
    loss: float | None = None


_COLUMNS = [field.name for field in dataclasses.fields(Row)]


class Store:
    """The rows, held by one server at a time. Not thread-safe: the supervisor holds its lock around every call.

    Raises ProblemsError when another server has the workspace, or when the file cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        # Where a damaged file was put, when there was one.
        self.damaged: Path | None = None
        try:
            self._db = self._open()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) and "busy" not in str(error):
                raise ProblemsError(say("store.unusable", name=path.name, reason=error)) from error
            raise ProblemsError(say("store.taken", folder=path.parent)) from error
        except sqlite3.DatabaseError:
            self._put_aside()
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=0.5, isolation_level=None, check_same_thread=False)
        try:
            # Held until the process ends, however it ends: this is what keeps a second server out.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            db.execute("BEGIN EXCLUSIVE")
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError(f"version {version}")
            db.execute(_TABLE)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute("COMMIT")
            if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("damaged")
            self._read(db, "")
        except (ValueError, TypeError, sqlite3.Error) as error:
            db.close()
            if isinstance(error, sqlite3.Error):
                raise
            raise sqlite3.DatabaseError(str(error)) from error
        return db

    def _put_aside(self) -> None:
        self.damaged = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self.path.replace(self.damaged)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).replace(f"{self.damaged}{suffix}")

    def close(self) -> None:
        """Let another server have the workspace."""
        self._db.close()

    def rows(self, visitor: str | None = None) -> list[Row]:
        """Every run, or those of one visitor; the oldest first."""
        return self._find("WHERE visitor = ?", visitor) if visitor else self._find("")

    def row(self, name: str) -> Row | None:
        """The run with this id."""
        return next(iter(self._find("WHERE id = ?", name)), None)

    def line(self) -> list[Row]:
        """The runs that wait, first come first."""
        return sorted(self._find("WHERE state = 'queued'"), key=lambda row: (row.place or 0, row.created))

    def add(self, row: Row) -> None:
        """A run that is not there yet."""
        values = [_to_column(getattr(row, name)) for name in _COLUMNS]
        self._write(f"INSERT INTO runs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(values))})", *values)

    def change(self, name: str, **values: Any) -> None:
        """Change columns of a run; nothing when it is not there."""
        columns = ", ".join(f"{column} = ?" for column in values)
        self._write(f"UPDATE runs SET {columns} WHERE id = ?", *map(_to_column, values.values()), name)

    def remove(self, name: str) -> None:
        """Forget a run."""
        self._write("DELETE FROM runs WHERE id = ?", name)

    def last_place(self) -> int:
        """A place behind all others in line."""
        return max((row.place or 0 for row in self.line()), default=0) + 1

    def _find(self, where: str, *values: Any) -> list[Row]:
        try:
            return self._read(self._db, where, *values)
        except sqlite3.Error as error:
            raise ProblemsError(say("store.unusable", name=self.path.name, reason=error)) from error

    def _write(self, sql: str, *values: Any) -> None:
        try:
            self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise ProblemsError(say("store.unusable", name=self.path.name, reason=error)) from error

    @staticmethod
    def _read(db: sqlite3.Connection, where: str, *values: Any) -> list[Row]:
        found = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM runs {where} ORDER BY created, rowid", values).fetchall()
        rows = (dict(zip(_COLUMNS, columns, strict=True)) for columns in found)
        return [Row(**{**row, "problems": tuple(map(str, json.loads(row["problems"])))}) for row in rows]


def _to_column(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else value
