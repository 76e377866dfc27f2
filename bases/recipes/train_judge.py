"""Train the judge: which noun (182) and which drawing style (5) a 128 px picture shows, however badly it is drawn.

    python -m bases.recipes.train_judge --node-modules DIR --work DIR

All five styles are seen, but of the nouns `HELD_OUT` never the OpenMoji drawing: on those the style must be told from
the way of drawing and the noun from the other styles, which is what the judge does with generated pictures. Two things
keep it from learning pictures by heart: styles are also learned from emoji outside the world, and nouns from drawings
with lines put around them (or it would conclude that what has black lines is none of the nouns it never saw so).
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import ResNetConfig, ResNetForImageClassification

from pipelines.judge import STYLE_PREFIX, Judge

from . import emoji
from .distort import distort, outline
from .judge_card import write_card
from .loop import Trainer, adamw, start_worker
from .train_vae import collect

UNKNOWN = -100  # cross-entropy passes over such labels
HELD_OUT = tuple(range(2, 182, 6))
OPENMOJI = emoji.STYLES.index(emoji.HELD_OUT_STYLE)


def build_judge(nouns: list[str]) -> ResNetForImageClassification:
    """A 1.3 M ResNet-10 on 64 x 64 pixels; its labels are the nouns, then `style: ...`."""
    labels = [*nouns, *(STYLE_PREFIX + style for style in emoji.STYLES)]
    config = ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 128, 256],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    return ResNetForImageClassification(config)


def read_world(node_modules: Path, work: Path) -> Tensor:
    """The world as float [-1, 1], (nouns, styles, 3, 128, 128)."""
    collect(node_modules, work)
    with np.load(work / "pictures.npz") as pools:
        return torch.from_numpy(pools["world"]).permute(0, 1, 4, 2, 3).float().div_(127.5).sub_(1)


def read_others(node_modules: Path, folder: Path, count: int = 500) -> Tensor:
    """Emoji outside the world in all five styles, uint8 (n, styles, 3, 128, 128); rendered once, kept in `folder`."""
    cached = folder / "others.npz"
    if not cached.exists():
        known = {noun.hexcode for noun in emoji.read_nouns()}
        data = json.loads((node_modules / "emojibase-data/en/data.json").read_text(encoding="utf-8"))
        entries = [e for e in data if e.get("group") not in (None, 2, 9) and e["hexcode"] not in known]
        pictures = []
        for entry in entries[:: max(1, len(entries) // count)]:
            noun = emoji.Noun(entry["label"], entry["hexcode"], (), "")
            with contextlib.suppress(FileNotFoundError, ValueError):
                pictures.append([np.asarray(emoji.draw(noun, style, node_modules)) for style in emoji.STYLES])
        np.savez(cached, others=np.array(pictures))
    with np.load(cached) as pools:
        return torch.from_numpy(pools["others"]).permute(0, 1, 4, 2, 3)


def draw_batch(
    world: Tensor, others: Tensor, pairs: Tensor, counts: tuple[int, int], seed: int
) -> tuple[Tensor, Tensor]:
    """`counts` pictures of the world, of `pairs` only, and of other emoji, distorted, and their (noun, style, other
    emoji); a quarter of the world's get lines and lose their style label. What a picture does not show is UNKNOWN."""
    rng = torch.Generator().manual_seed(seed)
    pairs = pairs[torch.randint(len(pairs), counts[:1], generator=rng)]
    pixels = world[pairs[:, 0], pairs[:, 1]]
    lined = counts[0] // 4
    pixels[:lined], pairs[:lined, 1] = outline(pixels[:lined], rng), UNKNOWN
    chosen = torch.randint(len(others), counts[1:], generator=rng)
    styles = torch.randint(others.shape[1], counts[1:], generator=rng)
    more = others[chosen, styles].float().div_(127.5).sub_(1)
    # From nearly clean to fully distorted: the judge must know both.
    strength = float(torch.rand(1, generator=rng).sqrt())
    labels = torch.cat(
        [F.pad(pairs, (0, 1), value=UNKNOWN), F.pad(torch.stack([styles, chosen], 1), (1, 0), value=UNKNOWN)]
    )
    return distort(torch.cat([pixels, more]), seed, strength), labels


def training_pairs() -> Tensor:
    """(n, 2): noun and style of every picture the judge may learn from."""
    nouns, styles = len(emoji.read_nouns()), len(emoji.STYLES)
    return torch.tensor(
        [(noun, style) for noun in range(nouns) for style in range(styles) if style != OPENMOJI or noun not in HELD_OUT]
    )


def judge_loss(logits: Tensor, pairs: Tensor, nouns: int) -> Tensor:
    """Cross-entropy of the noun (smoothed), told by the first `nouns` logits, plus that of the style."""
    noun = F.cross_entropy(logits[:, :nouns], pairs[:, 0], label_smoothing=0.05)
    return noun + F.cross_entropy(logits[:, nouns:], pairs[:, 1], label_smoothing=0.02)


@torch.no_grad()
def settle_statistics(model: ResNetForImageClassification, world: Tensor, others: Tensor, pairs: Tensor) -> None:
    """Recompute the batch-norm statistics: those of training belong to other weights than the averaged ones."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for seed in range(20):
        model(draw_batch(world, others, pairs, (60, 30), 10**9 + seed)[0])
    model.eval()


def measure(judge: Judge, world: Tensor) -> dict[str, dict[str, float]]:
    """Scores on clean and on newly distorted pictures, per style, and on the OpenMoji drawings never seen."""
    seen = [i for i in range(len(judge.nouns)) if i not in HELD_OUT]
    results: dict[str, dict[str, float]] = {}
    for strength, kind in ((0.0, "clean"), (1.0, "distorted")):
        for style, name in enumerate(judge.styles):
            groups = {name: list(range(len(judge.nouns)))}
            if style == OPENMOJI:
                groups = {f"{name}, seen": seen, f"{name}, never seen": list(HELD_OUT)}
            for title, chosen in groups.items():
                rounds = [world[chosen, style]]
                if strength:
                    rounds = [distort(world[chosen, style], 2 * 10**9 + 100 * style + i) for i in range(4)]
                nouns = [judge.nouns[i] for i in chosen] * len(rounds)
                results[f"{kind}: {title}"] = judge.score(torch.cat(rounds), nouns, [name] * len(nouns))
    return results


def weak_nouns(judge: Judge, world: Tensor) -> list[tuple[str, float]]:
    """The ten nouns with the lowest top-5 share over all styles, distorted, worst first."""
    right = torch.zeros(len(judge.nouns))
    for style in range(len(judge.styles)):
        for seed in range(4):
            logits, _ = judge.logits(distort(world[:, style], 3 * 10**9 + 10 * style + seed))
            right += (logits.topk(5).indices == torch.arange(len(judge.nouns))[:, None]).any(1)
    share = right / (4 * len(judge.styles))
    return [(judge.nouns[i], share[i].item()) for i in share.argsort()[:10].tolist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("bases/judge"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--batch", type=int, default=26, help="pictures of the world per process, and half as many others"
    )
    args = parser.parse_args()
    rank, _ = start_worker()
    folder = args.work / "judge"
    folder.mkdir(parents=True, exist_ok=True)
    world, others = read_world(args.node_modules, args.work), read_others(args.node_modules, folder)
    pairs = training_pairs()
    torch.manual_seed(0)
    model = build_judge([noun.word for noun in emoji.read_nouns()]).train()
    optimizer = adamw(model.parameters(), lr=3e-3, weight_decay=0.02)
    trainer = Trainer(model, folder, [optimizer], steps=args.steps, ema=0.995)
    trainer.resume()

    def make_loss(step: int) -> Tensor:
        pixels, labels = draw_batch(world, others, pairs, (args.batch, args.batch // 2), step * 1000 + rank)
        return judge_loss(model(pixels).logits, labels, len(world))

    trainer.run(make_loss, rank)
    if rank == 0:
        trainer.use_average()
        settle_statistics(model, world, others, pairs)
        model.half().save_pretrained(args.output)
        judge = Judge(args.output)
        card = write_card(measure(judge, world), weak_nouns(judge, world), len(others))
        (args.output / "README.md").write_text(card, encoding="utf-8")
        print(card)


if __name__ == "__main__":
    main()
