"""The judge's model card, with the figures just measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_CARD = """\
---
license: cc-by-sa-4.0
library_name: transformers
pipeline_tag: image-classification
---
# The judge

Says which of 182 everyday nouns and which of five drawing styles (noto, twemoji, fluent flat, fluent 3d, openmoji) a
picture shows. It exists to measure the bundled base and adapters trained on it; nothing is trained with it.

A stock `ResNetForImageClassification` of 1.3 M parameters in fp16, on 64 x 64 pixels in [-1, 1]. The first 182 labels
are the nouns, the last five the styles; each group has its own softmax. `pipelines/judge.py` loads it, and
`python -m bases.recipes.train_judge` makes one like it (ten to thirty minutes on one core, by how idle it is).

## Data

The 182 nouns in five styles, 128 x 128 on white, and {others} further emoji in the same styles, from which only the
style is learned. Everything is moved, bent, recoloured, softened and soiled (`bases/recipes/distort.py`); to a quarter
of the nouns lines are added. **The OpenMoji drawings of 30 nouns (every sixth of `nouns.csv`, from the third) were
never seen**: there the style must come from the way of drawing and the noun from the other styles.

## Measured

Shares in percent. "Distorted": four new distortions of each picture at full strength.

| pictures | noun top-1 | noun top-5 | style |
|---|---|---|---|
{rows}

Nouns with the lowest top-5 under distortion, over all styles: {weakest}.

## Limits

- It knows nothing but these nouns and styles; of anything else it names the nearest.
- "openmoji" means dark lines of even width around flat colours. A drawing of that kind by anyone else is called so too.
- Some OpenMoji drawings show a thing quite otherwise than the other styles do. On those that it never saw, the noun is
  a guess; compare top-5 before and after an adapter, not with 100.

## License

The weights are a product of OpenMoji (CC BY-SA 4.0, openmoji.org), Twemoji (CC BY 4.0), Noto Emoji (OFL 1.1) and Fluent
Emoji (MIT) drawings. They are given under CC BY-SA 4.0, the strictest of these. See `THIRD_PARTY.md`.
"""


def write_card(scores: Mapping[str, Mapping[str, float]], weakest: Sequence[tuple[str, float]], others: int) -> str:
    """The card as Markdown; `scores` by kind of pictures, shares in [0, 1]; `weakest` nouns, worst first."""
    rows = "\n".join(
        f"| {kind} | " + " | ".join(f"{100 * score[key]:.1f}" for key in ("noun_top1", "noun_top5", "style")) + " |"
        for kind, score in scores.items()
    )
    names = ", ".join(f"{noun} ({100 * share:.0f})" for noun, share in weakest[:6])
    return _CARD.format(others=others, rows=rows, weakest=names)
