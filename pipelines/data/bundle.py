"""A dataset as a zip file that other programs read, and that `import_dataset` reads back the same."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from .samples import METADATA, Sample

# Where programs look for it that take a folder of pictures with the file among them.
_COCO = "_annotations.coco.json"
# COCO and YOLO want a class for every box.
_UNNAMED = "object"
_NOT_IN_YAML = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_bundle(samples: Sequence[Sample], target: Path, form: str = "pictures") -> None:
    """Write the samples in one of the `FORMS`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        FORMS[form](archive, samples)


def _pictures(archive: zipfile.ZipFile, samples: Sequence[Sample]) -> None:
    """Pictures, and what `_captions` writes."""
    for name, sample in _named(samples):
        _store(archive, sample, name)
    _captions(archive, samples)


def _captions(archive: zipfile.ZipFile, samples: Sequence[Sample]) -> None:
    """Each caption twice: in `metadata.jsonl`, which also has the regions, and in a text file beside its picture."""
    rows = []
    for name, sample in _named(samples):
        if sample.caption:
            archive.writestr(_sidecar(name, ".txt"), sample.caption + "\n")
        row: dict[str, Any] = {"file_name": name, "text": sample.caption}
        if sample.regions:
            row["regions"] = [region.to_dict() for region in sample.regions]
        rows.append(json.dumps(row, ensure_ascii=False))
    archive.writestr(METADATA, "".join(f"{row}\n" for row in rows))


def _coco(archive: zipfile.ZipFile, samples: Sequence[Sample]) -> None:
    """Pictures and one COCO file: pixels of the upright picture, a category for each caption of a box."""
    classes = _classes(samples)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, sample) in enumerate(_named(samples), 1):
        _store(archive, sample, name)
        size = {"width": sample.width, "height": sample.height}
        images.append({"id": number, "file_name": name, **size, "caption": sample.caption})
        for region in sample.regions:
            left, top, right, bottom = region.box
            width, height = (right - left) * sample.width, (bottom - top) * sample.height
            box = [left * sample.width, top * sample.height, width, height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": classes[region.caption or _UNNAMED] + 1,
                    "bbox": [round(side, 3) for side in box],
                    "area": round(width * height, 3),
                    "iscrowd": 0,
                    "caption": region.caption,
                }
            )
    categories = [{"id": number + 1, "name": name} for name, number in classes.items()]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    archive.writestr(_COCO, json.dumps(whole, ensure_ascii=False, indent=1))


def _yolo(archive: zipfile.ZipFile, samples: Sequence[Sample]) -> None:
    """Pictures, a label file for each, and the names of the classes. YOLO has no place for the caption of a picture: it
    lies beside it."""
    classes = _classes(samples)
    for name, sample in _named(samples):
        _store(archive, sample, f"images/{name}")
        if sample.caption:
            archive.writestr(_sidecar(f"images/{name}", ".caption"), sample.caption + "\n")
        lines = []
        for region in sample.regions:
            left, top, right, bottom = region.box
            shares = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            lines.append(" ".join([str(classes[region.caption or _UNNAMED]), *(f"{share:.6f}" for share in shares)]))
        archive.writestr(_sidecar(f"labels/{name}", ".txt"), "".join(f"{line}\n" for line in lines))
    # JSON is YAML too, and quotes whatever a caption may hold.
    names = json.dumps([_NOT_IN_YAML.sub(" ", name) for name in classes], ensure_ascii=False)
    archive.writestr("data.yaml", f"path: .\ntrain: images\nval: images\nnames: {names}\n")


FORMS: dict[str, Callable[[zipfile.ZipFile, Sequence[Sample]], None]] = {
    "pictures": _pictures,
    "captions": _captions,
    "coco": _coco,
    "yolo": _yolo,
}


def _classes(samples: Sequence[Sample]) -> dict[str, int]:
    captions = sorted({region.caption or _UNNAMED for sample in samples for region in sample.regions})
    return {caption: number for number, caption in enumerate(captions)}


def _sidecar(name: str, suffix: str) -> str:
    return str(PurePosixPath(name).with_suffix(suffix))


def _store(archive: zipfile.ZipFile, sample: Sample, name: str) -> None:
    # Pictures are packed already.
    archive.write(sample.path, name, zipfile.ZIP_STORED)


def _named(samples: Sequence[Sample]) -> Iterator[tuple[str, Sample]]:
    """Each sample with a name that is safe to unpack and that no other has (also where case does not count)."""
    taken: set[str] = set()
    for sample in samples:
        parts = [part for part in PurePosixPath(sample.name).with_suffix("").parts if part.strip(". /")]
        whole = "/".join("".join("_" if c in '<>:"|?*' else c for c in part).strip() for part in parts) or "picture"
        stem, number = whole, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{whole}-{number}"
        taken.add(stem.casefold())
        yield f"{stem}{sample.path.suffix}", sample
