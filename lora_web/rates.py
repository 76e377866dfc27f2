"""How often somebody may do something: a sliding hour per name."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

_HOUR = 3600.0
_MANY = 10_000


class HourlyRate:
    """Lets each name through `limit` times in any hour; 0 lets everybody through. Safe to call from several threads."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic):
        self.limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._times: dict[str, deque[float]] = {}

    def wait(self, name: str) -> float:
        """0 when this name may go on, which is then counted; else the seconds until it may."""
        if not self.limit:
            return 0.0
        now = self._clock()
        with self._lock:
            if len(self._times) > _MANY:
                self._times = {other: times for other, times in self._times.items() if now - times[-1] < _HOUR}
            times = self._times.setdefault(name, deque())
            while times and now - times[0] >= _HOUR:
                times.popleft()
            if len(times) >= self.limit:
                return _HOUR - (now - times[0])
            times.append(now)
            return 0.0
