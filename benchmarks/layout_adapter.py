"""What layout adapters teach: box hits per strength on unseen layouts, with captions in words the base does not know.

    python -m benchmarks.layout_adapter --work DIR --run RUN_DIR [--preset balanced,vocabulary]
        [--set train.steps=600 ...] [--count 100] [--picture layouts.png]

`--work` holds the drawings that bases.recipes.train_vae rendered. The training set is composed of things that the base
can draw, with boxes captioned in German, of which it never read a word. Trains in RUN_DIR unless that already holds a
finished run. Then come layouts of other boxes: with the German words, and with English ones for the things the set does
not hold, to see what is forgotten. A hit: the judge has the noun among its first five for what is in the box.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bases.recipes.scenes import Scene, World
from bases.recipes.train_mmdit import load_world
from benchmarks.example_adapter import train
from benchmarks.layout_quality import score, with_boxes
from pipelines.config import RunConfig, with_settings
from pipelines.data.regions import Region
from pipelines.family import PreviewRequest
from pipelines.judge import Judge
from pipelines.presets import apply
from pipelines.preview import LADDER, PreviewSession

GERMAN = {
    "airplane": "flugzeug",
    "apple": "apfel",
    "bell": "glocke",
    "bicycle": "fahrrad",
    "butterfly": "schmetterling",
    "cake": "kuchen",
    "chair": "stuhl",
    "dog": "hund",
    "fox": "fuchs",
    "glasses": "brille",
    "horse": "pferd",
    "key": "schlüssel",
    "lemon": "zitrone",
    "mushroom": "pilz",
    "owl": "eule",
    "pig": "schwein",
    "pumpkin": "kürbis",
    "scissors": "schere",
    "tree": "baum",
    "turtle": "schildkröte",
}
SEEN, UNSEEN = 2, 3  # seeds of the layouts that are learned, and of those that are asked for
GUIDANCE = 4.0  # as the base is measured with

Words = Callable[[str], str]


def german(word: str) -> str:
    return GERMAN[word]


def english(word: str) -> str:
    return f"a {word}"


def part_of(world: World, chosen: Callable[[str], bool]) -> World:
    """The world of some of the nouns."""
    kept = [index for index, noun in enumerate(world.nouns) if chosen(noun.word)]
    return World(world.drawings[kept], [world.nouns[index] for index in kept])


def regions(scene: Scene, words: Words) -> tuple[Region, ...]:
    return tuple(
        Region((left, top, right, bottom), words(thing.word))
        for thing, (left, top, right, bottom) in zip(scene.things, scene.boxes.tolist(), strict=True)
    )


def caption(scene: Scene, words: Words) -> str:
    return ", ".join([*(words(thing.word) for thing in scene.things), scene.style])


def write_pictures(world: World, count: int, folder: Path) -> None:
    """A folder that `data.path` may name: scenes, their captions and boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        scene = world.scene(SEEN, number)
        world.draw(scene).save(folder / f"{number:03d}.png")
        told = [region.to_dict() for region in regions(scene, german)]
        rows.append({"file_name": f"{number:03d}.png", "text": caption(scene, german), "regions": told})
    table = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(table, encoding="utf-8")


def ladders(
    session: PreviewSession, adapter: Path, scenes: Sequence[Scene], words: Words
) -> list[tuple[Image.Image, ...]]:
    """A ladder for each layout."""
    requests = [
        PreviewRequest(prompt=caption(scene, words), seed=seed, guidance=GUIDANCE, regions=regions(scene, words))
        for seed, scene in enumerate(scenes)
    ]
    return [session.ladder(adapter, request, LADDER).images for request in requests]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--base", default="emoji-mmdit")
    parser.add_argument("--preset", default="balanced", metavar="NAME,NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--scenes", type=int, default=160, help="pictures to train on")
    parser.add_argument("--count", type=int, default=100, help="unseen layouts of each kind")
    parser.add_argument("--picture", type=Path, help="write six of the ladders as one PNG")
    args = parser.parse_args()
    world = load_world(args.work)
    known, others = part_of(world, GERMAN.__contains__), part_of(world, lambda word: word not in GERMAN)
    pictures = args.run.with_name(args.run.name + "-pictures")
    write_pictures(known, args.scenes, pictures)
    config = apply(RunConfig("mmdit_layout", args.base), filter(None, args.preset.split(",")))
    settings = {"data.path": str(pictures), **dict(item.split("=", 1) for item in args.set)}
    train(args.run, with_settings(config, settings))
    config, judge = RunConfig.load(args.run / "run.json"), Judge()
    session = PreviewSession(config.family, config.base, config.options, cache_dir=args.run / "previews")
    adapter = args.run / "adapter" / "adapter.safetensors"
    found = []
    for part, words in ((known, german), (others, english)):
        scenes = [part.scene(UNSEEN, number) for number in range(args.count)]
        found.append((scenes, ladders(session, adapter, scenes, words)))
    print(f"{args.count} unseen layouts of each kind, guidance {GUIDANCE:g}, scope {config.options.scope}")
    print("| strength | German: noun top-1 | top-5 | style | English: noun top-5 | style |\n|---|---|---|---|---|---|")
    for column, strength in enumerate(LADDER):
        new, old = (score(judge, scenes, [ladder[column] for ladder in rows]) for scenes, rows in found)
        shares = (new["noun_top1"], new["noun_top5"], new["style"], old["noun_top5"], old["style"])
        print(f"| {strength:g} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    if args.picture:
        scenes, rows = found[0]
        lines = [
            np.concatenate([np.asarray(with_boxes(scene, image)) for image in ladder], 1)
            for scene, ladder in list(zip(scenes, rows, strict=True))[:6]
        ]
        Image.fromarray(np.concatenate(lines, 0)).save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
