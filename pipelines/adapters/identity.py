"""Which adapter a file holds, whatever is noted in its header; and the note that is made there without a reader."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ProblemsError
from ..files import write_bytes
from .contents import PEFT_CONFIG, tensor_file
from .metadata import NOTES, with_recommended

_HEADER_LIMIT = 100 * 2**20


def identity(path: Path) -> str:
    """32 hexadecimal digits that depend on everything in the file but the notes of ours that say nothing of its
    weights. Raises ProblemsError when it cannot be read."""
    try:
        stamp = tensor_file(path).stat()
        return _identity(path, (stamp.st_mtime_ns, stamp.st_size, stamp.st_ino))
    except OSError as error:
        raise ProblemsError(f"adapter {path.name} cannot be read: {error.strerror or error}") from error


def recommend(path: Path, strength: float | None) -> None:
    """Note the recommended strength in the header of an adapter file; every tensor keeps its bytes.

    Raises ProblemsError when it is not a safetensors file or cannot be written; then it stays as it was.
    """
    try:
        header, rest = _split(tensor_file(path).read_bytes())
    except OSError as error:
        raise ProblemsError(f"adapter {path.name} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ProblemsError(f"{path.name} is not a safetensors file, so nothing can be noted in it") from error
    header["__metadata__"] = with_recommended(header.get("__metadata__", {}), strength)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    write_bytes(tensor_file(path), b"".join((len(text).to_bytes(8, "little"), text, rest)))


@lru_cache(maxsize=256)
def _identity(path: Path, stamp: tuple[int, int, int]) -> str:
    data = tensor_file(path).read_bytes()
    try:
        header, rest = _split(data)
    except ValueError:
        return hashlib.sha256(data).hexdigest()[:32]
    notes = header.get("__metadata__", {})
    header["__metadata__"] = {key: value for key, value in notes.items() if key not in NOTES}
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    found.update(rest)
    if path.is_dir():
        found.update((path / PEFT_CONFIG).read_bytes())
    return found.hexdigest()[:32]


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data section of a safetensors file. Raises ValueError for anything else."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length or length > _HEADER_LIMIT:
        raise ValueError("no header")
    try:
        header = json.loads(data[8 : 8 + length])
    except RecursionError as error:
        raise ValueError("no header") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise ValueError("no header")
    return header, data[8 + length :]
