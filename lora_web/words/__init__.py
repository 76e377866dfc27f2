"""Every sentence the page shows, by part of the page: key -> (English, Chinese)."""

from __future__ import annotations

from . import (
    answers,
    api,
    library,
    pictures,
    preflight,
    problems,
    regions,
    rows,
    runs,
    settings,
    site,
    strength,
    training,
)

_ABOUT_DATA = (pictures, rows, regions)
_ABOUT_RUNS = (settings, problems, preflight, training, runs)
PARTS = (api, site, *_ABOUT_DATA, *_ABOUT_RUNS, strength, answers, library)
WORDS: dict[str, tuple[str, str]] = {key: pair for part in PARTS for key, pair in part.WORDS.items()}
