"""Stable Diffusion: the image tab with this family's name and example."""

from __future__ import annotations

from .image import image_tab

TITLE = "Stable Diffusion"
build = image_tab("stable_diffusion", example="openmoji")
