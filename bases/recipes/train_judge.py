"""Train the judge: which noun (182) and which drawing style (5) a 128 px picture shows, however badly it is drawn.

    python -m bases.recipes.train_judge --node-modules DIR --work DIR

All five styles are seen, but of the nouns `HELD_OUT` never the OpenMoji drawing: on those the style must be told from
the way of drawing and the noun from the other styles, which is what the judge does with generated pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import ResNetConfig, ResNetForImageClassification

from benchmarks.judge import STYLE_PREFIX, Judge

from . import emoji
from .distort import distort
from .loop import Trainer, start_worker
from .train_vae import collect

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


def training_pairs() -> Tensor:
    """(n, 2): noun and style of every picture the judge may learn from."""
    nouns, styles = len(emoji.read_nouns()), len(emoji.STYLES)
    return torch.tensor(
        [(noun, style) for noun in range(nouns) for style in range(styles) if style != OPENMOJI or noun not in HELD_OUT]
    )


def judge_loss(model: ResNetForImageClassification, pixels: Tensor, pairs: Tensor) -> Tensor:
    """Cross-entropy of the noun (smoothed) plus that of the style."""
    logits = model(pixels).logits
    nouns = model.config.num_labels - len(emoji.STYLES)
    noun = F.cross_entropy(logits[:, :nouns], pairs[:, 0], label_smoothing=0.05)
    return noun + F.cross_entropy(logits[:, nouns:], pairs[:, 1], label_smoothing=0.02)


@torch.no_grad()
def settle_statistics(model: ResNetForImageClassification, world: Tensor, pairs: Tensor) -> None:
    """Recompute the batch-norm statistics: those of training belong to other weights than the averaged ones."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for seed, part in enumerate(pairs[torch.randperm(len(pairs))].split(91)):
        model(distort(world[part[:, 0], part[:, 1]], 10**9 + seed, seed % 3 / 2))
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
    parser.add_argument("--steps", type=int, default=2200)
    parser.add_argument("--batch", type=int, default=48, help="pictures per process")
    args = parser.parse_args()
    rank, _ = start_worker()
    folder = args.work / "judge"
    folder.mkdir(parents=True, exist_ok=True)
    world, pairs = read_world(args.node_modules, args.work), training_pairs()
    torch.manual_seed(0)
    model = build_judge([noun.word for noun in emoji.read_nouns()]).train()
    trainer = Trainer(model, folder, lr=3e-3, steps=args.steps, ema=0.995, weight_decay=0.02)
    trainer.resume()

    def make_loss(step: int) -> Tensor:
        rng = torch.Generator().manual_seed(step * 1000 + rank)
        chosen = pairs[torch.randint(len(pairs), (args.batch,), generator=rng)]
        # From nearly clean to fully distorted: the judge must know both.
        strength = float(torch.rand(1, generator=rng).sqrt())
        return judge_loss(model, distort(world[chosen[:, 0], chosen[:, 1]], step * 1000 + rank, strength), chosen)

    trainer.run(make_loss, rank)
    if rank == 0:
        trainer.use_average()
        torch.manual_seed(0)
        settle_statistics(model, world, pairs)
        model.half().save_pretrained(args.output)
        judge = Judge(args.output)
        report = {"scores": measure(judge, world), "weakest nouns": weak_nouns(judge, world), "time": time.ctime()}
        (folder / "scores.json").write_text(json.dumps(report, indent=1))
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
