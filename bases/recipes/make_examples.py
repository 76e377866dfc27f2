"""Write the example set: 18 OpenMoji drawings with captions, for a first LoRA that learns how OpenMoji draws.

    python -m bases.recipes.make_examples --node-modules DIR

The same packages give the same files. None of the 18 is among the drawings that the judge never saw, so what the
judge says about those stays a fair measure of what an adapter trained on this set has learned.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import emoji

FOLDER = Path("examples/data/openmoji")
COLOURS = 64
CHOSEN = (
    "cat",
    "pig",
    "horse",
    "duck",
    "turtle",
    "fish",
    "butterfly",
    "sunflower",
    "cactus",
    "banana",
    "strawberry",
    "hamburger",
    "cake",
    "house",
    "bus",
    "sailboat",
    "rocket",
    "guitar",
)


def caption(word: str) -> str:
    """The caption in the words of the base: the noun as in its own captions, then the name of the drawing style."""
    return f"a {word}, {emoji.HELD_OUT_STYLE}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    nouns = {noun.word: noun for noun in emoji.read_nouns()}
    for word in CHOSEN:
        picture = emoji.draw(nouns[word], emoji.HELD_OUT_STYLE, args.node_modules)
        name = word.replace(" ", "-")
        picture.quantize(COLOURS, dither=0).save(args.output / f"{name}.png", optimize=True)
        (args.output / f"{name}.txt").write_text(caption(word) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
