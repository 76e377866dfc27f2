"""Is that process still the one we started? A pid alone does not tell: pids are used again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_PROC = Path("/proc")


def start_time(pid: int) -> str | None:
    """A text that identifies the process behind a pid for as long as it lives, or None when there is none.

    Linux: boot id and start tick from /proc (a zombie counts as gone). macOS and BSD: what `ps` says. Windows: None.
    """
    if (_PROC / "self" / "stat").exists():
        try:
            # The name in parentheses may itself hold spaces and parentheses.
            fields = (
                (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            )
            boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    if sys.platform == "win32":
        return None
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = found.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def alive(pid: int, started: str | None) -> bool:
    """Whether the process with this pid and start time is still running."""
    return started is not None and start_time(pid) == started


def end(pid: int, started: str | None, patience: float = 5.0) -> None:
    """End a process and its group: asked first, killed after `patience` seconds. Does nothing if it is gone."""
    for sign in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        if not alive(pid, started):
            return
        try:
            os.killpg(pid, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while alive(pid, started) and time.monotonic() < deadline:
            time.sleep(0.05)
