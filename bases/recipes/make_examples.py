"""Write the example sets: for a first adapter that learns how OpenMoji draws, and for one that learns to see.

    python -m bases.recipes.make_examples --node-modules DIR

`openmoji`: 18 drawings with captions. `scenes`: 18 scenes of one to four drawings with a box around each, in COCO
form. `drawings`: a quarter of the nouns in three of the styles that the bases know, each with its name, and questions
about some; the fourth style is left for whoever wants to ask. The same packages give the same files. No OpenMoji
drawing that the judge never saw is among them, so what the judge says about those stays a fair measure of what an
adapter trained on these sets has learned.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.data.bundle import write_bundle
from pipelines.data.samples import Sample

from . import emoji
from .scenes import World, scene_caption
from .things import with_article
from .train_judge import HELD_OUT
from .train_vit import STYLES, unseen_style

FOLDER = Path("examples/data")
COLOURS = 64
SCENES, SEED = 18, 0
# What is asked beside the names, by the group of a noun.
QUESTIONS = {
    "animals-nature": ("Is this made by people?", "No, it is part of nature."),
    "food-drink": ("Would you find it in a kitchen?", "Yes, you would."),
    "travel-places": ("Would you find it in a kitchen?", "No, you would find it outside."),
    "objects": ("Is it alive?", "No, it is a thing."),
}
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


def pack(picture: Image.Image, path: Path) -> None:
    """Save a picture small."""
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def write_drawings(node_modules: Path, folder: Path) -> None:
    """Single drawings, each with its caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    nouns = {noun.word: noun for noun in emoji.read_nouns()}
    for word in CHOSEN:
        name = word.replace(" ", "-")
        pack(emoji.draw(nouns[word], emoji.HELD_OUT_STYLE, node_modules), folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(caption(word) + "\n", encoding="utf-8")


def write_scenes(node_modules: Path, folder: Path) -> None:
    """Scenes, and one file with their captions and boxes."""
    nouns = [noun for index, noun in enumerate(emoji.read_nouns()) if index not in HELD_OUT]
    drawings = [np.asarray(emoji.draw(noun, emoji.HELD_OUT_STYLE, node_modules)) for noun in nouns]
    world = World(np.stack(drawings)[:, None], nouns, (emoji.HELD_OUT_STYLE,))
    samples = []
    with tempfile.TemporaryDirectory() as made:
        for number in range(SCENES):
            scene, path = world.scene(SEED, number), Path(made) / f"scene-{number + 1:02}.png"
            pack(world.draw(scene), path)
            words = scene_caption(scene, random.Random(number))
            samples.append(Sample("", path.name, path, words, emoji.SIZE, emoji.SIZE, scene.regions()))
        write_bundle(samples, Path(made) / "scenes.zip", "coco")
        with zipfile.ZipFile(Path(made) / "scenes.zip") as archive:
            archive.extractall(folder)


def write_named(node_modules: Path, folder: Path) -> None:
    """Drawings, one table with their names, and one with questions about the first drawing of each noun."""
    folder.mkdir(parents=True, exist_ok=True)
    names, questions = [], []
    for index, noun in enumerate(emoji.read_nouns()):
        # So that each of the styles is the one that is left out.
        if unseen_style(index) != index // STYLES % STYLES:
            continue
        styles = [style for number, style in enumerate(emoji.TRAINING_STYLES) if number != unseen_style(index)]
        for style in styles:
            name = f"{noun.word} {style}.png".replace(" ", "-")
            pack(Image.fromarray(np.asarray(emoji.draw(noun, style, node_modules))), folder / name)
            names.append({"file_name": name, "text": with_article(noun.word)})
            if style == styles[0] and noun.group in QUESTIONS:
                # A picture that is asked about is not learned by its caption, so its name is asked for as well.
                said = ("<image>\nWhat is in the picture?", with_article(noun.word), *QUESTIONS[noun.group])
                turns = [{"from": who, "value": text} for who, text in zip(("human", "gpt") * 2, said, strict=True)]
                questions.append({"image": name, "conversations": turns})
    table = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in names)
    (folder / "metadata.jsonl").write_text(table, encoding="utf-8")
    (folder / "questions.json").write_text(json.dumps(questions, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    write_drawings(args.node_modules, args.output / "openmoji")
    write_scenes(args.node_modules, args.output / "scenes")
    write_named(args.node_modules, args.output / "drawings")


if __name__ == "__main__":
    main()
