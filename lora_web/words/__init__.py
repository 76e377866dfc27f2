"""Every sentence the page shows, by part of the page: key -> (English, Chinese)."""

from __future__ import annotations

from . import api, library, pictures, preflight, problems, regions, rows, runs, settings, site, strength, training

WORDS: dict[str, tuple[str, str]] = {
    key: pair
    for part in (api, site, pictures, rows, regions, settings, problems, preflight, training, runs, strength, library)
    for key, pair in part.WORDS.items()
}
