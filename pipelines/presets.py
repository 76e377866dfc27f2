"""Presets: settings that go well together, by family. One word says how long (effort), one what is taught (subject).

The two set different knobs, so they combine in any order: `--preset quality,style`. What a preset does not name stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .bases import is_large, native_resolution
from .config import RunConfig, leaves, with_values
from .errors import ProblemsError

EFFORT, SUBJECT = "effort", "subject"


@dataclass(frozen=True)
class Preset:
    """Dotted settings and their values. `large` holds what differs for large bases."""

    name: str
    axis: str
    settings: Mapping[str, Any]
    large: Mapping[str, Any] = field(default_factory=dict)

    def values(self, large: bool) -> dict[str, Any]:
        """What it sets on a small or a large base."""
        return {**self.settings, **(self.large if large else {})}


# Why these values. Small bases: tried on emoji-sd with the example set (figures in the README), not searched: 3e-3 with
# an average for `balanced` gave nearly twice the style that 1e-3 without one had given. The average over the last steps
# evens out the noise of single batches, so a higher rate can be taken. Large bases have seen millions of pictures:
# reason, not measurement; 1e-4 is the rate of diffusers' and kohya's own examples, and 700 to 1100 small steps are what
# people report for them.
# A style is in every stroke: convolutions learn it too, and mirrored pictures double the set at no cost per step. A
# subject must keep its left and right, and its name should mean it: the text encoder learns it, captions are dropped
# less often.
_IMAGE = (
    Preset(
        "quick",
        EFFORT,
        {"train.steps": 60, "train.learning_rate": 5e-3, "train.ema": 0.9, "adapter.rank": 4, "adapter.alpha": 4.0},
        {"train.steps": 300, "train.learning_rate": 2e-4},
    ),
    Preset(
        "balanced",
        EFFORT,
        {"train.steps": 200, "train.learning_rate": 3e-3, "train.ema": 0.95, "adapter.rank": 8, "adapter.alpha": 8.0},
        {"train.steps": 1000, "train.learning_rate": 1e-4, "adapter.rank": 16, "adapter.alpha": 16.0},
    ),
    Preset(
        "quality",
        EFFORT,
        {"train.steps": 500, "train.learning_rate": 2e-3, "train.ema": 0.98, "adapter.rank": 16, "adapter.alpha": 16.0},
        {"train.steps": 3000, "train.learning_rate": 1e-4, "adapter.rank": 32, "adapter.alpha": 32.0},
    ),
    Preset(
        "style",
        SUBJECT,
        {"options.conv": True, "options.text_encoder": False, "options.caption_dropout": 0.1, "data.flip": True},
    ),
    Preset(
        "subject",
        SUBJECT,
        {"options.conv": False, "options.text_encoder": True, "options.caption_dropout": 0.05, "data.flip": False},
    ),
)

# Reason; of these only balanced with each subject was measured (figures in the README). The two MLPs that read boxes
# are a small part of the net, so rank and rate are higher and the steps more. Where things go is what the boxes' MLP
# learns; what a new word means, that of the captions. Mirrored pictures bring mirrored boxes with them, but new things
# must keep their left and right.
_LAYOUT = (
    Preset(
        "quick",
        EFFORT,
        {"train.steps": 100, "train.learning_rate": 5e-3, "train.ema": 0.9, "adapter.rank": 8, "adapter.alpha": 8.0},
        {"train.steps": 300, "train.learning_rate": 4e-4},
    ),
    Preset(
        "balanced",
        EFFORT,
        {"train.steps": 400, "train.learning_rate": 3e-3, "train.ema": 0.95, "adapter.rank": 16, "adapter.alpha": 16.0},
        {"train.steps": 1000, "train.learning_rate": 2e-4},
    ),
    Preset(
        "quality",
        EFFORT,
        {
            "train.steps": 1000,
            "train.learning_rate": 2e-3,
            "train.ema": 0.98,
            "adapter.rank": 32,
            "adapter.alpha": 32.0,
        },
        {"train.steps": 3000, "train.learning_rate": 2e-4},
    ),
    Preset("placement", SUBJECT, {"options.scope": "layout_mlp", "data.flip": True}),
    Preset("vocabulary", SUBJECT, {"options.scope": "text_mlp", "data.flip": False}),
)

# What circulates: a rank of 8 to 16 to begin with, alpha twice that, 1e-4 to 2e-4 for large bases, and a few passes.
# `preflight` says when data or settings call for something else. How a model speaks is learned in the attention; what
# it knows lies in the MLP as well.
_TEXT = (
    Preset(
        "quick",
        EFFORT,
        {"train.steps": 60, "train.learning_rate": 3e-3, "train.ema": 0.9, "adapter.rank": 8, "adapter.alpha": 16.0},
        {"train.steps": 100, "train.learning_rate": 2e-4},
    ),
    Preset(
        "balanced",
        EFFORT,
        {"train.steps": 200, "train.learning_rate": 2e-3, "train.ema": 0.95, "adapter.rank": 16, "adapter.alpha": 32.0},
        {"train.steps": 500, "train.learning_rate": 2e-4},
    ),
    Preset(
        "quality",
        EFFORT,
        {"train.steps": 600, "train.learning_rate": 1e-3, "train.ema": 0.98, "adapter.rank": 16, "adapter.alpha": 32.0},
        {"train.steps": 2000, "train.learning_rate": 1e-4},
    ),
    Preset("manner", SUBJECT, {"options.scope": "attention", "data.validation_percent": 10.0}),
    Preset("knowledge", SUBJECT, {"options.scope": "all", "data.validation_percent": 10.0}),
)

# The scale is 1, alpha the rank, as in the paper. A vision embedding that begins with nothing wants many passes. How
# large pictures are read goes with the base, as the resolution of a base that draws does. Small: tried on emoji-llm
# with 182 nouns (docs/vora.md): 16 tokens a picture learned five times as much in the same time as 64 did, and adapters
# on all blocks more than on as many as the teacher has; a teacher that counts 16 times as much as the paper's taught
# more, and sooner, and 32 times less again; 3e-3 did not settle. Large: reason, and the paper's ranks.
_SMALL_PICTURES = {
    "options.size": 64,
    "options.patch": 16,
    "options.blocks": 8,
    "options.distillation": 16.0,
    "train.batch_size": 16,
}
_LARGE_PICTURES = {
    "options.size": 224,
    "options.patch": 14,
    "options.blocks": 0,
    "options.distillation": 1.0,
    "train.batch_size": 4,
}


def _vora(name: str, steps: tuple[int, int], rates: tuple[float, float], ema: float, ranks: tuple[int, int]) -> Preset:
    """A preset from what it sets on a small and on a large base."""
    small, large = (
        {
            "train.steps": steps[which],
            "train.learning_rate": rates[which],
            "train.ema": ema,
            "adapter.rank": ranks[which],
            "adapter.alpha": float(ranks[which]),
            **pictures,
        }
        for which, pictures in enumerate((_SMALL_PICTURES, _LARGE_PICTURES))
    )
    return Preset(name, EFFORT, small, large)


_VORA = (
    _vora("quick", (300, 200), (2e-3, 5e-4), 0.9, (32, 64)),
    _vora("balanced", (1900, 2000), (2e-3, 2e-4), 0.98, (32, 128)),
    _vora("quality", (3000, 10000), (1e-3, 2e-4), 0.99, (64, 256)),
)

PRESETS: dict[str, tuple[Preset, ...]] = {
    "stable_diffusion": _IMAGE,
    "mmdit_layout": _LAYOUT,
    "text_llm": _TEXT,
    "vora": _VORA,
}
_LARGE_BATCH = 1


def of_family(family: str) -> dict[str, Preset]:
    """The presets of a family by name; none for a family that has none yet."""
    return {preset.name: preset for preset in PRESETS.get(family, ())}


def values(family: str, base: str, names: Iterable[str]) -> dict[str, Any]:
    """The settings of presets together, for a base. Raises ProblemsError for names that do not exist or exclude each
    other."""
    known, found = of_family(family), list[str]()
    chosen: dict[str, str] = {}
    side = native_resolution(base)
    large = is_large(base)
    # The base's own size belongs to every preset: at another size a base draws worse before anything is learned.
    settings: dict[str, Any] = {"data.resolution": side} if side else {}
    for name in names:
        if name not in known:
            found.append(f"preset is {name!r}, must be of {', '.join(known) or 'none: this family has no presets'}")
            continue
        preset = known[name]
        if chosen.setdefault(preset.axis, name) != name:
            found.append(f"preset has {chosen[preset.axis]} and {name}, which exclude each other; name one of them")
        settings |= preset.values(large)
        if preset.axis == EFFORT:
            settings.setdefault("train.batch_size", _LARGE_BATCH if large else 4)
    if found:
        raise ProblemsError(found)
    return settings


def apply(config: RunConfig, names: Iterable[str]) -> RunConfig:
    """The config with the settings of presets in it."""
    return with_values(config, values(config.family, config.base, names))


def matching(config: RunConfig, axis: str) -> str | None:
    """The preset of an axis whose settings a config has, if any."""
    have = leaves(config)
    for name, preset in of_family(config.family).items():
        wanted = values(config.family, config.base, [name])
        if preset.axis == axis and all(have[key] == value for key, value in wanted.items()):
            return name
    return None
