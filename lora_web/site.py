"""What every tab shares: the workspace, the supervisor, the previews, and whether strangers come here."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pipelines.bases import BUNDLED, TEACHERS
from pipelines.config import RunConfig
from pipelines.errors import ProblemsError

from . import slots
from .measuring import Measures
from .previews import Previews
from .rates import HourlyRate
from .runs import Supervisor
from .text import duration, say
from .workspace import Visitor, Workspace

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"
_SWEEP_EVERY = 600.0


@dataclass
class Site:
    """One running page."""

    workspace: Workspace
    hosted: bool = False
    supervisor: Supervisor = field(init=False)
    previews: Previews = field(init=False)
    measures: Measures = field(init=False)

    def __post_init__(self) -> None:
        limits = self.workspace.limits
        longest = 60.0 * limits.run_minutes or None
        self.supervisor = Supervisor(self.workspace, longest)
        self.previews = Previews(self.workspace.ladders)
        self.measures = Measures(self.workspace.root / "measured", lambda: self.supervisor.busy)
        self._starts = HourlyRate(limits.starts_per_hour)
        if limits.keep_hours:
            threading.Thread(target=self._sweep_forever, name="retention", daemon=True).start()

    @property
    def served(self) -> Path:
        """Where files are put that the browser may fetch: Gradio's cache."""
        return Path(os.environ["GRADIO_TEMP_DIR"])

    def who(self, state: Any) -> tuple[Visitor, dict[str, Any]]:
        """The visitor a browser claims to be, and its state with everything unknown left out. Trusts nothing in it."""
        state = state if isinstance(state, Mapping) else {}
        visitor = self.workspace.visitor(state.get("visitor"))
        visitor.seen()
        known = {"visitor": visitor.token, **slots.known(state, visitor)}
        if visitor.adapter(state.get("adapter")) or visitor.run(state.get("adapter")):
            known["adapter"] = state["adapter"]
        return visitor, known

    def check(self, config: RunConfig) -> None:
        """Limits of this page that a run config does not know. Raises ProblemsError with every problem at once."""
        problems: list[str] = [*self.workspace.limits.check(config)]
        # On a server for strangers a free text would be a way to ask which files it has.
        named = [each.name for each in fields(config.options) if each.metadata["model"]]
        models = {f"options.{name}": getattr(config.options, name) for name in named}
        offered = self.offered()
        for name, model in {"base": config.base, **models}.items():
            known = offered if name == "base" else ["", *TEACHERS, *offered]
            if self.hosted and model not in known:
                problems.append(say("base_refused", name=name, base=model, bases=", ".join(filter(None, known))))
        if problems:
            raise ProblemsError(problems)

    def start(self, visitor: Visitor, config: RunConfig, dataset: Path) -> str:
        """Put a run of this visitor in line, if its settings and the limits allow, and return its id.

        Raises ProblemsError; then nothing was started.
        """
        self.check(config)
        self._check_line(visitor)
        visitor.check_room(sum(path.stat().st_size for path in dataset.iterdir()))
        wait = self._starts.wait(visitor.token)
        if wait:
            limit = self.workspace.limits.starts_per_hour
            raise ProblemsError(say("too_many_starts", limit=limit, time=duration(wait)))
        return self.supervisor.start(visitor.runs_folder(), config, dataset)

    def resume(self, visitor: Visitor, run: Path) -> None:
        """Put a run of this visitor back in line. Raises ProblemsError when it cannot be resumed."""
        self._check_line(visitor)
        self.supervisor.resume(run)

    def _check_line(self, visitor: Visitor) -> None:
        limits = self.workspace.limits
        active = self.supervisor.active()
        mine = [row for row in active if row.visitor == visitor.token]
        if len(mine) >= limits.runs:
            raise ProblemsError(say("too_many_runs", count=len(mine), limit=limits.runs))
        if len(active) > limits.queue:
            raise ProblemsError(say("queue_full", limit=limits.queue))

    def forget(self, visitor: Visitor) -> None:
        """Stop what this visitor has running and delete everything of theirs."""
        names = []
        for run in self.workspace.run_folders():
            if run.is_relative_to(visitor.folder):
                names.append(run.name)
                self.supervisor.discard(run)
        names += [path.name for path in visitor.folder.glob("adapters/*")]
        visitor.forget()
        for name in names:
            shutil.rmtree(self.served / name, ignore_errors=True)
        # Pictures of their adapters may be among the cached ladders, which can be computed again.
        for ladder in self.workspace.ladders.iterdir():
            shutil.rmtree(ladder, ignore_errors=True) if ladder.is_dir() else ladder.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Forget the visitors who have not been here for `keep_hours`; one with a run in progress stays."""
        oldest = time.time() - 3600 * self.workspace.limits.keep_hours
        for visitor in self.workspace.known_visitors():
            if visitor.last_seen() < oldest and not self.supervisor.active(visitor):
                self.forget(visitor)

    def _sweep_forever(self) -> None:
        while True:
            try:
                self.sweep()
            except (OSError, ProblemsError) as error:
                logging.getLogger(__name__).warning("old data could not be deleted: %s", error)
            time.sleep(_SWEEP_EVERY)

    def offered(self) -> list[str]:
        """The bases that everybody may use: the bundled ones, and those the host names."""
        return [*BUNDLED, *filter(None, os.environ.get("LORA_WEB_BASES", "").split(","))]
