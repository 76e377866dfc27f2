"""What a run's events.jsonl says, read as it grows."""

from __future__ import annotations

import math
import statistics
from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from pipelines.events import Event, Failed, Finished, Prepared, Previewed, Step, Stopped, Validated, from_json

_CHUNK = 1 << 22
# A validation loss this much above its lowest is a clear rise; noise between validations is smaller, because their
# noise is the same every time.
_CLEARLY = 1.05


class Journal:
    """Reads only what was appended since the last `update`. Not thread-safe: the owner holds a lock."""

    def __init__(self, path: Path):
        self.path = path
        self._reset()

    def _reset(self) -> None:
        self.offset = 0
        self.step = self.steps = 0
        self.at = array("q")
        self.losses = array("d")
        # What the losses are made of, by name; NaN at steps that did not say.
        self.figures: dict[str, array[float]] = {}
        self.prepared: Prepared | None = None
        self.ending: Finished | Stopped | Failed | None = None
        self.ending_offset = 0
        self.pace: deque[float] = deque(maxlen=20)
        self.memory = 0
        self.validations: dict[int, float] = {}
        self.perplexities: dict[int, float] = {}
        self.previews: dict[int, Previewed] = {}

    def update(self) -> None:
        """Read what is new; a line still being written waits for the next time."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return
        if size < self.offset:
            self._reset()
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            while chunk := stream.read(_CHUNK):
                whole = chunk.rfind(b"\n") + 1
                if not whole:
                    return
                for line in chunk[:whole].splitlines(keepends=True):
                    self.offset += len(line)
                    self._take(line)
                stream.seek(self.offset)

    def _take(self, line: bytes) -> None:
        try:
            event: Event = from_json(line.decode("utf-8"))
        except (ValueError, TypeError):
            return
        if isinstance(event, Prepared):
            self.prepared, self.ending = event, None
            self.step, self.steps = event.step, event.steps
            self.pace.clear()
            # A resumed run repeats the steps after its checkpoint.
            while self.at and self.at[-1] > event.step:
                self.at.pop()
                self.losses.pop()
                for values in self.figures.values():
                    values.pop()
            self.validations = {step: loss for step, loss in self.validations.items() if step <= event.step}
            self.perplexities = {step: told for step, told in self.perplexities.items() if step <= event.step}
        elif isinstance(event, Step):
            self.step, self.steps = event.step, event.steps
            self.at.append(event.step)
            for name in event.figures.keys() - self.figures.keys():
                self.figures[name] = array("d", [math.nan] * len(self.losses))
            for name, values in self.figures.items():
                values.append(event.figures.get(name, math.nan))
            self.losses.append(event.loss)
            self.pace.append(event.seconds)
            self.memory = event.memory
        elif isinstance(event, Validated):
            self.validations[event.step] = event.loss
            if event.perplexity is not None:
                self.perplexities[event.step] = event.perplexity
        elif isinstance(event, Previewed):
            self.previews[event.step] = event
        elif isinstance(event, (Finished, Stopped, Failed)):
            self.ending, self.ending_offset = event, self.offset

    @property
    def seconds_left(self) -> float | None:
        """Steps left times the median duration of the latest ones, or None before the first."""
        if not self.pace:
            return None
        return statistics.median(self.pace) * max(0, self.steps - self.step)

    @property
    def last_loss(self) -> float | None:
        """The smoothed loss at the end of the curve."""
        curve = self.curve()
        return curve[-1][2] if curve else None

    @property
    def speed(self) -> float | None:
        """Steps in a second, from the median duration of the latest ones."""
        return 1 / max(1e-9, statistics.median(self.pace)) if self.pace else None

    @property
    def overfit(self) -> tuple[int, float] | None:
        """When validation loss has clearly risen: the step at which it was lowest, and by what share it rose since."""
        kept = {step: loss for step, loss in self.validations.items() if step and math.isfinite(loss)}
        if len(kept) < 3:
            return None
        best = min(kept, key=lambda step: (kept[step], step))
        since = [loss for step, loss in kept.items() if step > best][-2:]
        if len(since) < 2 or min(since) < _CLEARLY * kept[best] or kept[best] <= 0:
            return None
        return best, since[-1] / kept[best] - 1

    def curve(self, points: int = 400) -> list[tuple[int, float, float]]:
        """(step, loss, smoothed loss), thinned to at most `points` by averaging neighbours.

        The smoothed loss is an exponential moving average over the last tenth of the run, corrected for its start.
        """
        kept = [(s, x) for s, x in zip(self.at, self.losses, strict=True) if math.isfinite(x)]
        decay = 1 - 1 / max(2.0, min(50.0, len(kept) / 5))
        total = weight = 0.0
        smooth = []
        stride = max(1, math.ceil(len(kept) / points))
        for _, loss in kept:
            total = decay * total + (1 - decay) * loss
            weight = decay * weight + (1 - decay)
            smooth.append(total / weight)
        ends = iter(smooth[stride - 1 :: stride] + smooth[-1:])
        return [(step, loss, next(ends)) for step, loss in _thinned(kept, stride)]

    def blocks(self, points: int = 60) -> list[list[tuple[int, float]]]:
        """For each block that learns from a teacher (step, distance), thinned to at most `points`."""
        found = []
        for number in range(1, len(self.figures) + 1):
            pairs = zip(self.at, self.figures.get(f"block {number}", ()), strict=False)
            kept = [(step, value) for step, value in pairs if math.isfinite(value)]
            if kept:
                found.append(_thinned(kept, max(1, math.ceil(len(kept) / points))))
        return found


def _thinned(rows: Sequence[tuple[int, float]], stride: int) -> list[tuple[int, float]]:
    """The last step and the mean of every `stride` rows."""
    parts = [rows[start : start + stride] for start in range(0, len(rows), stride)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
