"""What the tests of reading data make their uploads of."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw

from pipelines.data.samples import Dataset


def png(shade: int, size: tuple[int, int] = (24, 16)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 100, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def make_folder(root: Path, contents: dict[str, bytes | str]) -> Path:
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def make_zip(path: Path, contents: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def captions(dataset: Dataset) -> dict[str, str]:
    return {sample.name: sample.caption for sample in dataset.samples}


def only(sentences: tuple[str, ...], *parts: str) -> None:
    """Exactly one sentence, with all the parts in it."""
    assert len(sentences) == 1, sentences
    for part in parts:
        assert part in sentences[0]


CONTENTS = {"cats/one.png": png(1), "cats/one.txt": "a cat\n", "two.PNG": png(2), "two.caption": "a dog"}


def make_pictures(folder: Path, count: int = 6, size: int = 72) -> Path:
    """Coloured discs on white with captions beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture = Image.new("RGB", (size, size), "white")
        box = (8 + i, 8, size - 12, size - 8 - 2 * i)
        ImageDraw.Draw(picture).ellipse(box, fill=(40 * i % 256, 200 - 20 * i, 90), outline="black", width=3)
        picture.save(folder / f"disc-{i}.png")
        (folder / f"disc-{i}.txt").write_text(f"disc {i}", encoding="utf-8")
    return folder


def make_layouts(folder: Path, count: int = 6) -> Path:
    """`make_pictures` with a box around each disc and, in every other picture, a second box."""
    make_pictures(folder, count)
    lines = []
    for i in range(count):
        regions = [{"box": [(8 + i) / 72, 8 / 72, 60 / 72, (64 - 2 * i) / 72], "caption": f"disc {i}"}]
        if i % 2:
            regions.append({"box": [0.9, 0.9, 1, 1], "caption": "paper"})
        lines.append(json.dumps({"file_name": f"disc-{i}.png", "text": f"a disc {i}", "regions": regions}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
