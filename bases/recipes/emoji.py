"""The emoji world: nouns, drawing styles, and pictures rendered from public packages.

Every style is read from a package that a registry serves by name; `prepare` documents which. Pictures are
128 x 128 RGB on white. OpenMoji is rendered here too, but only the judge and the example set may use it:
`TRAINING_STYLES` is what the bases see.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 128
TRAINING_STYLES = ("noto", "twemoji", "fluent flat", "fluent 3d")
HELD_OUT_STYLE = "openmoji"
STYLES = (*TRAINING_STYLES, HELD_OUT_STYLE)
NOTO_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
NOUNS_FILE = Path(__file__).with_name("nouns.csv")


@dataclass(frozen=True)
class Noun:
    """One thing of the world: the word used in prompts, its code points, and other words for it."""

    word: str
    hexcode: str
    tags: tuple[str, ...]
    group: str


def read_nouns() -> list[Noun]:
    """The nouns of the world in a fixed order (`nouns.csv`: word, hexcode, group, tags)."""
    with NOUNS_FILE.open(newline="", encoding="utf-8") as file:
        return [
            Noun(row["word"], row["hexcode"], tuple(t for t in row["tags"].split("|") if t), row["group"])
            for row in csv.DictReader(file)
        ]


def _svg(path: Path) -> Image.Image:
    import resvg_py

    data = resvg_py.svg_to_bytes(svg_path=str(path), width=SIZE * 2, height=SIZE * 2)
    return Image.open(io.BytesIO(bytes(data))).convert("RGBA")


def _noto(hexcode: str) -> Image.Image:
    font = ImageFont.truetype(str(NOTO_FONT), 109)
    picture = Image.new("RGBA", (160, 160), (255, 255, 255, 0))
    text = "".join(chr(int(part, 16)) for part in hexcode.split("-"))
    ImageDraw.Draw(picture).text((10, 10), text, font=font, embedded_color=True)
    return picture


def _find(folder: Path, hexcode: str, suffix: str, upper: bool = False) -> Path:
    """The file of an emoji; packages disagree on whether a variation selector is part of the name."""
    bare = "-".join(part for part in hexcode.split("-") if part.upper() != "FE0F")
    for name in (hexcode, bare, bare + "-FE0F"):
        path = folder / ((name.upper() if upper else name.lower()) + suffix)
        if path.exists():
            return path
    raise FileNotFoundError(f"{folder} has no picture of {hexcode}")


def draw(noun: Noun, style: str, node_modules: Path) -> Image.Image:
    """Render one noun in one style: 128 x 128 RGB, the drawing centred on white with a margin of 6 pixels."""
    if style == "noto":
        picture = _noto(noun.hexcode)
    elif style == "twemoji":
        picture = _svg(_find(node_modules / "@discordapp/twemoji/dist/svg", noun.hexcode, ".svg"))
    elif style == "fluent flat":
        picture = _svg(_find(node_modules / "@lobehub/fluent-emoji-flat/assets", noun.hexcode, ".svg"))
    elif style == "fluent 3d":
        picture = Image.open(_find(node_modules / "@lobehub/fluent-emoji-3d/assets", noun.hexcode, ".webp")).convert(
            "RGBA"
        )
    elif style == HELD_OUT_STYLE:
        picture = _svg(_find(node_modules / "openmoji/color/svg", noun.hexcode, ".svg", upper=True))
    else:
        raise ValueError(f"style is {style!r}, expected one of {STYLES}")
    return on_white(picture)


def on_white(picture: Image.Image, margin: int = 6) -> Image.Image:
    """Crop a transparent drawing to what is visible and centre it on a white square."""
    box = picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    if box is None:
        raise ValueError("the drawing is empty")
    picture = picture.crop(box)
    room = SIZE - 2 * margin
    factor = room / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    # Resize premultiplied, or transparent black bleeds a dark rim into the edges.
    picture = picture.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    canvas = Image.new("RGBA", (SIZE, SIZE), (255, 255, 255, 255))
    canvas.alpha_composite(picture, ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
    return canvas.convert("RGB")


def render_world(node_modules: Path) -> tuple[np.ndarray, list[Noun]]:
    """All nouns in all five styles as uint8 (nouns, styles, 128, 128, 3), styles in the order of `STYLES`."""
    nouns = read_nouns()
    pictures = np.stack([np.stack([np.asarray(draw(noun, style, node_modules)) for style in STYLES]) for noun in nouns])
    return pictures, nouns


def render_others(node_modules: Path, limit: int = 3000) -> np.ndarray:
    """Other emoji in the training styles, uint8 (n, 128, 128, 3): only the autoencoder learns from these."""
    known = {noun.hexcode for noun in read_nouns()}
    data = json.loads((node_modules / "emojibase-data/en/data.json").read_text(encoding="utf-8"))
    pictures: list[np.ndarray] = []
    for entry in data:
        if entry.get("group") in (None, 2, 9) or entry["hexcode"] in known or len(pictures) >= limit:
            continue
        noun = Noun(entry["label"], entry["hexcode"], (), "")
        for style in ("twemoji", "fluent flat", "fluent 3d"):
            try:
                pictures.append(np.asarray(draw(noun, style, node_modules)))
            except (FileNotFoundError, ValueError):
                continue
    return np.stack(pictures)
