"""Describing pictures for the page: a process of its own writes lines, the page asks for them and decides."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipelines.captioning import CAPTIONS, REQUEST, find_captioner
from pipelines.errors import ProblemsError
from pipelines.files import write_text

from . import processes
from .picture_desk import PictureDesk
from .text import say

_ROOT = Path(__file__).resolve().parent.parent


class Describer:
    """The captioning of one dataset. Its state is in its folder, so it outlives the page and the server."""

    def __init__(self, desk: PictureDesk):
        self.desk = desk
        self.folder = desk.aside / "captioning"

    def start(self, model: str, ids: Collection[str], overwrite: bool) -> None:
        """Begin to describe these pictures; those with a caption only if `overwrite`. Raises ProblemsError."""
        find_captioner(model)
        with self.desk.alone():
            # One at a time on the whole server: a model fills the memory.
            others = self.desk.visitor.folder.parent.glob("*/editing/*/captioning/process.json")
            if any(_alive(path) for path in others):
                raise ProblemsError(say("describing_already"))
            wanted = [one for one in self.desk.samples() if one.id in ids and (overwrite or not one.caption)]
            if not wanted:
                raise ProblemsError(say("nothing_to_describe"))
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(mode=0o700, parents=True)
            pictures = [{"id": one.id, "path": str(one.path), "before": one.caption} for one in wanted]
            write_text(self.folder / REQUEST, json.dumps({"model": model, "pictures": pictures}))
            with (self.folder / "log.txt").open("wb") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "pipelines.captioning", str(self.folder)],
                    cwd=_ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            process = {"pid": child.pid, "started": processes.start_time(child.pid)}
            write_text(self.folder / "process.json", json.dumps(process))

    def stop(self) -> None:
        """End it; what was described stays."""
        process = _read(self.folder / "process.json")
        if process:
            processes.end(process["pid"], process["started"])

    def found(self, since: int) -> dict[str, Any]:
        """The lines after the first `since`; each caption with the one its picture had `before`."""
        active = _alive(self.folder / "process.json")
        before = {}
        request = _read(self.folder / REQUEST)
        if request:
            before = {one["id"]: one["before"] for one in request["pictures"]}
        try:
            text = (self.folder / CAPTIONS).read_text(encoding="utf-8")
        except OSError:
            text = ""
        # A line without its end is still being written.
        rows = [json.loads(line) for line in text.split("\n")[:-1]]
        ended = bool(rows) and "id" not in rows[-1]
        if request and not active and not ended:
            rows.append({"problems": [say("describing_ended")]})
        lines = [row | {"before": before.get(row["id"])} if "id" in row else row for row in rows[since:]]
        return {"active": active, "lines": lines, "count": len(before)}


def _alive(path: Path) -> bool:
    process = _read(path)
    return process is not None and processes.alive(process["pid"], process["started"])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
