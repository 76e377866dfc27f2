"""Describe pictures with a captioning model: `python -m pipelines.captioning FOLDER`, a process of its own.

FOLDER holds `request.json`, {"model": ..., "pictures": [{"id": ..., "path": ...}]}. A line is added to
`captions.jsonl` for each picture, {"id": ..., "caption": ...}; the last line is {"done": true} or {"problems": [...]}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bases import HUB_ID
from .data.pictures import open_picture
from .data.plain import MAX_CAPTION, clean
from .errors import ProblemsError

if TYPE_CHECKING:
    from PIL.Image import Image

REQUEST, CAPTIONS = "request.json", "captions.jsonl"
# Model types of transformers that describe a picture without being asked a question.
FORMS = ("blip", "git")
_LONGEST = 60


class Captioner:
    """A captioning model from a local folder or the Hub: safetensors only, no code from the model's folder."""

    def __init__(self, name: str):
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        source = find_captioner(name)
        try:
            config = AutoConfig.from_pretrained(source)
            if config.model_type not in FORMS:
                raise ProblemsError(
                    f"{name} is a {config.model_type} model, must be one of {', '.join(FORMS)}; choose another model"
                )
            self._model: Any = AutoModelForImageTextToText.from_pretrained(source, use_safetensors=True).eval()
            self._processor: Any = AutoProcessor.from_pretrained(source)
        except (OSError, ValueError, KeyError, ImportError) as error:
            if isinstance(error, ProblemsError):
                raise
            raise ProblemsError(
                f"{name} cannot be loaded: {clean(str(error))[:300]}; give a folder or Hub id of a captioning model "
                "in safetensors form"
            ) from error

    def describe(self, picture: Image) -> str:
        """One line about a picture (mode RGB); the same picture gives the same line."""
        import torch

        with torch.no_grad():
            inputs = self._processor(images=picture, return_tensors="pt")
            written = self._model.generate(**inputs, max_new_tokens=_LONGEST, do_sample=False)
        return clean(self._processor.batch_decode(written, skip_special_tokens=True)[0])[:MAX_CAPTION]


def find_captioner(name: str) -> str:
    """What loads the model a person named: a folder or a Hub id. Raises ProblemsError."""
    path = Path(name).expanduser() if name else None
    if path and path.is_dir():
        return str(path.resolve())
    if HUB_ID.fullmatch(name):
        return name
    raise ProblemsError(f"the captioning model is {name!r}, must be a folder or a Hub id like owner/name")


def run(folder: Path) -> int:
    """Describe the pictures of a request; 0 when all went well."""
    with (folder / CAPTIONS).open("a", encoding="utf-8") as output:

        def tell(line: dict[str, Any]) -> None:
            output.write(json.dumps(line, ensure_ascii=False) + "\n")
            output.flush()

        problems: list[str] = []
        try:
            request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
            captioner = Captioner(request["model"])
            for picture in request["pictures"]:
                try:
                    tell({"id": picture["id"], "caption": captioner.describe(open_picture(picture["path"]))})
                except ProblemsError as error:
                    problems.extend(error.problems)
        except ProblemsError as error:
            problems.extend(error.problems)
        tell({"problems": problems} if problems else {"done": True})
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
