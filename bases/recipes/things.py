"""What `emoji-llm` knows: the nouns of the world, the other emoji, and the common words of WordNet, with a definition
in plain words and the kinds of thing each is."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import emoji, wordnet
from .wordnet import ANIMAL, ARTIFACT, BODY, FOOD, OBJECT, PERSON, PHENOMENON, PLANT, SUBSTANCE, Sense, WordNet

SENSES_FILE = Path(__file__).with_name("senses.csv")
# Where the first sense is looked for, by the group of an emoji: a turtle is an animal before it is a sweater.
SUBJECTS = {
    "animals-nature": (ANIMAL, PLANT, OBJECT, PHENOMENON, ARTIFACT),
    "food-drink": (FOOD, PLANT, ARTIFACT),
    "travel-places": (ARTIFACT, OBJECT, PHENOMENON),
    "activities": (ARTIFACT,),
    "objects": (ARTIFACT, OBJECT, SUBSTANCE),
}
_LETTERS = r"[a-z][a-z '-]+"
# Words of WordNet for kinds of thing, and how one says them.
KINDS = {
    "animal": "an animal",
    "mammal": "a mammal",
    "bird": "a bird",
    "fish": "a fish",
    "reptile": "a reptile",
    "amphibian": "an amphibian",
    "insect": "an insect",
    "arachnid": "an arachnid",
    "crustacean": "a crustacean",
    "mollusk": "a mollusk",
    "plant": "a plant",
    "tree": "a tree",
    "flower": "a flower",
    "fungus": "a fungus",
    "food": "a food",
    "edible fruit": "a fruit",
    "vegetable": "a vegetable",
    "sweet": "a sweet",
    "dessert": "a dessert",
    "beverage": "a drink",
    "vehicle": "a vehicle",
    "public transport": "a vehicle",
    "aircraft": "an aircraft",
    "boat": "a boat",
    "building": "a building",
    "container": "a container",
    "tool": "a tool",
    "weapon": "a weapon",
    "musical instrument": "a musical instrument",
    "clothing": "a piece of clothing",
    "furniture": "a piece of furniture",
    "jewelry": "a piece of jewelry",
    "plaything": "a toy",
    "machine": "a machine",
    "device": "a device",
    "celestial body": "a celestial body",
    "person": "a person",
    "structure": "a structure",
    "publication": "a publication",
    "imaginary being": "an imaginary being",
    "feeling": "a feeling",
    "activity": "an activity",
    "place of business": "a place of business",
    "body part": "a part of the body",
    "artifact": "a thing made by people",
}
# Nobody counts these: one says "silk", not "a silk".
_UNCOUNTED = {"food", "fabric", "substance", "material", "writing"}
_UNCOUNTED_EMOJI = re.compile(r"rice|curry|honey|salt|butter|sake|tea|meat|luggage|yarn|jewelry|lacrosse|boxing")
# Heads of a definition that stand without an article, and words that a head stands before.
_MASS_HEADS = re.compile(
    r"equipment|food|meat|clothing|footwear|transport|liquid|water|music|wine|cloth|jewelry|furniture|"
    r"money|rice|cheese|flesh|meal|dough|sugar|salt|ice|pasta|sauce|beer|tea|paper|glass|wood|"
    r"metal|fabric|material|earth|land|snow|rain|armor|ammunition|apparatus|machinery|gear|hair|fur|"
    r"skin|tissue|light|heat|weather|protective"
)
_HEAD_ENDS = re.compile(
    r"of|with|that|which|who|whom|whose|where|when|having|used|for|in|on|from|consisting|made|to|"
    r"as|by|at|into|usually|often|especially|and|or|containing|resembling|designed|worn|bred|native|"
    r"giving|between|without|like|covered|served|cooked|carrying|located|set|placed|attached|filled|"
    r"prepared|forming|eaten|found|typically|domesticated|available|wrapped|salted|drunk|played|"
    r"operated|powered|driven"
)
_DETERMINED = re.compile(
    r"(?:an?|the|any|one|some|each|either|every|all|many|most|two|three|several|something|someone|anyone|anything)\s"
    r"|\w+ing (?:an?|the|your|of|in|to|with|from|by|up|out|or)\b"
)


@dataclass(frozen=True)
class Thing:
    """A word that the model is told about.

    `form` says how it stands in a sentence: count (a fox), mass (bread), plural (glasses), the (the sun), or empty
    where it is unknown whether one counts it. `definition` follows "is" and may be missing; `kinds` are phrases,
    nearest first; `picture` is an emoji, or empty.
    """

    word: str
    form: str
    definition: str
    kinds: tuple[str, ...]
    picture: str = ""
    tags: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        return "are" if self.form == "plural" else "is"

    @property
    def it(self) -> str:
        return "they" if self.form == "plural" else "it"

    def named(self, adjective: str = "") -> str:
        """The thing as a sentence names it: a fox, a red fox, red bread; the bare word where the form is unknown."""
        words = f"{adjective} {self.word}".strip()
        return {"count": with_article(words), "the": f"the {words}"}.get(self.form, words)

    @property
    def statement(self) -> str:
        """The answer to "What is a fox?"."""
        return f"{capital(self.named())} {self.verb if self.form else 'means'} {self.definition}."


def capital(text: str) -> str:
    """`text` with its first letter large."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """A noun with "a" or "an"."""
    silent = noun.startswith(("hour", "heir", "honest", "honor", "f-", "x-"))
    as_y = re.match(r"(?:uni(?!m|n)|use|usu|ura|eu|one\b|ute|u-)", noun)
    return f"{'an' if silent or (noun[0] in 'aeiou' and not as_y) else 'a'} {noun}"


def is_held_out(key: str) -> bool:
    """One key in fifty, by its hash, never enters training."""
    return hashlib.sha256(key.encode()).digest()[0] < 5


def define(sense: Sense, known: WordNet, form: str = "", definition: str = "") -> str:
    """The definition of a sense as it follows "is", with an article where the phrase needs one; `form` as in the
    file of senses."""
    text = definition or sense.definition
    if not text or form == "plural" or _DETERMINED.match(text):
        return text
    words = text.replace(",", " ,").split()
    end = next((i for i, word in enumerate(words) if i and (word == "," or _HEAD_ENDS.fullmatch(word))), len(words))
    head = words[end - 1]
    singles = () if head.endswith(("ss", "us", "is")) else (head[:-1], head[:-2], head[:-3] + "y")
    if head.endswith("s") and any(known.senses(single) for single in singles):
        return text if form == "mass" else f"one of the {text}"
    if _MASS_HEADS.fullmatch(head):
        return text
    return f"the {text}" if re.match(r"\w+est\b", text) else with_article(text)


def kinds_of(sense: Sense, known: WordNet) -> tuple[str, ...]:
    """The phrases of KINDS for what a sense is a kind of, nearest first."""
    found = dict.fromkeys(KINDS[above.words[0]] for above in known.ancestors(sense) if above.words[0] in KINDS)
    if "a vehicle" in found:  # which WordNet has among the containers
        found.pop("a container", None)
    return tuple(found)


def _find_sense(senses: Iterable[Sense], subjects: Iterable[int]) -> Sense | None:
    """The first sense about the first subject that any is about."""
    senses = list(senses)
    return next((sense for subject in subjects for sense in senses if sense.subject == subject), None)


def world_things(known: WordNet) -> list[Thing]:
    """The nouns of the pictures. `senses.csv` says which sense is meant where the rule would err, whether one counts
    them, and a definition where WordNet's is not in plain words."""
    with SENSES_FILE.open(newline="", encoding="utf-8") as file:
        exceptions = {row["word"]: row for row in csv.DictReader(file)}
    things = []
    for noun in emoji.read_nouns():
        row = exceptions.get(noun.word, {"form": "", "lemma": "", "sense": "", "definition": ""})
        senses = known.senses(row["lemma"] or noun.word)
        sense = (
            senses[int(row["sense"]) - 1] if row["sense"] else _find_sense(senses, SUBJECTS[noun.group]) or senses[0]
        )
        form = row["form"] or "count"
        definition = define(sense, known, form, row["definition"])
        picture = "".join(chr(int(part, 16)) for part in noun.hexcode.split("-"))
        things.append(Thing(noun.word, form, definition, kinds_of(sense, known), picture, noun.tags))
    return things


def emoji_things(known: WordNet, node_modules: Path, taken: set[str]) -> list[Thing]:
    """Other emoji of things, with a definition where WordNet has their name."""
    folder = node_modules / "emojibase-data/en"
    groups = {
        g["order"]: g["key"] for g in json.loads((folder / "messages.json").read_text(encoding="utf-8"))["groups"]
    }
    things = []
    for entry in json.loads((folder / "data.json").read_text(encoding="utf-8")):
        subjects = SUBJECTS.get(groups.get(entry.get("group"), ""))
        label = entry["label"].lower()
        if not subjects or label in taken or not re.fullmatch(_LETTERS, label):
            continue
        sense = _find_sense(known.senses(label), subjects)
        plural = label.endswith("s") and not label.endswith(("ss", "us", "is"))
        form = "plural" if plural else "mass" if _UNCOUNTED_EMOJI.fullmatch(label) else "count"
        definition = define(sense, known, form) if sense else ""
        kinds = kinds_of(sense, known) if sense else ()
        tags = tuple(tag for tag in entry.get("tags", ()) if re.fullmatch(_LETTERS, tag))[:6]
        things.append(Thing(label, form if definition else "", definition, kinds, entry["emoji"], tags))
    return things


def common_things(known: WordNet, taken: set[str]) -> Iterator[Thing]:
    """The nouns of WordNet that were met in tagged texts, and all foods, in their first sense."""
    for word in known.words():
        sense = known.senses(word)[0]
        if word in taken or word not in sense.words or word.endswith("s") or len(word.split()) > 2:
            continue
        if sense.definition and (known.is_common(word) or sense.subject == FOOD):
            above = {one.words[0] for one in known.ancestors(sense)}
            counted = sense.subject in (ANIMAL, ARTIFACT, BODY, OBJECT, PERSON) and not above & _UNCOUNTED
            form = "count" if counted else "mass" if sense.subject == SUBSTANCE else ""
            yield Thing(word, form, define(sense, known, form), kinds_of(sense, known))


def example_sentences(folder: Path = wordnet.FOLDER) -> list[str]:
    """Sentences with which WordNet shows how common words are used."""
    sentences: dict[str, None] = {}
    for part in ("noun", "verb", "adj", "adv"):
        known = WordNet(folder, part)
        for word in known.words():
            if known.is_common(word):
                sentences.update((text, None) for sense in known.senses(word)[:3] for text in sense.examples)
    return list(sentences)
