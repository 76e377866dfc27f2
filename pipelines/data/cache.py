"""The encode-once cache: what a base makes of a sample, keyed by content and base, on disk as safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_tensors

if TYPE_CHECKING:
    from torch import Tensor


class EncodeCache:
    """Maps a key to a dict of tensors under a folder. A damaged entry counts as missing."""

    def __init__(self, folder: Path):
        self.folder = folder

    def get(self, key: tuple[object, ...], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of `key`, from disk or from `make` (then stored, on the CPU)."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        name = hashlib.sha256(repr(key).encode()).hexdigest()
        path = self.folder / name[:2] / f"{name}.safetensors"
        if path.exists():
            try:
                return load_file(path)
            except SafetensorError:
                path.unlink()
        tensors = {key: value.detach().cpu().contiguous() for key, value in make().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors)
        return tensors
