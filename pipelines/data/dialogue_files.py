"""Dialogues as files that other programs read, and that `import_dialogues` reads back the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .dialogues import PICTURE, Dialogue


def write_messages(dialogues: Sequence[Dialogue], names: Mapping[str, str]) -> str:
    """JSONL with a list of messages a line, as OpenAI has it. `names` are those of pictures, by their ids."""
    rows = []
    for dialogue in dialogues:
        row: dict[str, Any] = {"messages": [{"role": turn.role, "content": turn.text} for turn in dialogue.turns]}
        if dialogue.pictures:
            row["images"] = [names.get(path.stem, path.name) for path in dialogue.pictures]
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(rows)


def write_alpaca(dialogues: Sequence[Dialogue], names: Mapping[str, str]) -> str:
    """A JSON list of instructions with outputs; what was said before stands in `history`. Dialogues about pictures have
    no place in it and are left out."""
    rows = []
    for dialogue in dialogues:
        if dialogue.pictures:
            continue
        system = [turn.text for turn in dialogue.turns if turn.role == "system"]
        said = [turn.text for turn in dialogue.turns if turn.role != "system"]
        row: dict[str, Any] = {"instruction": said[-2], "input": "", "output": said[-1]}
        if system:
            row["system"] = system[0]
        if said[:-2]:
            row["history"] = [[asked, told] for asked, told in zip(said[:-2:2], said[1:-2:2], strict=True)]
        rows.append(row)
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


# By form: the name of the file, and what writes it.
FORMS: dict[str, tuple[str, Callable[[Sequence[Dialogue], Mapping[str, str]], str]]] = {
    "jsonl": ("dialogues.jsonl", write_messages),
    "alpaca": ("alpaca.json", write_alpaca),
}


def with_marks(text: str, pictures: int) -> str:
    """The first question about so many pictures, with their marks."""
    return f"{PICTURE}\n" * pictures + text


def without_marks(text: str, pictures: int) -> str:
    """A question as a person reads it: without the marks of all its pictures, where they lead it."""
    bare = text
    for _ in range(pictures):
        if not bare.startswith(PICTURE):
            return text
        bare = bare.removeprefix(PICTURE).lstrip()
    return text if PICTURE in bare else bare
