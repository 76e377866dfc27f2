"""The measurement of the run a visitor is setting up: one at a time on this server, and never beside a training."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipelines import measure
from pipelines.config import RunConfig
from pipelines.errors import ProblemsError
from pipelines.measure import Measured, Measuring

# A page asks about every second while it waits (a busy machine lets it wait for its turn); one that has not asked for
# so long is closed.
_FORGOTTEN = 60.0


class Measures:
    """Answers what is known, and measures what is asked for twice: the form stood still in between."""

    def __init__(self, cache: Path, busy: Callable[[], bool]):
        self._cache, self._busy = cache, busy
        self._lock = threading.Lock()
        self._running: Measuring | None = None
        self._owner = ""
        self._asked = 0.0
        self._last: dict[str, str] = {}
        self._failed: dict[str, Measured] = {}
        atexit.register(self.cancel)

    @property
    def busy(self) -> bool:
        """Whether a training is going on, beside which nothing is measured."""
        return self._busy()

    def ask(self, owner: str, config: RunConfig, dataset: Path) -> Measured | None:
        """What is known of a valid config on a dataset, or None; ask again in a second."""
        with self._lock:
            try:
                key = measure.key_of(config)
            except ProblemsError as error:
                return Measured(problems=error.problems)
            self._collect()
            found = measure.known(key, self._cache) or self._failed.get(key)
            again = self._last.get(owner) == key
            self._last[owner] = key
            if found:
                self._last.pop(owner)
                return found
            if self._running and self._owner == owner:
                if self._running.key == key and not self.busy:
                    self._asked = time.monotonic()
                    return None
                self._end()
            if self._running is None and again and not self.busy:
                self._running = measure.start(config, dataset, self._cache)
                self._owner, self._asked = owner, time.monotonic()
            return None

    def cancel(self, owner: str | None = None) -> None:
        """End the measurement of this visitor (of anyone, without one): a training is about to start."""
        with self._lock:
            if owner in (None, self._owner):
                self._end()

    def _collect(self) -> None:
        """Take in what has ended, and end what nobody waits for."""
        if self._running is None:
            return
        found = self._running.poll()
        if found is not None:
            if found.problems:
                # Kept until the server ends: the same settings would fail in the same way, and cost as much.
                self._failed[self._running.key] = found
            self._running = None
        elif time.monotonic() - self._asked > _FORGOTTEN:
            self._end()

    def _end(self) -> None:
        if self._running:
            self._running.cancel()
            self._running = None
