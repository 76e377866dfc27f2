"""What every tab shares: the workspace, the supervisor, the previews, and whether strangers come here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.bases import BUNDLED
from pipelines.config import RunConfig
from pipelines.errors import ProblemsError

from .previews import Previews
from .runs import Supervisor
from .text import say
from .workspace import Visitor, Workspace

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"


@dataclass
class Site:
    """One running page."""

    workspace: Workspace
    hosted: bool = False
    supervisor: Supervisor = field(init=False)
    previews: Previews = field(init=False)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.workspace.run_folders())
        self.previews = Previews(self.workspace.ladders)

    @property
    def served(self) -> Path:
        """Where files are put that the browser may fetch: Gradio's cache."""
        return Path(os.environ["GRADIO_TEMP_DIR"])

    def who(self, state: Any) -> tuple[Visitor, dict[str, Any]]:
        """The visitor a browser claims to be, and its state with everything unknown left out. Trusts nothing in it."""
        state = state if isinstance(state, Mapping) else {}
        visitor = self.workspace.visitor(state.get("visitor"))
        known: dict[str, Any] = {"visitor": visitor.token}
        if visitor.dataset(state.get("dataset")):
            known["dataset"] = state["dataset"]
            known["mine"] = state.get("mine") is True
        if visitor.run(state.get("run")):
            known["run"] = state["run"]
        return visitor, known

    def check(self, config: RunConfig) -> None:
        """Limits of this page that a run config does not know. Raises ProblemsError."""
        if self.hosted:
            offered = [*BUNDLED, *filter(None, os.environ.get("LORA_WEB_BASES", "").split(","))]
            # On a server for strangers a free text would be a way to ask which files it has.
            if config.base not in offered:
                raise ProblemsError(say("base_refused", base=config.base, bases=", ".join(offered)))
