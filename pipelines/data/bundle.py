"""A dataset as a zip file that other programs read, and that `import_dataset` reads back the same."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .samples import METADATA, Sample


def write_bundle(samples: Sequence[Sample], target: Path, pictures: bool = True) -> None:
    """Write pictures (or not) with their captions, each caption twice: in `metadata.jsonl`, which also has the
    regions, and in a text file beside its picture."""
    taken: set[str] = set()
    rows = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for sample in samples:
            stem = _free(sample.name, taken)
            name = f"{stem}{sample.path.suffix}"
            if pictures:
                # Pictures are packed already.
                archive.write(sample.path, name, zipfile.ZIP_STORED)
            if sample.caption:
                archive.writestr(f"{stem}.txt", sample.caption + "\n")
            row = {"file_name": name, "text": sample.caption}
            regions = [region.to_dict() for region in sample.regions]
            rows.append(json.dumps(row | ({"regions": regions} if regions else {}), ensure_ascii=False))
        archive.writestr(METADATA, "".join(f"{row}\n" for row in rows))


def _free(name: str, taken: set[str]) -> str:
    """The path of a name without its ending, safe to unpack and not yet taken (also where case does not count)."""
    parts = [part for part in PurePosixPath(name).with_suffix("").parts if part.strip(". /")]
    whole = "/".join("".join("_" if c in '<>:"|?*' else c for c in part).strip() for part in parts) or "picture"
    stem, number = whole, 1
    while stem.casefold() in taken:
        number += 1
        stem = f"{whole}-{number}"
    taken.add(stem.casefold())
    return stem
