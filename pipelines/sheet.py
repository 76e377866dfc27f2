"""A contact sheet: pictures in rows and columns with what they are written beside them, in ink and in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

_GAP = 8
_INK, _QUIET, _PAPER = "#0f172a", "#475569", "white"
# The font that comes with Pillow has Latin letters only; of these some machine has one.
_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "wqy-microhei.ttc", "msyh.ttc", "PingFang.ttc")


@dataclass(frozen=True)
class Sheet:
    """`rows`: a label and one picture per column each. `heading` is written on top; `facts` go into the file as text,
    under their names."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Image.Image, ...]], ...]
    facts: Mapping[str, str] = field(default_factory=dict)

    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        layout = _Layout(self)
        return layout.width, layout.height

    def png(self) -> bytes:
        """The sheet as a PNG file."""
        layout = _Layout(self)
        paper = Image.new("RGB", (layout.width, layout.height), _PAPER)
        pen = ImageDraw.Draw(paper)
        for i, line in enumerate(layout.heading):
            pen.text((_GAP, _GAP + i * layout.line), line, _INK, layout.font)
        for i, column in enumerate(self.columns):
            left = layout.left(i) + (layout.cell[0] - layout.font.getlength(column)) / 2
            pen.text((left, layout.top(0) - layout.line), column, _INK, layout.font)
        for r, (label, pictures) in enumerate(self.rows):
            for k, line in enumerate(_wrapped(label, layout.font, layout.margin - _GAP)):
                pen.text((_GAP, layout.top(r) + k * layout.line), line, _QUIET, layout.font)
            for i, picture in enumerate(pictures):
                paper.paste(picture, (layout.left(i), layout.top(r)))
        text, buffer = PngInfo(), BytesIO()
        for name, value in self.facts.items():
            text.add_itxt(name, value)
        paper.save(buffer, "PNG", pnginfo=text)
        return buffer.getvalue()


class _Layout:
    """Where everything goes. Letters grow with the pictures."""

    def __init__(self, sheet: Sheet):
        pictures = [picture for _, row in sheet.rows for picture in row]
        self.cell = max(p.width for p in pictures), max(p.height for p in pictures)
        size = max(13, self.cell[0] // 16)
        self.font = _font(size)
        self.line = round(size * 1.5)
        self.margin = _GAP + (round(self.cell[0] * 0.8) if any(label for label, _ in sheet.rows) else 0)
        self.width = self.left(len(sheet.columns))
        self.heading = _wrapped(sheet.heading, self.font, self.width - 2 * _GAP)
        self._top = 2 * _GAP + self.line * (len(self.heading) + 1)
        self.height = self.top(len(sheet.rows))

    def left(self, column: int) -> int:
        return self.margin + column * (self.cell[0] + _GAP)

    def top(self, row: int) -> int:
        return self._top + row * (self.cell[1] + _GAP)


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    """Lines of at most that many pixels, broken at spaces, or anywhere in a word that is too long."""
    lines = [""]
    for word in text.replace("\n", " ").split(" "):
        if lines[-1] and font.getlength(f"{lines[-1]} {word}") > width:
            lines.append("")
        for letter in f" {word}" if lines[-1] else word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


@cache
def _font(size: int) -> Any:
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def strength_columns(values: Sequence[float]) -> tuple[str, ...]:
    """Strengths as the head of each column."""
    return tuple(f"{value:g}" for value in values)
