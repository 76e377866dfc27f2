"""The one error a person is meant to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# The sentences that are said of settings again and again. A page in another language has its own for each kind.
KINDS = {
    "bool": "{name} is {got}, must be true or false",
    "text": "{name} is {got}, must be text",
    "choice": "{name} is {got}, must be one of {choices}",
    "length": "{name} has {got} characters, must have at most {limit}",
    "plain": "{name} contains a NUL or half a character, must be plain text",
    "whole": "{name} is {got}, must be a whole number",
    "number": "{name} is {got}, must be a number",
    "finite": "{name} is {got}, must be a finite number",
    "low": "{name} is {got}, must be at least {limit}",
    "high": "{name} is {got}, must be at most {limit}",
    "server": "{name} is {got}, this server allows at most {limit}",
    "multiple": "{name} is {got}, must be a multiple of {limit}",
    "unknown": "{name} is not a setting; {known}",
}


class Problem(str):
    """A sentence that still knows what it was made of: the kind, the parts, and the dotted name of the setting.

    It is text like any other problem; a page uses the parts to mark the field and to say it in another language.
    """

    kind: str
    parts: Mapping[str, Any]

    def __new__(cls, kind: str, **parts: Any) -> Problem:
        problem = super().__new__(cls, KINDS[kind].format(**parts))
        problem.kind, problem.parts = kind, parts
        return problem

    @property
    def name(self) -> str:
        return str(self.parts["name"])


class ProblemsError(ValueError):
    """Bad input: every problem found, one sentence each (got, expected, what to do).

    The command line prints one line per problem and exits 2; the page lists them; nothing shows a traceback.
    """

    def __init__(self, problems: str | Iterable[str]):
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class LeftOut(ProblemsError):
    """One sample cannot be used, and why; the others can."""


def shown(value: object) -> str:
    """A value as a sentence quotes it: its repr, cut to 60 characters. Never raises."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of more than 4300 digits
        text = "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."
