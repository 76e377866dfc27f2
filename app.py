"""LoRA Web: `python app.py [--host 127.0.0.1] [--port 7860] [--workspace DIR]`. Also what a Space starts.

The page is up before torch is imported; training runs in processes of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ProblemsError

if TYPE_CHECKING:
    from lora_web.app import Page

_HOSTED = bool(os.environ.get("SPACE_ID") or os.environ.get("LORA_WEB_HOSTED"))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python app.py", description="Train a LoRA adapter in the browser.")
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1",
        help="address to listen on (default: this computer only)",
    )
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    parser.add_argument(
        "--workspace",
        type=Path,
        default=_workspace(),
        metavar="DIR",
        help="where pictures and runs are kept (default: ./workspace)",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further host name the page may be reached under",
    )
    parser.add_argument(
        "--hosted",
        action="store_true",
        default=_HOSTED,
        help="strangers come here: tighter limits, only offered bases, old data is deleted (docs/hosting.md)",
    )
    return parser.parse_args(arguments)


def _workspace() -> Path:
    return Path(os.environ.get("LORA_WEB_WORKSPACE") or "workspace")


def _build(workspace: Path, hosted: bool) -> Page:
    from lora_web.app import build

    return build(workspace, hosted)


def __getattr__(name: str) -> Any:
    """`app.demo`, for tools that import the page (such as `gradio app.py`): built when it is asked for."""
    if name == "demo":
        globals()["demo"] = demo = _build(_workspace(), _HOSTED)
        return demo
    raise AttributeError(name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until it is interrupted; 2 when it cannot be served as asked."""
    args = _parse(arguments)
    port = args.port or int(os.environ.get("GRADIO_SERVER_PORT") or 0) or None
    try:
        demo = _build(args.workspace, args.hosted)
    except ProblemsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"The workspace {args.workspace} cannot be used: {error.strerror}; name another folder with --workspace.",
            file=sys.stderr,
        )
        return 2
    from lora_web.app import launch_settings
    from lora_web.text import say

    allowed = (*args.allow_host, *filter(None, os.environ.get("SPACE_HOST", "").split(",")))
    settings = launch_settings(demo, args.host, port, allowed)
    try:
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **settings)
    except OSError:
        print(say("port_taken", port=port or 7860, host=args.host), file=sys.stderr)
        return 2
    print(say("ready", url=url), flush=True)
    # Whoever runs servers ends them with SIGTERM: the same as Ctrl+C, also where a shell has turned that off.
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, signal.default_int_handler)
    demo.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
