"""What files held when they were looked at last: a large one is not read again while it stays the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sized
from pathlib import Path
from typing import Generic, TypeVar

Held = TypeVar("Held", bound=Sized)
Stamp = tuple[int, int, int]


class Recent(Generic[Held]):
    """The contents of the files that were asked for last, `most` things in all; of one file even if it has more."""

    def __init__(self, most: int):
        self.most = most
        self._held: OrderedDict[Path, tuple[Stamp, Held]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> Held | None:
        """What the file holds, if that is known. Raises OSError when there is no such file."""
        now = stamp(path)
        with self._lock:
            then, held = self._held.get(path, (None, None))
            if then != now:
                return None
            self._held.move_to_end(path)
            return held

    def put(self, path: Path, then: Stamp, held: Held) -> None:
        """Keep what the file held when its stamp was `then`."""
        with self._lock:
            self._held[path] = (then, held)
            self._held.move_to_end(path)
            while len(self._held) > 1 and sum(len(one) for _, one in self._held.values()) > self.most:
                self._held.popitem(last=False)


def stamp(path: Path) -> Stamp:
    """Differs when a file was written anew."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
