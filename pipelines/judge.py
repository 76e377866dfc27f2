"""The judge: says which noun and which drawing style a picture shows. Used only to measure, never to train.

It knows drawings as those that the bundled bases learned from, on white, and no photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .bases import BUNDLED_FOLDER

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FOLDER = BUNDLED_FOLDER / "judge"
SIZE = 64
STYLE_PREFIX = "style: "
MARGIN = 6 / 116  # of paper around a drawing, relative to it, in the pictures that the judge learned from
_GUESSES = 5


def cut_out(picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """A box (left, top, right, bottom in pixels) in the middle of a white square, as the judge knows its pictures."""
    piece = picture.crop(box)
    side = round(max(piece.size) * (1 + 2 * MARGIN))
    square = Image.new("RGB", (side, side), "white")
    square.paste(piece, ((side - piece.width) // 2, (side - piece.height) // 2))
    return square


def to_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """PIL pictures of any size to float [-1, 1], (B, 3, 128, 128)."""
    import torch

    arrays = [np.asarray(picture.convert("RGB").resize((128, 128))) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


class Judge:
    """Loads `bases/judge`, a stock classifier of 64 px pictures whose labels are the nouns, then the styles.

    `nouns` and `styles` name the columns of the two answers. Pixels are float [-1, 1], (B, 3, H, W), square.
    """

    def __init__(self, folder: Path = FOLDER):
        import torch
        import transformers
        from transformers import AutoModelForImageClassification

        transformers.utils.logging.disable_progress_bar()
        self.model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
        labels = [self.model.config.id2label[i] for i in range(self.model.config.num_labels)]
        self.nouns = [label for label in labels if not label.startswith(STYLE_PREFIX)]
        self.styles = [label.removeprefix(STYLE_PREFIX) for label in labels[len(self.nouns) :]]

    def logits(self, pixels: torch.Tensor) -> tuple[Tensor, Tensor]:
        """Noun logits (B, nouns) and style logits (B, styles)."""
        import torch
        import torch.nn.functional as F

        with torch.inference_mode():
            small = F.interpolate(pixels.float(), size=(SIZE, SIZE), mode="bilinear", antialias=True)
            both = torch.cat([self.model(part).logits for part in small.split(128)])
        return both[:, : len(self.nouns)], both[:, len(self.nouns) :]

    def finds(self, pixels: torch.Tensor, nouns: Sequence[str]) -> list[bool]:
        """Whether the noun that each row of a batch should show is among the first five that the judge names."""
        return [bool(found) for found in self._guessed(self.logits(pixels)[0], nouns).any(1)]

    def score(self, pixels: torch.Tensor, nouns: Sequence[str], styles: Sequence[str]) -> dict[str, float]:
        """Shares in [0, 1] over a batch whose rows should show `nouns` in `styles`: noun_top1, noun_top5, style."""
        import torch

        noun_logits, style_logits = self.logits(pixels)
        guessed = self._guessed(noun_logits, nouns)
        style = style_logits.argmax(1) == torch.tensor([self.styles.index(name) for name in styles])
        return {
            "noun_top1": guessed[:, 0].float().mean().item(),
            "noun_top5": guessed.any(1).float().mean().item(),
            "style": style.float().mean().item(),
        }

    def _guessed(self, logits: Tensor, nouns: Sequence[str]) -> Tensor:
        """Which of the first five nouns of each row is the wanted one, (B, 5)."""
        import torch

        wanted = torch.tensor([self.nouns.index(noun) for noun in nouns])
        return logits.topk(_GUESSES).indices == wanted[:, None]
