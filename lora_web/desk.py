"""What the datasets of every kind have in common while a person works on them.

The dataset's folder holds exactly what a run is trained on, so starting a run is copying it. Beside it, in
`editing/<id>/`, lies what only the editors need: the version, small copies of pictures, and what was taken out (until
the page is opened again, so that taking out can be undone).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipelines.data.sources import ImportLimits, Named
from pipelines.errors import ProblemsError, shown
from pipelines.files import write_text

from .text import say
from .workspace import Visitor, new_token

_locks: dict[Path, threading.Lock] = {}
_making_locks = threading.Lock()


@dataclass(frozen=True)
class State:
    """What an editor keeps of a dataset: how often it was written, whether nobody has touched the example in it, and
    the number of the next row."""

    version: int = 0
    example: bool = False
    next: int = 1


class Desk(ABC):
    """One dataset of one visitor. Several pages may have it open: each change is made under a lock."""

    # Where the state lies, and the sentence for a run without samples.
    state_file: ClassVar[str]
    need: ClassVar[str]

    def __init__(self, visitor: Visitor, name: str):
        self.visitor = visitor
        self.folder = visitor.folder / "datasets" / name
        self.aside = visitor.folder / "editing" / name
        self.removed = self.aside / "removed"

    @property
    @abstractmethod
    def empty(self) -> bool:
        """Whether there is nothing to learn from."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody changes the dataset within the block (a run copies it there)."""
        with _making_locks:
            lock = _locks.setdefault(self.folder, threading.Lock())
        with lock:
            yield

    @contextmanager
    def incoming(self, sources: Sequence[Path | Named]) -> Iterator[tuple[Path, ImportLimits]]:
        """A folder to read uploads into, and how much of them may be read. Raises ProblemsError for too many.

        Read outside the lock: it may take a minute, and typing goes on meanwhile.
        """
        limits = self.visitor.check_files([one.path if isinstance(one, Named) else one for one in sources])
        folder = self.aside / f"incoming-{new_token()}"
        try:
            folder.mkdir(mode=0o700, parents=True)
            yield folder, limits
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def state(self) -> State:
        """What was noted last."""
        try:
            state = json.loads((self.aside / self.state_file).read_text(encoding="utf-8"))
            return State(int(state["version"]), state["example"] is True, int(state.get("next", 1)))
        except (OSError, ValueError, KeyError, TypeError):
            return State()

    def note(self, state: State) -> None:
        """Keep the state, after the dataset was written: a crash in between leaves a version too low, and the page asks
        for everything again."""
        self.make_folders()
        write_text(self.aside / self.state_file, json.dumps(dataclasses.asdict(state)))

    def make_folders(self) -> None:
        """There is nothing of a dataset before something is put into it."""
        for folder in (self.folder, self.aside):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def list_of(request: Mapping[str, Any], key: str) -> list[Any]:
    """A list in a request from a browser. Raises ProblemsError."""
    value = request.get(key, [])
    if not isinstance(value, list):
        raise ProblemsError(say("not_a_list", name=key, value=shown(value)))
    return value


def ids_of(request: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts in a request from a browser. Raises ProblemsError."""
    value = list_of(request, key)
    if not all(isinstance(name, str) for name in value):
        raise ProblemsError(say("not_a_list", name=key, value=shown(value)))
    return value
