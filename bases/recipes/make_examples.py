"""Write the example sets, for a first adapter that learns how OpenMoji draws.

    python -m bases.recipes.make_examples --node-modules DIR

`openmoji`: 18 drawings with captions. `scenes`: 18 scenes of one to four drawings with a box around each, in COCO
form. The same packages give the same files. No drawing that the judge never saw is among them, so what the judge says
about those stays a fair measure of what an adapter trained on these sets has learned.
"""

from __future__ import annotations

import argparse
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
from .train_judge import HELD_OUT

FOLDER = Path("examples/data")
COLOURS = 64
SCENES, SEED = 18, 0
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
    picture.quantize(COLOURS, dither=0).save(path, optimize=True)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    write_drawings(args.node_modules, args.output / "openmoji")
    write_scenes(args.node_modules, args.output / "scenes")


if __name__ == "__main__":
    main()
