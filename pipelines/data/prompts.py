"""A prompt to try an adapter with: worded like the captions it learned from, about something it has not seen."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Everyday things, which every base can draw; simple shapes first, on which what an adapter adds is seen best.
_NOUNS = ("tree", "mushroom", "car", "moon", "penguin", "bicycle", "dog", "fox")
_ARTICLES = ("a", "the", "my", "one", "this")
_MAX_PART = 200


def suggest_prompt(captions: Sequence[str], trigger_word: str = "") -> str:
    """What all captions begin and end with, around the first noun that is in none of them; the trigger word leads when
    the captions do not have it already."""
    said = {word for caption in captions for word in re.findall(r"\w+", caption.lower())}
    noun = next((noun for noun in _NOUNS if noun not in said and f"{noun}s" not in said), _NOUNS[0])
    different = sorted(set(captions))
    before = after = ""
    if len(different) > 1:
        before = _begin(different)
        after = _begin([caption[len(before) :][::-1] for caption in different])[::-1]
    if before and before[-1].isalnum():
        before += ", "
    words = before.lower().split()
    article = "" if words and words[-1] in _ARTICLES else "a "
    prompt = f"{before[:_MAX_PART]}{article}{noun}{after[-_MAX_PART:]}".strip()
    trigger = trigger_word.strip()
    return prompt if trigger.lower() in prompt.lower() else f"{trigger}, {prompt}"


def _begin(texts: Sequence[str]) -> str:
    """What all texts begin with, ending where a word does in each of them."""
    first, last = min(texts), max(texts)
    # What the first and the last in alphabetical order share, all between them share too.
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    common = first[:shared]
    while common and any(len(t) > len(common) and re.match(r"\w\w", common[-1] + t[len(common)]) for t in texts):
        common = common[:-1]
    return common
