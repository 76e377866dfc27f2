"""What is odd about dialogues, told by their words alone: no tokenizer is at hand before a run."""

from __future__ import annotations

from collections.abc import Sequence

from .dialogues import Dialogue

# Characters of a token: of a language written in letters, and of one with a sign for a word.
_LETTERS, _SIGNS = 4.0, 1.5
_ENDS = tuple(".!?…。！？：:;；)]}）】」』\"'”’»`*_-—~|>")
_MOST = 0.8


def tokens(dialogue: Dialogue) -> int:
    """About how many tokens a dialogue has."""
    text = "".join(turn.text for turn in dialogue.turns)
    signs = sum(char > "\u2e7f" for char in text)
    return round((len(text) - signs) / _LETTERS + signs / _SIGNS)


def unended(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """Those whose last answer stops in the middle of a sentence, where nearly all others end with a full stop or the
    like: they may have been cut off. None where most do not, as lists and single words do not."""
    found = [one for one in dialogues if not one.turns[-1].text.endswith(_ENDS)]
    return found if len(found) <= (1 - _MOST) * len(dialogues) else []


def asked_again(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """Those that ask, word for word and about the same pictures, what an earlier one asks, but answer otherwise."""
    asked: set[tuple[str, ...]] = set()
    found = []
    for one in dialogues:
        question = (*(path.stem for path in one.pictures), *(" ".join(turn.text.split()) for turn in one.turns[:-1]))
        if question in asked:
            found.append(one)
        asked.add(question)
    return found
