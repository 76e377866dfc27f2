"""Boxes and captions in the files of other programs: COCO, LayoutSAM, LabelMe, one JSON for each picture, YOLO."""

from __future__ import annotations

import ast
import json
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ProblemsError
from .boxes import Box, Marked
from .plain import clean

_LARGEST = 1e6
# Boxes of one picture that are looked at: a file made to fill the memory has millions.
_MOST = 1000
_KNOWN = (
    "COCO (images, annotations), LayoutSAM (file_name, bbox_list), LabelMe (shapes), or "
    '{"caption": "...", "regions": [{"box": [0, 0, 1, 1], "caption": "a fox"}]}'
)
_NO_NAMES = 'expected "names: [fox, cat]" or a line for each name'


@dataclass(frozen=True)
class Told:
    """What a file says of one picture: how it calls it ("": the picture that is named like the file), the caption of
    the whole picture ("" if none), and its boxes."""

    file: str
    caption: str = ""
    marked: Marked | None = None


def read_layouts(text: str, name: str) -> list[Told]:
    """What a JSON file (`.jsonl`: one JSON a line) says, whichever program wrote it. Raises ProblemsError."""
    pieces = [line for line in text.split("\n") if line.strip()] if name.lower().endswith(".jsonl") else [text]
    try:
        values = [json.loads(piece) for piece in pieces]
    except (ValueError, RecursionError):
        raise ProblemsError(f"{name} is not JSON, or damaged: save it again") from None
    found = [told for value in values for one in (value if isinstance(value, list) else [value]) for told in _told(one)]
    if not found:
        raise ProblemsError(f"{name} has no boxes or captions that can be read, expected {_KNOWN}")
    return found


def _told(value: Any) -> Iterator[Told]:
    if not isinstance(value, dict):
        return
    if isinstance(value.get("images"), list) and isinstance(value.get("annotations"), list):
        yield from _coco(value)
    elif "bbox_list" in value:
        yield Told(_text(value.get("file_name")), row_caption(value), row_boxes(value))
    elif isinstance(value.get("shapes"), list):
        yield _labelme(value)
    elif isinstance(value.get("regions"), list) or row_caption(value):
        yield Told(_text(value.get("file_name")), row_caption(value), row_boxes(value))


def row_caption(row: Mapping[str, Any]) -> str:
    """The caption of a whole picture, under the names that data sets give it."""
    return next((row[key] for key in ("text", "caption", "global_caption") if isinstance(row.get(key), str)), "")


def row_boxes(row: Mapping[str, Any]) -> Marked | None:
    """The boxes of a row of a table: `regions` as this project writes them (shares), or a LayoutSAM record (pixels)."""
    given = row.get("regions")
    if given not in (None, ""):
        items = _literal(given)[:_MOST]
        boxes = [(_numbers(item.get("box")), _text(item.get("caption"))) for item in _dicts(items)]
        # What is no object counts as a box that cannot be read.
        return Marked((*boxes, *[(None, "")] * (len(items) - len(boxes))))
    if "bbox_list" not in row:
        return None
    captions = next((_literal(row[key]) for key in ("region_captions", "detail_region_captions") if row.get(key)), [])
    corners = _literal(row["bbox_list"])[:_MOST]
    captions += [""] * (len(corners) - len(captions))
    pairs = [(_numbers(box), _text(caption)) for box, caption in zip(corners, captions, strict=False)]
    return Marked(tuple(pairs), True, _size(row.get("width"), row.get("height")))


def _coco(value: dict[str, Any]) -> Iterator[Told]:
    """Boxes are [left, top, width, height] in pixels. A box is called what its annotation says in `caption`, else its
    category; an annotation without a box says something of the whole picture."""
    names = {_id(one): _text(one.get("name")) for one in _dicts(value.get("categories"))}
    boxes: dict[Hashable, list[tuple[Box | None, str]]] = {}
    captions: dict[Hashable, str] = {}
    for one in _dicts(value["annotations"]):
        image, own = _id(one, "image_id"), one.get("caption")
        if "bbox" not in one:
            captions.setdefault(image, _text(own))
        elif len(boxes.setdefault(image, [])) < _MOST:
            caption = own if isinstance(own, str) else names.get(_id(one, "category_id"), "")
            boxes[image].append((_from_corner(_numbers(one["bbox"])), caption))
    for one in _dicts(value["images"]):
        image = _id(one)
        size = _size(one.get("width"), one.get("height"))
        marked = Marked(tuple(boxes[image]), True, size) if image in boxes else None
        told = Told(_text(one.get("file_name")), row_caption(one) or captions.get(image, ""), marked)
        if told.file and (told.caption or told.marked):
            yield told


def _labelme(value: dict[str, Any]) -> Told:
    """Any shape but a circle is read as the box around its points, which are pixels."""
    boxes = []
    for shape in _dicts(value["shapes"][:_MOST]):
        points = shape.get("points")
        pairs = [_numbers(point, 2) for point in points] if isinstance(points, list) else []
        box = None if shape.get("shape_type") == "circle" or None in pairs else _around([p for p in pairs if p])
        boxes.append((box, _text(shape.get("description")) or _text(shape.get("label"))))
    size = _size(value.get("imageWidth"), value.get("imageHeight"))
    # The picture is the one named like the file: `imagePath` often leads to where it lay on another machine.
    return Told("", row_caption(value), Marked(tuple(boxes), True, size))


def read_yolo(text: str, names: Mapping[int, str] | None) -> Marked | None:
    """The boxes of a YOLO label file; None when the text is something else, such as a caption. `names` are those of the
    classes, None when nothing says that YOLO files are to be expected."""
    lines = [line.split() for line in text.splitlines() if line.strip()][:_MOST]
    boxes = [(_yolo_box(line, names is not None), line[0]) for line in lines]
    if not lines or 2 * sum(box is not None for box, _ in boxes) <= len(lines):
        return None
    known = names or {}
    return Marked(tuple((box, known.get(int(label)) if label.isdecimal() else "") for box, label in boxes))


def _yolo_box(words: list[str], expected: bool) -> Box | None:
    """A class, then centre, width and height (and how sure a program was), or the corners of a polygon."""
    if not (words[0].isascii() and words[0].isdecimal() and len(words[0]) < 7):
        return None
    try:
        numbers = _numbers([float(word) for word in words[1:]], len(words) - 1)
    except ValueError:
        return None
    # A caption may be numbers too; shares they will not be.
    if not numbers or (not expected and max(map(abs, numbers)) > 2):
        return None
    if len(numbers) in (4, 5):
        across, down, width, height = numbers[:4]
        return across - width / 2, down - height / 2, across + width / 2, down + height / 2
    return None if len(numbers) % 2 else _around(list(zip(numbers[::2], numbers[1::2], strict=True)))


def read_names(text: str, name: str) -> dict[int, str]:
    """Names of YOLO classes: a line for each, or a YAML file with `names`. Raises ProblemsError."""
    found: Any = text.split("\n")
    if name.lower().endswith((".yaml", ".yml")):
        import yaml

        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ProblemsError(f"{name} is not YAML, or damaged, {_NO_NAMES}") from None
        found = value.get("names") if isinstance(value, dict) else None
    if isinstance(found, list):
        found = dict(enumerate(found))
    if not isinstance(found, dict):
        raise ProblemsError(f"{name} has no names of classes, {_NO_NAMES}")
    return {number: clean(str(one)) for number, one in found.items() if isinstance(one, (str, int, float))}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _id(one: dict[str, Any], key: str = "id") -> Hashable:
    """An id as programs write them: numbers, or text. Anything else is no id that could be met again."""
    value = one.get(key)
    return str(value) if isinstance(value, (int, str)) else object()


def _numbers(value: Any, count: int = 4) -> Any:
    """A tuple of so many plain numbers, or None."""
    if not isinstance(value, (list, tuple)) or len(value) != count:
        return None
    # Neither infinities nor what is no number pass the comparison.
    if not all(type(one) in (int, float) and abs(one) <= _LARGEST for one in value):
        return None
    return tuple(float(one) for one in value)


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    sides = _numbers([float(one) if isinstance(one, str) and one.isdecimal() else one for one in (width, height)], 2)
    return (int(sides[0]), int(sides[1])) if sides and min(sides) >= 1 else None


def _from_corner(box: Box | None) -> Box | None:
    """A negative width or height is a box drawn backwards: the reader of boxes puts it right."""
    return box and (box[0], box[1], box[0] + box[2], box[1] + box[3])


def _around(points: list[tuple[float, float]]) -> Box | None:
    if len(points) < 2:
        return None
    across, down = [x for x, _ in points], [y for _, y in points]
    return min(across), min(down), max(across), max(down)


def _literal(value: Any) -> list[Any]:
    """A list, or the text of one, as JSON or as Python writes it (LayoutSAM stores its lists so); anything else is one
    thing that cannot be read."""
    if isinstance(value, str):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(value)
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return list(value) if isinstance(value, (list, tuple)) else [None]
