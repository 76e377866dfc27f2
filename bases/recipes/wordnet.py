"""WordNet 3.0 as the text recipes read it: the senses of a word, most frequent first, with cleaned glosses and kinds.

The files are those of Debian's `wordnet-base`; wndb(5WN) documents them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path("/usr/share/wordnet")
# Numbers of WordNet's lexicographer files, lexnames(5WN).
ANIMAL, ARTIFACT, BODY, FOOD, OBJECT, PERSON, PHENOMENON, PLANT, SUBSTANCE = 5, 6, 8, 13, 17, 18, 19, 20, 27
_PLAIN = re.compile(r"[a-z]+(?:[ '-][a-z]+)*")
_SENTENCE = re.compile(r"(?:he|she|they|we|I|you|it|the|my|his|her|our)\b[A-Za-z',;? -]{14,90}[a-z.!?]", re.IGNORECASE)
_TECHNICAL = re.compile(r"[()\[\]=<>*_/\d]|--|e\.g|i\.e|\betc\b")
_UNKIND = re.compile(
    r"(?i)slur|offensive|obscen|vulgar|disparag|derogat|sexual|genital|intercourse|homosex|prostitut|nazi|negro|slave"
    r"|\brac(?:e|ial|ist)\b|\bsex\b|penis|breast|anus|buttock|excre|urin|masturb|rape|murder|suicid|kill"
    r"|black (?:person|people)"
)
_LENGTHS = range(3, 23)  # of a definition, in words


@dataclass(frozen=True)
class Sense:
    """One meaning: its words (the best known first), the lexicographer file it is in, the gloss as WordNet has it, and
    the offsets of what it is a kind of."""

    words: tuple[str, ...]
    subject: int
    gloss: str
    hypernyms: tuple[str, ...]

    @property
    def definition(self) -> str:
        """The first statement of the gloss without asides and quoted usage; empty where it is no short plain phrase, or
        one that a small model had better not repeat."""
        text = self.gloss.split('"')[0]
        text = re.sub(r"\s*\([^()]*\)", "", text).split(";")[0].split(":")[0].strip(" ,.-")
        text = re.sub(r"\s+", " ", text).replace("`", "'").replace(" ,", ",")
        plain = len(text.split()) in _LENGTHS and text.isascii() and text[0].isalpha() and not _TECHNICAL.search(text)
        return text if plain and not _UNKIND.search(self.gloss) else ""

    @property
    def examples(self) -> list[str]:
        """Quoted usage that is a sentence of its own, as one would write it."""
        quotes = [quote.strip() for quote in re.findall(r'"([^"]+)"', self.gloss) if not _UNKIND.search(self.gloss)]
        whole = [quote for quote in quotes if _SENTENCE.fullmatch(quote) and len(quote.split()) > 4]
        return [quote[0].upper() + quote[1:] + ("" if quote[-1] in ".!?" else ".") for quote in whole]


class WordNet:
    """Looks up senses of one part of speech: noun, verb, adj or adv."""

    def __init__(self, folder: Path = FOLDER, part: str = "noun"):
        self._data = (folder / f"data.{part}").read_bytes()
        self._offsets: dict[str, list[str]] = {}
        self._tagged: dict[str, int] = {}
        for line in (folder / f"index.{part}").read_text(encoding="ascii").splitlines():
            if not line.startswith(" "):
                word, _, count, *fields = line.split()
                word = word.replace("_", " ")
                self._offsets[word] = fields[-int(count) :]
                self._tagged[word] = int(fields[-int(count) - 1])
        self.at = lru_cache(maxsize=None)(self._at)

    def words(self) -> Iterator[str]:
        """All words made of letters, in the order of the index."""
        return (word for word in self._offsets if _PLAIN.fullmatch(word))

    def is_common(self, word: str) -> bool:
        """Whether a word was met in the texts that WordNet's makers tagged with senses."""
        return self._tagged.get(word, 0) > 0

    def senses(self, word: str) -> list[Sense]:
        """The senses of a word, most frequent first; none where WordNet has no such word."""
        return [self.at(offset) for offset in self._offsets.get(word.lower(), ())]

    def _at(self, offset: str) -> Sense:
        """The sense at a byte offset of the data file."""
        line = self._data[int(offset) : self._data.index(b"\n", int(offset))].decode("ascii")
        head, _, gloss = line.partition("|")
        fields = head.split()
        count = int(fields[3], 16)
        words = tuple(re.sub(r"\(.*\)", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
        pointers = fields[5 + 2 * count :]
        above = tuple(pointers[i + 1] for i in range(0, 4 * int(fields[4 + 2 * count]), 4) if pointers[i] == "@")
        return Sense(words, int(fields[1]), gloss.strip(), above)

    def ancestors(self, sense: Sense) -> list[Sense]:
        """What a sense is a kind of, nearest first."""
        found: dict[str, Sense] = {}
        ahead = list(sense.hypernyms)
        while ahead:
            offset = ahead.pop(0)
            if offset not in found:
                found[offset] = self.at(offset)
                ahead += found[offset].hypernyms
        return list(found.values())
