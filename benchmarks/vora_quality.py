"""How many drawings that nobody showed it a language model names, per strength, after it learned to see with VoRA.

    python -m benchmarks.vora_quality --work DIR --run RUN_DIR [--preset balanced] [--set train.steps=600 ...]
        [--curve] [--count 182]

`--work` holds the drawings that bases.recipes.train_vae rendered. It trains on each noun in three styles, with captions
such as "a fox" and each drawing also in distorted copies, in RUN_DIR unless that already holds a finished run, and then
asks about the noun in the fourth, which the bundled teacher has not met either. Named is a drawing whose noun is in the
answer as a whole word, and none of the other 181 nouns but those that are part of it. `--curve` asks at every
checkpoint as well, trains a second run without the teacher (RUN_DIR-alone) and puts the two beside each other.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bases.recipes.distort import distort
from bases.recipes.scenes import World
from bases.recipes.things import with_article
from bases.recipes.train_mmdit import load_world
from bases.recipes.train_vit import STYLES, training_pairs, unseen_style
from benchmarks.example_adapter import train
from pipelines.checkpoints import adapters
from pipelines.config import RunConfig, with_settings
from pipelines.events import Prepared, Step, from_json
from pipelines.family import PreviewRequest
from pipelines.presets import apply
from pipelines.preview import LADDER, PreviewSession
from pipelines.vision_parts import find_teacher, teacher_shape

QUESTION = "What is in the picture?"
TOKENS = 12  # more than the longest caption has


@dataclass(frozen=True)
class Drawing:
    """A noun in one style, as a PNG file."""

    noun: str
    picture: bytes


def drawing(world: World, noun: int, style: int) -> Drawing:
    file = io.BytesIO()
    Image.fromarray(world.drawings[noun, style]).save(file, "PNG")
    return Drawing(world.nouns[noun].word, file.getvalue())


def write_pictures(world: World, folder: Path, copies: int) -> None:
    """A folder that `data.path` may name: every noun in all styles but one, with captions, and of each drawing further
    copies that are moved, bent and recoloured."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = training_pairs(len(world.nouns)).tolist()
    drawings = [world.drawings[noun, style] for noun, style in pairs]
    clean = torch.from_numpy(np.stack(drawings)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    rows = []
    for copy in range(1 + copies):
        pixels = distort(clean, copy, copy / copies) if copy else clean
        for (noun, style), one in zip(pairs, to_bytes(pixels), strict=True):
            name = f"{noun:03d}-{style}-{copy}.png"
            Image.fromarray(one).save(folder / name)
            rows.append(json.dumps({"file_name": name, "text": with_article(world.nouns[noun].word)}) + "\n")
    (folder / "metadata.jsonl").write_text("".join(rows), encoding="utf-8")


def to_bytes(pixels: torch.Tensor) -> np.ndarray:
    """Pictures float [-1, 1] (B, 3, H, W) as uint8 (B, H, W, 3)."""
    return pixels.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def named(answer: str, noun: str, nouns: Sequence[str]) -> bool:
    """Whether an answer names this noun and no other."""
    said = [each for each in nouns if re.search(rf"\b{re.escape(each)}s?\b", answer.lower())]
    return noun in said and all(each in noun for each in said)


def shares(
    session: PreviewSession, adapter: Path, drawings: Sequence[Drawing], strengths: Sequence[float], on_marked: bool
) -> list[float]:
    """The share of drawings that are named, for each strength."""
    nouns, hits = sorted({each.noun for each in drawings}), [0] * len(strengths)
    for each in drawings:
        request = PreviewRequest(prompt=QUESTION, picture=each.picture, max_tokens=TOKENS)
        *_, answers = session.answers(adapter, request, strengths, on_marked=on_marked)
        for column, answer in enumerate(answers):
            hits[column] += named(answer.text, each.noun, nouns)
    return [hit / len(drawings) for hit in hits]


def minutes_at(run: Path) -> dict[int, float]:
    """How long each step took to reach, in minutes, encoding included."""
    events = [from_json(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    passed = sum(event.encode_seconds for event in events if isinstance(event, Prepared))
    found = {}
    for event in events:
        if isinstance(event, Step):
            passed += event.seconds
            found[event.step] = passed / 60
    return found


def curve(session: PreviewSession, run: Path, drawings: Sequence[Drawing]) -> Iterator[tuple[int, float, float]]:
    """Step, minutes, and share of drawings named at strength 1, for every checkpoint of a run."""
    minutes = minutes_at(run)
    for step, adapter in adapters(run):
        yield step, minutes[step], shares(session, adapter, drawings, [1.0], False)[0]


def opened(run: Path) -> PreviewSession:
    config = RunConfig.load(run / "run.json")
    return PreviewSession(config.family, config.base, config.options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--base", default="")
    parser.add_argument("--preset", default="balanced", metavar="NAME,NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--copies", type=int, default=15, help="distorted copies of each drawing, besides itself")
    parser.add_argument("--count", type=int, default=10_000, help="drawings of each kind that are asked about")
    parser.add_argument("--curve", action="store_true")
    args = parser.parse_args()
    world = load_world(args.work)
    pictures = args.run.with_name(args.run.name + "-pictures")
    if not pictures.exists():
        write_pictures(world, pictures, args.copies)
    nouns = range(len(world.nouns))
    unseen = [drawing(world, noun, unseen_style(noun)) for noun in nouns][: args.count]
    seen = [drawing(world, noun, (unseen_style(noun) + 1) % STYLES) for noun in nouns][: args.count]
    config = apply(RunConfig("vora", args.base), filter(None, args.preset.split(",")))
    settings = {"data.path": str(pictures), **dict(item.split("=", 1) for item in args.set)}
    if args.curve:
        settings.setdefault("train.keep_checkpoints", "100")
    train(args.run, with_settings(config, settings))
    session, adapter = opened(args.run), args.run / "adapter" / "adapter.safetensors"
    print(f"{len(unseen)} drawings in a style of the noun never shown, {len(seen)} shown; {QUESTION!r}, greedy")
    print("| strength | never shown | shown | never shown, image tokens only |\n|---|---|---|---|")
    columns = [
        shares(session, adapter, drawings, LADDER, on_marked)
        for drawings, on_marked in ((unseen, False), (seen, False), (unseen, True))
    ]
    for strength, row in zip(LADDER, zip(*columns, strict=True), strict=True):
        print(f"| {strength:g} | " + " | ".join(f"{share:.0%}" for share in row) + " |")
    if args.curve:
        alone = args.run.with_name(args.run.name + "-alone")
        # As many blocks as with the teacher, so that nothing but its part in the loss is missing.
        options = RunConfig.load(args.run / "run.json").options
        blocks = options.blocks or teacher_shape(find_teacher(options.teacher)).blocks
        without = {"options.distillation": "0", "options.blocks": str(blocks)}
        train(alone, with_settings(config, settings | without))
        print("| step | with teacher: minutes | named | without: minutes | named |\n|---|---|---|---|---|")
        runs = zip(curve(session, args.run, unseen), curve(opened(alone), alone, unseen), strict=True)
        for (step, *taught), (_, *untaught) in runs:
            print(f"| {step} | {taught[0]:.1f} | {taught[1]:.0%} | {untaught[0]:.1f} | {untaught[1]:.0%} |")


if __name__ == "__main__":
    main()
