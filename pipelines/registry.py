"""Families by name. Importing this costs nothing: a family's module is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import ProblemsError, shown

if TYPE_CHECKING:
    from .bases import Base
    from .family import Family

FAMILIES = {
    "stable_diffusion": "pipelines.stable_diffusion:StableDiffusion",
    "mmdit_layout": "pipelines.mmdit_layout:MMDiTLayout",
    "text_llm": "pipelines.text_llm:TextLLM",
    "vora": "pipelines.vora:Vora",
}


def family_class(name: str) -> type[Family]:
    """The class of a family; the module it lives in imports no torch until it is used."""
    if not isinstance(name, str) or name not in FAMILIES:
        raise ProblemsError(f"family is {shown(name)}, must be one of {', '.join(FAMILIES)}")
    module, _, attribute = FAMILIES[name].partition(":")
    found: type[Family] = getattr(importlib.import_module(module), attribute)
    return found


def options_class(name: str) -> type[Any]:
    """The dataclass of a family's own options."""
    return family_class(name).options_class


def reading(base: Base) -> list[str]:
    """The families whose kind of base this is, by its files; all of them where the files do not say."""
    return [name for name in FAMILIES if create(name).knows(base)] or list(FAMILIES)


def create(name: str, options: Any = None) -> Family:
    """A family with the given options (defaults when None)."""
    kind = family_class(name)
    return kind(kind.options_class() if options is None else options)
