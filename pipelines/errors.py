"""The one error a person is meant to read."""

from __future__ import annotations

from collections.abc import Iterable


class ProblemsError(ValueError):
    """Bad input: every problem found, one sentence each (got, expected, what to do).

    The command line prints one line per problem and exits 2; the page lists them; nothing shows a traceback.
    """

    def __init__(self, problems: str | Iterable[str]):
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


def shown(value: object) -> str:
    """A value as a sentence quotes it: its repr, cut to 60 characters. Never raises."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of more than 4300 digits
        text = "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."
