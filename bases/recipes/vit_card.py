"""The model card of `emoji-vit`, with the figures just measured."""

from __future__ import annotations

from collections.abc import Mapping

_CARD = """\
---
license: cc-by-4.0
library_name: transformers
pipeline_tag: image-classification
---
# emoji-vit

A small vision transformer that knows 182 everyday nouns in four emoji drawing styles: the teacher whose hidden states
VoRA learns to see with. A stock `ViTForImageClassification` of {parameters:.1f} M parameters (6 blocks, width 192) on
64 patches of 64 x 64 pixels in [-1, 1], fp16. The first 182 labels are the nouns, the last four the styles; each group
has its own softmax.

## How good it is

Shares in percent after {steps} steps of `bases/recipes/train_vit.py`. Pictures were moved, bent, recoloured, softened
and soiled in training; "distorted" are new ones of that kind. **Of each noun one style was never shown** (the number of
the noun modulo four), so that there are drawings which no one who learned from this model has met.

| pictures | noun top-1 | noun top-5 | style |
|---|---|---|---|
{rows}

## Made from

Noto Emoji, Twemoji and Fluent Emoji pictures: three of the four drawings of each noun, and 688 further emoji in all
four styles, which it had to tell apart as well: so it learned how one thing looks in another style. OpenMoji is held
out. Licenses: THIRD_PARTY.md at the root of the repository.
"""


def write_card(scores: Mapping[str, Mapping[str, float]], parameters: int, steps: int) -> str:
    """The card as Markdown; `scores` by kind of pictures, shares in [0, 1]."""
    rows = "\n".join(
        f"| {kind} | " + " | ".join(f"{100 * score[key]:.1f}" for key in ("noun_top1", "noun_top5", "style")) + " |"
        for kind, score in scores.items()
    )
    return _CARD.format(parameters=parameters / 1e6, steps=steps, rows=rows)
