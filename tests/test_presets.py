"""Presets: every value is one a run may have, the two axes combine in any order, and the command line speaks them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.bases import BUNDLED, HUB, distilled, license_of, native_resolution
from pipelines.config import RunConfig, leaves
from pipelines.errors import ProblemsError
from pipelines.presets import EFFORT, SUBJECT, apply, matching, of_family, values
from pipelines.registry import FAMILIES

BASES = [(family, base.name) for base in (*BUNDLED.values(), *HUB.values()) for family in base.families]


def names(family: str, axis: str) -> list[str]:
    return [name for name, preset in of_family(family).items() if preset.axis == axis]


SUBJECTS = {
    "stable_diffusion": ["style", "subject"],
    "mmdit_layout": ["placement", "vocabulary"],
    "text_llm": ["manner", "knowledge"],
    "vora": [],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_every_preset(family: str) -> None:
    assert names(family, EFFORT) == ["quick", "balanced", "quality"]
    assert names(family, SUBJECT) == SUBJECTS[family]


@pytest.mark.parametrize(("family", "base"), BASES)
def test_every_preset_is_a_valid_run_of_the_bases_own_size(family: str, base: str) -> None:
    plain = RunConfig(family=family, base=base)
    plain = dataclasses.replace(plain, data=dataclasses.replace(plain.data, path="pictures"))
    for pair in itertools.product(names(family, EFFORT), names(family, SUBJECT)):
        config = apply(plain, pair)
        assert config.problems() == []
        assert native_resolution(base) in (0, config.data.resolution)
        assert config == apply(plain, pair[::-1])
        assert (matching(config, EFFORT), matching(config, SUBJECT)) == pair


@pytest.mark.parametrize("family", FAMILIES)
def test_the_axes_share_no_knob_but_the_bases_size(family: str) -> None:
    for effort, subject in itertools.product(names(family, EFFORT), names(family, SUBJECT)):
        shared = set(values(family, "emoji-sd", [effort])) & set(values(family, "emoji-sd", [subject]))
        assert shared == {"data.resolution"}


def test_all_presets_of_an_axis_set_the_same_knobs() -> None:
    """So that going from one to another leaves nothing of the first behind."""
    for family, base in BASES:
        for axis in (EFFORT, SUBJECT):
            assert len({frozenset(values(family, base, [name])) for name in names(family, axis)}) <= 1


def test_the_first_run_is_the_balanced_one() -> None:
    assert matching(RunConfig(), EFFORT) == "balanced"
    have = leaves(RunConfig())
    assert all(have[name] == value for name, value in values("stable_diffusion", "emoji-sd", ["balanced"]).items())


def test_a_larger_base_gets_a_smaller_rate() -> None:
    small, large = (values("stable_diffusion", base, ["balanced"]) for base in ("emoji-sd", next(iter(HUB))))
    assert small["train.learning_rate"] > large["train.learning_rate"]
    assert small["train.steps"] < large["train.steps"]


def test_a_local_base_tells_its_size(tiny_base: Callable[[str], Path]) -> None:
    folder = tiny_base("sd1")
    assert native_resolution(str(folder)) == 64
    assert values("stable_diffusion", str(folder), ["quick"])["data.resolution"] == 64
    assert native_resolution("nobody/knows") is None
    assert "data.resolution" not in values("stable_diffusion", "nobody/knows", ["quick"])
    for wrong in ("nul\0", "x" * 5000, str(folder / "unet" / "config.json")):
        assert native_resolution(wrong) is None


def test_wrong_names_are_told() -> None:
    with pytest.raises(ProblemsError) as caught:
        apply(RunConfig(), ["quick", "quality", "fast"])
    told = " ".join(caught.value.problems)
    assert "quick and quality" in told and "'fast'" in told and "balanced" in told


def test_the_command_line_applies_presets_below_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    nowhere = ["--data", str(tmp_path / "nothing"), "--output", str(output)]
    main(["train", "--preset", "quality,style", "--set", "adapter.rank=4", *nowhere])
    written = json.loads((output / "run.json").read_text())
    expected = values("stable_diffusion", "emoji-sd", ["quality", "style"])
    assert written["train"]["steps"] == expected["train.steps"] and written["options"]["conv"] is True
    assert written["adapter"]["rank"] == 4 and written["adapter"]["alpha"] == expected["adapter.alpha"]
    capsys.readouterr()
    assert main(["train", "--preset", "quickest", *nowhere]) == 2
    assert "preset is 'quickest'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("stabilityai/sdxl-turbo", "turbo"),
        ("ByteDance/SDXL-Lightning", "Lightning"),
        ("SimianLuo/LCM_Dreamshaper", "LCM"),
    ],
)
def test_distilled_bases_are_known_by_name(name: str, word: str) -> None:
    assert distilled(name) == word


def test_other_bases_are_not_called_distilled() -> None:
    for name in (*BUNDLED, *HUB, "someone/turbine-photos", "hyperion/paintings"):
        assert distilled(name) is None
    assert all(license_of(name) for name in (*BUNDLED, *HUB)) and license_of("nobody/knows") is None
