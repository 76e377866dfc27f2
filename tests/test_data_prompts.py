"""The first prompt: like the captions, about something new."""

from __future__ import annotations

import pytest

from pipelines.data.prompts import suggest_prompt


@pytest.mark.parametrize(
    ("captions", "trigger", "prompt"),
    [
        (["a banana, openmoji", "a bus, openmoji", "a butterfly, openmoji"], "", "a tree, openmoji"),
        (["a tree, openmoji", "two mushrooms, openmoji"], "", "a car, openmoji"),
        (["an apple, ink", "a bus, ink"], "", "a tree, ink"),
        (["sks, a cat", "sks, a house"], "sks", "sks, a tree"),
        (["a cat", "the house at night"], "sks", "sks, a tree"),
        (["photo of Ann", "photo of Ann at sea"], "", "photo of Ann, a tree"),
        (["a cat"], "", "a tree"),
        ([], "", "a tree"),
        (["", "a cat"], "", "a tree"),
        (["一只猫，水墨", "一条狗，水墨"], "", "a tree，水墨"),
    ],
)
def test_a_prompt_like_the_captions(captions: list[str], trigger: str, prompt: str) -> None:
    assert suggest_prompt(captions, trigger) == prompt


def test_it_ends_when_every_noun_is_taken_and_is_never_long() -> None:
    nouns = ["fox", "dog", "mushroom", "penguin", "bicycle", "tree", "car", "moon"]
    assert suggest_prompt(nouns) == "a tree"
    assert len(suggest_prompt(["x " * 900 + "a", "x " * 900 + "b"])) < 300
