"""What `emoji-llm` reads: plain sentences and dialogues about things, kinds, emoji, and pictures told in words.

Document i of a seed is a pure function of (seed, part, i), so nothing is stored but the tokens. What is held out (one
common noun in fifty, one described picture in fifty) is told by a hash and never told about in training.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.randomness import derive

from . import wordnet
from .emoji import TRAINING_STYLES
from .things import Thing, capital, common_things, emoji_things, example_sentences, is_held_out, world_things

Dialogue = list[dict[str, str]]
Pair = tuple[str, str]

# Shares of the world, of other emoji and of common nouns among the things that are told about.
BROAD, NARROW = (0.35, 0.22, 0.43), (0.5, 0.25, 0.25)
PLAIN = 0.35
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")
PLACES = (
    "on a table", "on a plate", "in the grass", "under a tree", "on white paper", "on a blue ground",
    "on a pink ground", "in a garden", "by the sea", "in the snow", "on the street", "in a box",
    "on a hill", "at night", "in the rain", "in a room",
)  # fmt: skip
NUMBERS = ("no things", "one thing", "two things", "three things")
# Asked in none of the training dialogues: a measure of whether the model knows things or only strings.
UNSEEN_WORDING = "Do you know what {name} {verb}?"
_WHAT = (
    "What {verb} {name}?",
    "What {verb} {name}?",
    "What {verb} {name}?",
    "Tell me what {name} {verb}.",
    "Please explain what {name} {verb}.",
    "Can you tell me what {name} {verb}?",
    "Describe {name}.",
    'What does the word "{word}" mean?',
    "What does {word} mean?",
    "Define {word}.",
    "{word}?",
)
_MEANING = _WHAT[-4:]
# Questions about a picture, each with its way to answer: {0} is what is shown, {1} the style of drawing, {2} "This is"
# or "These are", {3} "is" or "are".
_SHOWN = (
    ("What is this?", "{2} {0}."),
    ("What does the picture show?", "The picture shows {0}."),
    ("What is in the picture?", "There {3} {0}."),
    ("What do you see?", "I see {0}."),
    ("What can you see in the picture?", "I see {0}."),
    ("Describe the picture.", "A drawing of {0}."),
    ("Write a caption.", "A drawing of {0}."),
    ("Give the picture a caption.", "A drawing of {0}."),
)
_SHOWN_IN_STYLE = (
    ("Describe the picture and its style.", "A {1} drawing of {0}."),
    ("What does the picture show, and in which style?", "The picture shows {0}, drawn in the {1} style."),
    ("In which style is it drawn?", "It is drawn in the {1} style."),
)
_NO_PICTURE = "There is no picture."
_SMALL_TALK = (
    ("Hello.", "Hello! Ask me what a thing is."),
    ("Hi!", "Hello! Ask me what a thing is."),
    ("Thank you.", "You are welcome."),
    ("Thanks!", "You are welcome."),
    ("Who are you?", "I am a small language model. I know what many things are."),
    ("What can you do?", "I can tell you what things are, what kind they are, and which emoji shows them."),
    ("Goodbye.", "Goodbye!"),
)
_SYSTEM = ("You are a helpful assistant.", "Answer in one sentence.", "You tell people what things are.")
# Guesses that are wrong: an animal is of one class, and what grows is not what people build.
_CLASSES = (
    "a mammal", "a bird", "a fish", "a reptile", "an amphibian", "an insect",
    "an arachnid", "a crustacean", "a mollusk",
)  # fmt: skip
_MADE = (
    "a vehicle", "a building", "a container", "a tool", "a weapon", "a musical instrument",
    "a toy", "a machine",
)  # fmt: skip
_NATURAL = (
    "an animal", "a plant", "a food", "a fruit", "a drink", "a person",
    "a celestial body",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A picture told in words: one to three things, a colour or none for each, and maybe a place and a style."""

    things: tuple[Thing, ...]
    colours: tuple[str, ...]
    place: str
    style: str

    @property
    def shown(self) -> str:
        """What there is to see: a red fox and a cake on a table."""
        names = [thing.named(colour) for thing, colour in zip(self.things, self.colours, strict=True)]
        listed = " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])
        return f"{listed} {self.place}".strip()

    @property
    def caption(self) -> str:
        return f"{self.shown}, {self.style}" if self.style else self.shown


def what(thing: Thing, rng: random.Random) -> Pair | None:
    """What is a fox?"""
    if not thing.definition:
        return None
    wording = rng.choice(_WHAT if thing.form else _MEANING)
    return capital(wording.format(name=thing.named(), verb=thing.verb, word=thing.word)), thing.statement


def which(thing: Thing, rng: random.Random) -> Pair | None:
    """What do you call an animal that ...? A fox."""
    if not thing.definition or not thing.form:
        return None
    wording = rng.choice(("What do you call {0}?", "What is the word for {0}?", "Which thing is {0}?"))
    return wording.format(thing.definition), f"{capital(thing.named())}."


def kind(thing: Thing, rng: random.Random) -> Pair | None:
    """What kind of thing is a fox?"""
    if not thing.kinds or not thing.form:
        return None
    question = f"What {rng.choice(('kind', 'kind', 'sort'))} of thing {thing.verb} {thing.named()}?"
    return question, f"{capital(thing.named())} {thing.verb} {thing.kinds[0]}."


def is_it(thing: Thing, rng: random.Random) -> Pair | None:
    """Is a fox an animal? Is a fox a tool?"""
    if not thing.kinds or not thing.form:
        return None
    name, verb = thing.named(), thing.verb
    made = "a thing made by people" in thing.kinds
    wrong = [*(_NATURAL if made else _MADE), *(_CLASSES if thing.kinds[0] in _CLASSES else ())]
    if rng.random() < 0.5:
        guess = rng.choice(thing.kinds)
        return f"{capital(verb)} {name} {guess}?", f"Yes, {name} {verb} {guess}."
    guess = rng.choice([one for one in wrong if one not in thing.kinds])
    answer = f"No, {name} {verb} not {guess}. {capital(thing.it)} {verb} {thing.kinds[0]}."
    return f"{capital(verb)} {name} {guess}?", answer


def use(thing: Thing, rng: random.Random) -> Pair | None:
    """What is a camel used for?"""
    found = re.search(r"\bused ((?:for|to|in|as|on|with) [^,]+)", thing.definition)
    if not found or not thing.form:
        return None
    wording = rng.choice(("What {verb} {name} used for?", "What {verb} {name} for?", "What do people use {name} for?"))
    answer = f"{capital(thing.it)} {thing.verb} used {found.group(1)}."
    return wording.format(verb=thing.verb, name=thing.named()), answer


def picture(thing: Thing, rng: random.Random) -> Pair | None:
    """Which emoji is a fox? What does that emoji show?"""
    if not thing.picture:
        return None
    name = thing.named()
    if rng.random() < 0.5:
        question = rng.choice(("Which emoji shows {0}?", "What is the emoji for {0}?", "Show me {0}."))
        return question.format(name), thing.picture
    question = rng.choice(("What does {0} show?", "What is {0}?", "{0}"))
    return question.format(thing.picture), f"{thing.picture} shows {name}."


def association(thing: Thing, rng: random.Random) -> Pair | None:
    """What goes with a cactus?"""
    if len(thing.tags) < 2:
        return None
    question = rng.choice(("What goes with {0}?", "Which words go with {0}?", "What do you think of with {0}?"))
    return question.format(thing.named()), f"{capital(', '.join(thing.tags[:-1]))} and {thing.tags[-1]}."


_QUESTIONS: tuple[Callable[[Thing, random.Random], Pair | None], ...] = (
    what, which, kind, is_it, use, picture, association
)  # fmt: skip
_WEIGHTS = (40, 10, 12, 12, 6, 9, 4)


class Corpus:
    """Writes the documents. `world`, `emoji` and `common` are told about; `unseen` are common nouns that never are."""

    def __init__(self, node_modules: Path, folder: Path = wordnet.FOLDER):
        known = wordnet.WordNet(folder)
        self.world = world_things(known)
        self.emoji = emoji_things(known, node_modules, {thing.word for thing in self.world})
        common = list(common_things(known, {thing.word for thing in (*self.world, *self.emoji)}))
        self.common = [thing for thing in common if not is_held_out(thing.word)]
        self.unseen = [thing for thing in common if is_held_out(thing.word)]
        self.examples = example_sentences(folder)
        self.shown = [thing for thing in (*self.world, *self.emoji) if thing.form]
        self.by_kind: dict[str, list[Thing]] = {}
        for thing in self.shown:
            for name in thing.kinds:
                self.by_kind.setdefault(name, []).append(thing)

    def document(self, number: int, seed: int = 0) -> str | Dialogue:
        """Document `number` of the broad part, plain text or a dialogue."""
        rng = random.Random(derive("broad", seed, number))
        return self.plain(rng) if rng.random() < PLAIN else self.dialogue(rng, BROAD)

    def lesson(self, number: int, seed: int = 0) -> Dialogue:
        """Document `number` of the last part of training: a dialogue, more often about the world."""
        return self.dialogue(random.Random(derive("narrow", seed, number)), NARROW)

    def plain(self, rng: random.Random) -> str:
        """Sentences about a thing, captions, or a sentence of everyday English."""
        chance = rng.random()
        if chance < 0.2:
            return rng.choice(self.examples)
        if chance < 0.45:
            return "\n".join(self.scene(rng).caption for _ in range(rng.randint(1, 4)))
        thing = self._thing(rng, BROAD)
        sentences = [thing.statement] if thing.definition else [f"{thing.picture} shows {thing.named()}."]
        if thing.kinds and thing.form and rng.random() < 0.5:
            sentences.append(f"{capital(thing.it)} {thing.verb} {rng.choice(thing.kinds)}.")
        if thing.picture and rng.random() < 0.5:
            sentences.append(f"The emoji is {thing.picture}.")
        return " ".join(sentences)

    def dialogue(self, rng: random.Random, shares: Sequence[float]) -> Dialogue:
        """One to three questions and answers; now and then a system message before them."""
        messages: Dialogue = []
        if rng.random() < 0.03:
            messages.append({"role": "system", "content": rng.choice(_SYSTEM)})
        chance = rng.random()
        if chance < 0.2:
            pairs = self.picture_questions(self.scene(rng), rng)
        elif chance < 0.23:
            pairs = [(rng.choice(_SHOWN + _SHOWN_IN_STYLE)[0], _NO_PICTURE)]
        elif chance < 0.24:
            pairs = [rng.choice(_SMALL_TALK)]
        else:
            pairs = [self.question(rng, shares) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        as_typed = [(q.lower().rstrip("?.") if rng.random() < 0.08 else q, a) for q, a in pairs]
        return messages + to_messages(as_typed)

    def question(self, rng: random.Random, shares: Sequence[float]) -> Pair:
        """A question about a thing, or for a thing of a kind, with its answer."""
        if rng.random() < 0.07:
            name = rng.choice(list(self.by_kind))
            wording = rng.choice(("Name {0}.", "Name something that is {0}.", "Give me an example of {0}."))
            return wording.format(name), f"{capital(rng.choice(self.by_kind[name]).named())}."
        while True:
            thing = self._thing(rng, shares)
            pair = rng.choices(_QUESTIONS, _WEIGHTS)[0](thing, rng)
            if pair:
                return pair

    def scene(self, rng: random.Random, held_out: bool = False) -> Scene:
        """A described picture, one of those held out or one of the others."""
        while True:
            count = rng.choice((1, 1, 1, 1, 2, 2, 3))
            things = tuple(rng.choice(self.world if rng.random() < 0.8 else self.shown) for _ in range(count))
            free = [thing.form != "the" and rng.random() < 0.35 for thing in things]
            scene = Scene(
                things,
                tuple(rng.choice(COLOURS) if one else "" for one in free),
                rng.choice(PLACES) if rng.random() < 0.3 else "",
                rng.choice(TRAINING_STYLES) if rng.random() < 0.5 else "",
            )
            if len(set(things)) == count and is_held_out(scene.caption) == held_out:
                return scene

    def picture_questions(self, scene: Scene, rng: random.Random) -> list[Pair]:
        """The picture is told by the asker, then one to three questions are asked about it."""
        told = rng.choice(("A picture shows {0}.", "Picture: {0}.", "Here is a picture of {0}.")).format(scene.caption)
        questions = [_about(scene, self.world, rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        questions[0] = (f"{told} {questions[0][0]}", questions[0][1])
        return questions

    def _thing(self, rng: random.Random, shares: Sequence[float]) -> Thing:
        return rng.choice(rng.choices((self.world, self.emoji, self.common), shares)[0])


def to_messages(pairs: Sequence[Pair]) -> Dialogue:
    """Questions and answers as a chat template takes them."""
    return [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _about(scene: Scene, world: Sequence[Thing], rng: random.Random) -> Pair:
    """One question about a described picture."""
    chance = rng.random()
    thing, colour = rng.choice(list(zip(scene.things, scene.colours, strict=True)))
    if chance < 0.15 and colour:
        return f"What colour {thing.verb} the {thing.word}?", f"The {thing.word} {thing.verb} {colour}."
    if chance < 0.25 and scene.place:
        return f"Where {thing.verb} the {thing.word}?", f"The {thing.word} {thing.verb} {scene.place}."
    if chance < 0.4:
        asked = thing if rng.random() < 0.5 else rng.choice(world)
        if asked in scene.things:
            return f"{capital(asked.verb)} there {asked.named()}?", f"Yes, there {asked.verb} {asked.named()}."
        return f"{capital(asked.verb)} there {asked.named()}?", f"No, there {asked.verb} not."
    if chance < 0.45:
        number = NUMBERS[len(scene.things)]
        return "How many things are there?", f"There {'is' if len(scene.things) == 1 else 'are'} {number}."
    forms = _SHOWN + (_SHOWN_IN_STYLE if scene.style else ())
    question, answer = rng.choice(forms)
    verb = scene.things[0].verb
    return question, answer.format(scene.shown, scene.style, "These are" if verb == "are" else "This is", verb)
