"""Writing files so that a crash or a full disk leaves either the old one or the new one."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ProblemsError

if TYPE_CHECKING:
    from torch import Tensor


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a temporary name, fsync, rename. Raises ProblemsError when there is no room or no permission."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            size = len(data) / 2**20
            raise ProblemsError(
                f"{path.name} needs {size:.1f} MiB and the disk is full; free some room, nothing else was lost"
            ) from error
        raise ProblemsError(f"{path.name} cannot be written: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """`write_bytes` in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file, written whole or not at all."""
    from safetensors.torch import save

    write_bytes(path, save(dict(tensors), dict(metadata) if metadata else None))
