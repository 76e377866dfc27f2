"""The recipe of the bundled vision transformer, a few steps on pictures of known colour."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

from bases.recipes import train_vit
from bases.recipes.emoji import TRAINING_STYLES, read_nouns
from bases.recipes.loop import Trainer
from bases.recipes.train_judge import UNKNOWN, draw_batch
from bases.recipes.vit_card import write_card
from pipelines.judge import Judge

NOUNS = 6


@pytest.fixture(scope="module")
def world() -> torch.Tensor:
    """Six nouns, each a colour, in four styles, each a brightness."""
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
    shades = torch.tensor([1.0, 0.7, 0.4, 0.1])
    pictures = torch.ones(NOUNS, 4, 3, 128, 128)
    pictures[..., 30:98, 30:98] = (colours[:, None] * shades[None, :, None])[..., None, None]
    return pictures


def test_one_style_of_each_noun_is_never_shown() -> None:
    pairs = [tuple(pair) for pair in train_vit.training_pairs(182).tolist()]
    assert len(pairs) == len(set(pairs)) == 182 * 3
    assert not [pair for pair in pairs if pair[1] == train_vit.unseen_style(pair[0])]
    assert {train_vit.unseen_style(noun) for noun in range(182)} == set(range(len(TRAINING_STYLES)))


def test_patches_are_taught_beside_the_class_token() -> None:
    """Of the last block nothing but its class token would otherwise be told what to say."""
    torch.manual_seed(0)
    model = train_vit.build_vit([f"noun {number}" for number in range(NOUNS)])
    others = torch.nn.Linear(train_vit.WIDTH, 3)
    pixels = torch.randn(4, 3, 64, 64)
    labels = torch.tensor([[0, 0, UNKNOWN], [1, 1, UNKNOWN], [UNKNOWN, 2, 0], [UNKNOWN, 3, 2]])
    told: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, given: object, states: torch.Tensor) -> None:
        states.retain_grad()
        told.append(states)

    model.vit.layers[-1].register_forward_hook(keep)
    model(pixels).logits.sum().backward()
    train_vit.vit_loss(model, others, pixels, labels).backward()
    alone, together = (states.grad for states in told)
    assert alone is not None and not alone[:, 1:].any()
    assert together is not None and (together.abs().amax(-1) > 0).all()


def test_a_batch_holds_only_what_may_be_seen(world: torch.Tensor) -> None:
    others = ((world + 1) * 127.5).to(torch.uint8)
    pairs = train_vit.training_pairs(NOUNS)
    pixels, labels = draw_batch(world, others, pairs, (40, 12), seed=3)
    assert pixels.shape == (52, 3, 64, 64) and labels.shape == (52, 3)
    assert (labels[:10, 1] == UNKNOWN).all() and (labels[40:, 0] == UNKNOWN).all()
    assert (labels[:40, 2] == UNKNOWN).all() and set(labels[40:, 2].tolist()) <= set(range(NOUNS))
    seen = {tuple(pair) for pair in labels[10:40, :2].tolist()}
    assert seen <= {tuple(pair) for pair in pairs.tolist()} and labels[40:, 1].max() < 4


def test_a_model_of_a_few_steps_is_a_stock_vit(world: torch.Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = train_vit.build_vit([noun.word for noun in read_nouns()[:NOUNS]])
    pairs = train_vit.training_pairs(NOUNS)
    others = ((world + 1) * 127.5).to(torch.uint8)
    classifier = torch.nn.Linear(train_vit.WIDTH, NOUNS)
    both = torch.nn.ModuleList([model, classifier])
    trainer = Trainer(both, tmp_path, train_vit.optimizers(both, 2e-3, 1e-2), steps=6, ema=0.5)

    def make_loss(step: int) -> torch.Tensor:
        pixels, labels = draw_batch(world, others, pairs, (8, 4), step)
        return train_vit.vit_loss(model, classifier, pixels, labels)

    trainer.run(make_loss, rank=0, warmup=2)
    parameters = model.num_parameters()
    assert 1.5e6 < parameters < 3e6
    train_vit.assemble(model, tmp_path / "vit")
    assert sum(path.stat().st_size for path in (tmp_path / "vit").iterdir()) < 10_000_000
    scores = train_vit.measure(Judge(tmp_path / "vit"), world)
    assert len(scores) == 4 and all(0 <= share <= 1 for score in scores.values() for share in score.values())
    assert write_card(scores, parameters, 6).count("\n| clean") == 2
    picture = Image.new("RGB", (90, 128), (255, 0, 128))
    pixels = AutoImageProcessor.from_pretrained(tmp_path / "vit")(picture, return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 64, 64) and torch.allclose(
        pixels[0, :, 0, 0], torch.tensor([1.0, -1.0, 0.0]), atol=0.01
    )
    trunk = AutoModel.from_pretrained(tmp_path / "vit", dtype=torch.float32, add_pooling_layer=False)
    states = trunk(pixels, output_hidden_states=True).hidden_states
    assert len(states) == train_vit.BLOCKS + 1 and states[-1].shape == (1, 65, train_vit.WIDTH)
