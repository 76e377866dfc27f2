"""Stable Diffusion: the tab of a family with this family's name and example."""

from __future__ import annotations

from .family import family_tab

build = family_tab("stable_diffusion", example="openmoji")


def title() -> str:
    return "Stable Diffusion"
