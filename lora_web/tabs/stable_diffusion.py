"""Stable Diffusion: the image tab with this family's name and example."""

from __future__ import annotations

from .image import image_tab

build = image_tab("stable_diffusion", example="openmoji")


def title() -> str:
    return "Stable Diffusion"
