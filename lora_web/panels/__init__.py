"""The parts of a tab. Each has `outputs`, the components it changes, and `view`, what they show for a visitor."""

from __future__ import annotations

import json
from typing import Any

from ..text import say

# Events of the page itself: none is public. `api_visibility` hides them, `queue(api_open=False)` closes the rest.
# So even quick ones go through the queue: without it, anyone could call them by a plain request.
QUICK: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8}
SLOW: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 1, "concurrency_id": "compute"}


def confirmed(question: str) -> dict[str, Any]:
    """For a click with the browser's state as its one input: asks first. A person who says no sends null."""
    js = f"(who) => window.confirm({json.dumps(say(question), ensure_ascii=False)}) ? [who] : [null]"
    # Whoever says no and presses again at once is asked again.
    return {**QUICK, "trigger_mode": "multiple", "js": js}
