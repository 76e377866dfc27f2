"""The example set, and the judge that measures with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pipelines.judge import FOLDER, Judge, to_pixels

EXAMPLES = Path(__file__).parents[1] / "examples" / "data" / "openmoji"


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


@pytest.fixture(scope="module")
def examples() -> dict[str, Image.Image]:
    """Pictures by noun."""
    found = {}
    for path in sorted(EXAMPLES.glob("*.png")):
        noun, style = path.with_suffix(".txt").read_text(encoding="utf-8").strip().split(", ")
        assert style == "openmoji" and noun.startswith("a ")
        found[noun.removeprefix("a ")] = Image.open(path)
    return found


def test_the_example_set_is_whole_and_small(examples: dict[str, Image.Image]) -> None:
    assert len(examples) == 18
    assert {path.suffix for path in EXAMPLES.iterdir()} == {".png", ".txt"}
    assert all(picture.size == (128, 128) for picture in examples.values())
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir()) < 100_000
    assert "CC BY-SA 4.0" in (EXAMPLES.parent / "LICENSE-openmoji").read_text(encoding="utf-8")


def test_the_judge_is_small_and_knows_the_world(judge: Judge) -> None:
    assert (FOLDER / "model.safetensors").stat().st_size < 5_000_000
    assert len(judge.nouns) == 182 and len(set(judge.nouns)) == 182
    assert judge.styles == ["noto", "twemoji", "fluent flat", "fluent 3d", "openmoji"]


def test_the_judge_recognizes_the_examples(judge: Judge, examples: dict[str, Image.Image]) -> None:
    scores = judge.score(to_pixels(list(examples.values())), list(examples), ["openmoji"] * len(examples))
    assert scores["style"] == 1.0 and scores["noun_top5"] == 1.0


def test_the_wrong_answer_scores_nothing(judge: Judge, examples: dict[str, Image.Image]) -> None:
    scores = judge.score(
        to_pixels(list(examples.values())), ["shopping cart"] * len(examples), ["noto"] * len(examples)
    )
    assert scores["style"] == 0.0 and scores["noun_top1"] == 0.0


def test_a_verdict_does_not_depend_on_the_other_pictures(judge: Judge, examples: dict[str, Image.Image]) -> None:
    pixels = to_pixels(list(examples.values()))
    together, alone = judge.logits(pixels), judge.logits(pixels[3:4])
    for whole, single in zip(together, alone, strict=True):
        assert torch.allclose(whole[3:4], single, atol=1e-3)
    assert together[0].shape == (18, 182) and together[1].shape == (18, 5)
