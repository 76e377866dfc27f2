"""A WordNet and an emojibase of a few words in the real file formats, so that the text recipes are tested anywhere."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from bases.recipes.emoji import read_nouns
from bases.recipes.things import SENSES_FILE
from bases.recipes.wordnet import ANIMAL, ARTIFACT, FOOD, PLANT

_SUBJECTS = {"animals-nature": ANIMAL, "food-drink": FOOD}
_HEADER = "  1 This is a license text that a reader passes over.\n"


@dataclass(frozen=True)
class Entry:
    """One sense to write: the word, its lexicographer file, the gloss, and the word it is a kind of."""

    word: str
    subject: int
    gloss: str
    above: str = ""


def common_entries() -> list[Entry]:
    """Enough words for a corpus: kinds, every noun of the world in all senses that are looked up, and common nouns."""
    with SENSES_FILE.open(newline="", encoding="utf-8") as file:
        rows = {row["word"]: row for row in csv.DictReader(file)}
    entries = [
        Entry("animal", ANIMAL, "a living organism that can move (of its own will); not a plant"),
        Entry("food", FOOD, 'any substance that can be eaten; "food and drink"'),
        Entry("artifact", ARTIFACT, "a man-made object taken as a whole"),
        Entry("mammal", ANIMAL, "any warm-blooded vertebrate with hair", "animal"),
    ]
    for noun in read_nouns():
        row = rows.get(noun.word, {"lemma": "", "sense": ""})
        subject = _SUBJECTS.get(noun.group, ARTIFACT)
        above = {ANIMAL: "mammal", FOOD: "food", ARTIFACT: "artifact"}[subject]
        lemma = row["lemma"] or noun.word
        entries += [
            Entry(lemma, subject, f"large {lemma} of kind {place} with the look of {noun.group}; and more", above)
            for place in "abcdefghi"[: int(row["sense"] or 1)]
        ]
    for number in range(200):
        name = "".join("bcdfghjklm"[int(digit)] + "aeiouaeiou"[int(digit)] for digit in f"{number:03d}")
        quote = f'"He saw the {name} in the old garden"; "a passing {name}"'
        entries.append(
            Entry(name, (ARTIFACT, PLANT)[number % 2], f"small thing called {name} (rare); {quote}", "artifact")
        )
    return entries


def write_wordnet(folder: Path, entries: list[Entry]) -> Path:
    """The noun files of a WordNet with these senses, and empty files for the other parts of speech."""
    folder.mkdir(parents=True)
    for part in ("verb", "adj", "adv"):
        (folder / f"index.{part}").write_text(_HEADER)
        (folder / f"data.{part}").write_text(_HEADER)
    data, offsets = _HEADER, {}
    for entry in entries:
        offset = f"{len(data):08d}"
        pointers = f"001 @ {offsets[entry.above][0]} n 0000" if entry.above else "000"
        data += f"{offset} {entry.subject:02d} n 01 {entry.word.replace(' ', '_')} 0 {pointers} | {entry.gloss}  \n"
        offsets.setdefault(entry.word, []).append(offset)
    (folder / "data.noun").write_text(data)
    lines = [
        f"{word.replace(' ', '_')} n {len(found)} 1 @ {len(found)} 1 {' '.join(found)}  \n"
        for word, found in sorted(offsets.items())
    ]
    (folder / "index.noun").write_text(_HEADER + "".join(lines))
    return folder


def write_emojibase(node_modules: Path) -> Path:
    """Three emoji: one that WordNet knows, one that it does not, and a flag, which is no thing."""
    folder = node_modules / "emojibase-data/en"
    folder.mkdir(parents=True)
    groups = [{"key": "animals-nature", "order": 3}, {"key": "flags", "order": 9}]
    emoji = [
        {"label": "mammal", "hexcode": "1F9A3", "emoji": "🦣", "group": 3, "tags": ["extinct", "large"]},
        {"label": "guide dog", "hexcode": "1F9AE", "emoji": "🦮", "group": 3, "tags": ["animal", "blind"]},
        {"label": "flag", "hexcode": "1F1E6", "emoji": "🇦", "group": 9, "tags": []},
    ]
    (folder / "messages.json").write_text(json.dumps({"groups": groups}))
    (folder / "data.json").write_text(json.dumps(emoji))
    return node_modules
