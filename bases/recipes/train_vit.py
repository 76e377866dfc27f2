"""Train `emoji-vit`, the small vision transformer that teaches VoRA to see: which noun and style a 64 px picture shows.

    torchrun --nproc-per-node 2 -m bases.recipes.train_vit --node-modules DIR --work DIR --output bases/emoji-vit

It sees what the judge sees but for two things: OpenMoji stays out, as of every base, and of each noun one of the four
styles does (`unseen_style`). So whoever learns to see with its help can be asked about drawings that neither has met.

A picture costs 0.7 GFLOP forward and backward, and Muon 12 GFLOP a step: a step of 2 x 64 pictures takes 1.3 s where
two cores reach 65 GFLOP/s, so 1000 steps are 22 minutes. The bundled weights were 1400 steps old when the other emoji
were first told apart, and then had 900 with `vit_loss` as it is: the share of nouns known in the style never seen rose
from 61 to 76 %.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from pipelines.judge import SIZE, STYLE_PREFIX, Judge

from . import emoji
from .distort import distort
from .loop import Trainer, adamw, start_worker
from .muon import Muon
from .train_judge import draw_batch, read_others, read_world
from .train_vae import collect
from .vit_card import write_card

STYLES = len(emoji.TRAINING_STYLES)
PATCH, WIDTH, BLOCKS = 8, 192, 6
STYLE_SHARE = 0.2


def unseen_style(noun: int) -> int:
    """The style, by its place in TRAINING_STYLES, in which noun number `noun` is never shown in training."""
    return noun % STYLES


def training_pairs(nouns: int) -> Tensor:
    """(n, 2): noun and style of every picture that is learned from."""
    return torch.tensor([(i, style) for i in range(nouns) for style in range(STYLES) if style != unseen_style(i)])


def build_vit(nouns: list[str]) -> ViTForImageClassification:
    """A ViT of 1.9 M parameters on 64 patches; its labels are the nouns, then `style: ...`."""
    labels = [*nouns, *(STYLE_PREFIX + style for style in emoji.TRAINING_STYLES)]
    config = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=WIDTH // 32,
        intermediate_size=2 * WIDTH,
        image_size=SIZE,
        patch_size=PATCH,
        layer_norm_eps=1e-6,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    return ViTForImageClassification(config).train()


def optimizers(model: nn.Module, lr: float, matrix_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, classifiers and vectors."""
    inside = {n: p.ndim == 2 and "layers." in n for n, p in model.named_parameters()}
    matrices = [p for n, p in model.named_parameters() if inside[n]]
    rest = [p for n, p in model.named_parameters() if not inside[n]]
    return [Muon(matrices, matrix_lr), adamw(rest, lr, weight_decay=0.02)]


def vit_loss(model: ViTForImageClassification, others: nn.Linear, pixels: Tensor, labels: Tensor) -> Tensor:
    """What the class token says, and what the patches say together after each of the last two blocks. A model that
    learns from this one sees its patches only: untold, they would keep what they know to themselves.

    `others` tells the emoji outside the world apart, which are seen in every style: so it learns how one thing looks
    in another style. The style itself counts little, because whoever names a noun has to see past it."""
    states = model.vit(pixels, output_hidden_states=True).hidden_states
    last = model.vit.layernorm(states[-1])
    said = [last[:, 0], last[:, 1:].mean(1), model.vit.layernorm(states[-2])[:, 1:].mean(1)]
    losses = []
    for each in said:
        nouns, styles = model.classifier(each).split([model.num_labels - STYLES, STYLES], 1)
        losses += [F.cross_entropy(nouns, labels[:, 0], label_smoothing=0.05)]
        losses += [F.cross_entropy(others(each), labels[:, 2], label_smoothing=0.05)]
        losses += [STYLE_SHARE * F.cross_entropy(styles, labels[:, 1])]
    return torch.stack(losses).sum() / len(said)


def measure(model: Judge, world: Tensor) -> dict[str, dict[str, float]]:
    """Scores on clean and on newly distorted pictures: those learned from, and those of the style never shown."""
    results = {}
    pairs = [(i, style) for i in range(len(world)) for style in range(STYLES)]
    for strength, kind in ((0.0, "clean"), (1.0, "distorted")):
        for title, wanted in (("seen in training", False), ("the style of the noun never seen", True)):
            chosen = [(i, style) for i, style in pairs if (style == unseen_style(i)) == wanted]
            pixels = torch.stack([world[i, style] for i, style in chosen])
            if strength:
                pixels = distort(pixels, 2 * 10**9)
            nouns = [model.nouns[i] for i, _ in chosen]
            results[f"{kind}, {title}"] = model.score(pixels, nouns, [emoji.TRAINING_STYLES[s] for _, s in chosen])
    return results


def assemble(model: ViTForImageClassification, output: Path) -> None:
    """Write the model in fp16, with the image processor that gives what it was trained on."""
    model.half().save_pretrained(output)
    ViTImageProcessorPil(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    ).save_pretrained(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32, help="pictures of the world per process, and as many others")
    parser.add_argument("--lr", type=float, default=2e-3, help="of embeddings, classifier and vectors")
    parser.add_argument("--matrix-lr", type=float, default=2e-2, help="of all other weights")
    parser.add_argument("--prepare", action="store_true", help="render the pictures, then stop")
    args = parser.parse_args()
    rank, _ = start_worker()
    folder = args.work / "vit"
    folder.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        collect(args.node_modules, args.work)
        read_others(args.node_modules, folder)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    world = read_world(args.node_modules, args.work)[:, :STYLES]
    others = read_others(args.node_modules, folder)[:, :STYLES]
    if args.prepare:
        return
    pairs = training_pairs(len(world))
    torch.manual_seed(0)
    model = build_vit([noun.word for noun in emoji.read_nouns()])
    classifier = nn.Linear(WIDTH, len(others))
    both = nn.ModuleList([model, classifier])
    trainer = Trainer(both, folder, optimizers(both, args.lr, args.matrix_lr), steps=args.steps, ema=0.99)
    trainer.resume()

    def make_loss(step: int) -> Tensor:
        pixels, labels = draw_batch(world, others, pairs, (args.batch, args.batch), step * 1000 + rank)
        return vit_loss(model, classifier, pixels, labels)

    trainer.run(make_loss, rank, every=20, save_every=100, warmup=50)
    if rank == 0:
        trainer.use_average()
        parameters = model.num_parameters()
        assemble(model, args.output)
        card = write_card(measure(Judge(args.output), world), parameters, trainer.step)
        (args.output / "README.md").write_text(card, encoding="utf-8")
        print(card)


if __name__ == "__main__":
    main()
