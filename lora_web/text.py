"""`say`: the sentence with a key, in the language of the page that asked."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .words import WORDS

# Language codes in the order of the pairs in `words`, with the path a page in that language has.
LANGUAGES = {"en": "", "zh": "zh"}

_language: ContextVar[str] = ContextVar("language", default="en")


def say(key: str, **values: object) -> str:
    """The sentence with this key, its blanks filled in."""
    sentence = WORDS[key][list(LANGUAGES).index(_language.get())]
    return sentence.format(**values) if values else sentence


def language() -> str:
    """The code of the language spoken now."""
    return _language.get()


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Within the block, `say` speaks this language."""
    token = _language.set(code)
    try:
        yield
    finally:
        _language.reset(token)


def spoken(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler that speaks the language in which the page around it is being built."""
    code = language()

    @functools.wraps(handler)
    def answers(*values: Any) -> Iterator[Any]:
        found = handler(*values)
        # Whoever asks for the next answer may be another thread, which speaks the default language.
        while True:
            with speaking(code):
                try:
                    value = next(found)
                except StopIteration:
                    return
            yield value

    @functools.wraps(handler)
    def answer(*values: Any) -> Any:
        with speaking(code):
            return handler(*values)

    return answers if inspect.isgeneratorfunction(handler) else answer


def duration(seconds: float) -> str:
    """A span of time as a person would say it."""
    seconds = max(1, round(seconds))
    if seconds < 60:
        return say("seconds", count=seconds)
    minutes = round(seconds / 60)
    return say("minutes", count=minutes) if minutes < 60 else say("hours", hours=minutes // 60, minutes=minutes % 60)
