"""Iterators whose steps must all happen in one thread, for consumers that are resumed from many."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def relay(make: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """What an iterator gives, computed in a thread of its own, ahead of whoever asks.

    Locks and PyTorch's modes belong to a thread, while a page resumes a generator from whichever thread is free.
    Closing this one ends the other at its next item.
    """
    passed: queue.SimpleQueue[tuple[bool, Item | BaseException | None]] = queue.SimpleQueue()
    unwanted = threading.Event()

    def work() -> None:
        try:
            items = make()
            with contextlib.closing(items) if isinstance(items, Generator) else contextlib.nullcontext():
                for item in items:
                    passed.put((True, item))
                    if unwanted.is_set():
                        break
        except BaseException as error:
            passed.put((False, error))
        else:
            passed.put((False, None))

    thread = threading.Thread(target=work, name="relay", daemon=True)
    thread.start()
    try:
        while True:
            more, item = passed.get()
            if not more:
                if isinstance(item, BaseException):
                    raise item
                return
            yield item  # type: ignore[misc]
    finally:
        unwanted.set()
        thread.join()
