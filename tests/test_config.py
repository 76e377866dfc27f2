"""RunConfig: every field is checked in every way, all problems come at once, and JSON keeps everything."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import typing
from pathlib import Path
from typing import Any

import pytest

from pipelines.bases import bundled_base
from pipelines.config import DataConfig, RunConfig, command_line, leaves, settings_of, with_settings, with_values
from pipelines.errors import Problem, ProblemsError
from pipelines.registry import FAMILIES

NAN, INFINITY = float("nan"), float("inf")


def complete(family: str = "stable_diffusion") -> RunConfig:
    """A config without problems."""
    config = RunConfig(family=family, base=bundled_base(family) or "somebody/model")
    return dataclasses.replace(config, data=dataclasses.replace(config.data, path="pictures"))


def fields_of(config: RunConfig) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """Every leaf field by its dotted name, with its type."""
    found = {}
    parts = {
        "": config,
        "data.": config.data,
        "adapter.": config.adapter,
        "train.": config.train,
        "options.": config.options,
    }
    for prefix, part in parts.items():
        types = typing.get_type_hints(type(part))
        for spec in dataclasses.fields(part):
            if not dataclasses.is_dataclass(getattr(part, spec.name)):
                found[prefix + spec.name] = (spec, types[spec.name])
    return found


def with_value(config: RunConfig, dotted: str, value: Any) -> RunConfig:
    part, _, name = dotted.rpartition(".")
    if not part:
        return dataclasses.replace(config, **{name: value})
    return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **{name: value})})


def wrong_values(spec: dataclasses.Field[Any], kind: Any) -> list[Any]:
    rules = spec.metadata
    wrong: list[Any] = [None, [], {}, (1,), object(), b"1", 1j]
    if kind is bool:
        return [*wrong, 0, 1, 1.0, "true", NAN]
    if kind is str:
        wrong += [1, 1.5, True, "nul \0 inside", "half a \ud800 character", "x" * (rules["length"] + 1)]
        return wrong + (["no such choice", ""] if rules["choices"] else [])
    wrong += [True, False, "3", NAN, INFINITY, -INFINITY, 10**5000, -(10**5000), 1e300, rules["high"] * 1.01 + 1]
    if kind is int:
        wrong += [1.5, float(rules["low"]), rules["low"] - 1, rules["high"] + 1]
    else:
        wrong += [rules["low"] - 1e-9, math.nextafter(rules["high"], INFINITY)]
    return wrong


CASES = [(family, name) for family in FAMILIES for name in fields_of(complete(family))]


@pytest.mark.parametrize(("family", "name"), CASES)
def test_every_wrong_value_is_one_sentence_that_names_the_field(family: str, name: str) -> None:
    config = complete(family)
    spec, kind = fields_of(config)[name]
    assert kind in (bool, int, float, str)
    if name == "family":  # its own tests below: a family decides what the other fields are
        return
    for value in wrong_values(spec, kind):
        broken = with_value(config, name, value)
        problems = broken.problems()
        assert len(problems) == 1, (name, str(type(value)), problems)
        assert problems[0].startswith(name + " ") and "must" in problems[0] and len(problems[0]) < 300
        with pytest.raises(ProblemsError):
            broken.validate()
        with pytest.raises(ProblemsError) as caught:
            RunConfig.from_dict(broken.to_dict())
        assert any(problem.startswith(name + " ") for problem in caught.value.problems)


@pytest.mark.parametrize(("family", "name"), CASES)
def test_every_field_explains_itself_and_accepts_its_bounds(family: str, name: str) -> None:
    config = complete(family)
    spec, kind = fields_of(config)[name]
    rules = spec.metadata
    assert rules["help"].strip().endswith(".")
    for value in rules["choices"] or ():
        assert with_value(config, name, value).problems() == []
    if kind in (int, float):
        assert rules["low"] is not None and rules["high"] is not None, f"{name} needs bounds"
        for value in (rules["low"], rules["high"]):
            assert with_value(config, name, kind(value)).problems() == []


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_lack_only_the_data(family: str) -> None:
    own = bundled_base(family)
    assert RunConfig(family=family).base == own
    (problem,) = RunConfig(family=family, base=own or "somebody/model").problems()
    assert problem.startswith("data.path is empty")
    assert complete(family).validate() == complete(family)


def test_a_family_without_a_base_of_its_own_must_be_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.bases.BUNDLED", {})
    problems = RunConfig(data=DataConfig(path="pictures")).problems()
    assert problems == ["base is empty, must name one: family 'stable_diffusion' has none that is bundled"]


def test_resolution_must_be_a_multiple_of_8() -> None:
    (problem,) = with_value(complete(), "data.resolution", 130).problems()
    assert problem == "data.resolution is 130, must be a multiple of 8"


def test_all_problems_come_at_once() -> None:
    values = complete().to_dict()
    values["adapter"] |= {"rank": 0, "alpha": NAN}
    values["train"] |= {"steps": None, "learning_rate": "fast", "colour": "red"}
    values["data"] |= {"flip": 1}
    values["options"] |= {"nothing": 1}
    values["more"] = 1
    with pytest.raises(ProblemsError) as caught:
        RunConfig.from_dict(values)
    names = sorted(problem.split(" ")[0] for problem in caught.value.problems)
    assert names == sorted(
        [
            "adapter.rank",
            "adapter.alpha",
            "train.steps",
            "train.learning_rate",
            "train.colour",
            "data.flip",
            "options.nothing",
            "more",
        ]
    )
    assert "adapter.rank is 0, must be at least 1" in caught.value.problems


@pytest.mark.parametrize("family", FAMILIES)
def test_json_round_trip(family: str) -> None:
    config = with_value(complete(family), "data.caption", 'ein Fuchs, "狐" \\ \n')
    for name, (spec, kind) in fields_of(config).items():
        if kind in (int, float):
            config = with_value(config, name, kind(spec.metadata["high"]))
        elif kind is bool:
            config = with_value(config, name, not spec.default)
    config = with_value(config, "data.resolution", 256)
    assert RunConfig.from_dict(json.loads(config.to_json())) == config
    json.loads(config.to_json(), parse_constant=pytest.fail)


def test_missing_names_take_defaults() -> None:
    assert RunConfig.from_dict({}) == RunConfig()
    assert RunConfig.from_dict({"train": {"steps": 5}}).train.steps == 5


@pytest.mark.parametrize("values", [None, [], 1, "run", True])
def test_not_an_object(values: Any) -> None:
    with pytest.raises(ProblemsError, match="must be a JSON object"):
        RunConfig.from_dict(values)


@pytest.mark.parametrize("part", ["data", "adapter", "train", "options"])
@pytest.mark.parametrize("value", [None, [], 1, "x", True])
def test_a_part_must_be_an_object(part: str, value: Any) -> None:
    with pytest.raises(ProblemsError) as caught:
        RunConfig.from_dict({part: value})
    assert caught.value.problems[0].startswith(part + " is ")
    if not (part == "options" and value is None):  # None asks for the family's defaults
        problems = dataclasses.replace(complete(), **{part: value}).problems()
        assert any(problem.startswith(part + " is ") for problem in problems)


@pytest.mark.parametrize("family", ["", "stable", None, 1, [], {}, True, "../x", "x" * 10_000])
def test_unknown_families(family: Any) -> None:
    for make in (lambda: RunConfig(family=family), lambda: RunConfig.from_dict({"family": family})):
        with pytest.raises(ProblemsError, match="family is ") as caught:
            make()
        assert len(caught.value.problems[0]) < 300


def test_another_version_is_refused() -> None:
    with pytest.raises(ProblemsError, match="version is 2, this program reads 1"):
        RunConfig.from_dict(complete().to_dict() | {"version": 2})


def test_configs_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        complete().train.steps = 3  # type: ignore[misc]


class TestSettings:
    def test_text_is_read_as_the_type_of_the_field(self) -> None:
        settings = {
            "train.steps": "12",
            "train.learning_rate": "1e-4",
            "adapter.alpha": "16",
            "adapter.variant": "rslora",
            "data.flip": "true",
            "data.buckets": "No",
            "data.trigger_word": "7",
            "base": "some/base",
            "options.conv": "1",
        }
        config = with_settings(complete(), settings)
        assert (config.train.steps, config.train.learning_rate, config.adapter.alpha) == (12, 1e-4, 16)
        assert (config.adapter.variant, config.data.flip, config.data.buckets) == ("rslora", True, False)
        assert (config.data.trigger_word, config.base, config.options.conv) == ("7", "some/base", True)
        assert config.data.path == "pictures"

    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_field_can_be_set_to_its_own_value(self, family: str) -> None:
        config = complete(family)
        names = list(fields_of(config))
        owners = {
            "": config,
            "data": config.data,
            "adapter": config.adapter,
            "train": config.train,
            "options": config.options,
        }
        values = {name: str(getattr(owners[name.rpartition(".")[0]], name.rpartition(".")[2])) for name in names}
        assert with_settings(config, values) == config

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("train.steps", "many"),
            ("train.steps", "1.5"),
            ("train.steps", ""),
            ("train.steps", "9" * 5000),
            ("train.learning_rate", "nan"),
            ("train.learning_rate", "-inf"),
            ("data.flip", "maybe"),
            ("adapter.variant", "LORA"),
            ("train", "5"),
        ],
    )
    def test_wrong_text(self, name: str, text: str) -> None:
        with pytest.raises(ProblemsError) as caught:
            with_settings(complete(), {name: text})
        (problem,) = caught.value.problems
        assert problem.startswith(name + " is ")

    @pytest.mark.parametrize(
        "name", ["", ".", "steps", "train.", "train.step", "data.path.x", "version", "train.steps.", "x.y"]
    )
    def test_unknown_names(self, name: str) -> None:
        with pytest.raises(ProblemsError, match="is not a setting") as caught:
            with_settings(complete(), {name: "1", "adapter.rank": "0"})
        assert len(caught.value.problems) == 2


class TestLoad:
    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "run.json"
        path.write_text(complete().to_json(), encoding="utf-8")
        assert RunConfig.load(path) == complete()

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"\xff\xfe{}",
            b"[" * 100_000,
            b'{"train": {"steps": 1' + b"0" * 5000 + b"}}",
            b"null",
            b"PK\x03\x04",
        ],
    )
    def test_not_a_config(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "run.json"
        path.write_bytes(content)
        with pytest.raises(ProblemsError):
            RunConfig.load(path)

    def test_problems_of_its_fields_are_told_as_such(self, tmp_path: Path) -> None:
        path = tmp_path / "run.json"
        path.write_text('{"train": {"steps": NaN}, "adapter": {"rank": 0}}', encoding="utf-8")
        with pytest.raises(ProblemsError) as caught:
            RunConfig.load(path)
        assert sorted(problem.split(" ")[0] for problem in caught.value.problems) == ["adapter.rank", "train.steps"]

    def test_missing_or_a_folder(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.json", tmp_path):
            with pytest.raises(ProblemsError, match="cannot be read"):
                RunConfig.load(path)


AWKWARD = {
    "data.caption": 'it\'s "a" fox = $HOME; `ls`\n--set x=1 狐狸',
    "data.trigger_word": "--output=x",
    "adapter.alpha": 16.0,
    "adapter.rank": 16,
    "train.learning_rate": 1.2345678901234567e-5,
    "train.ema": 0.1 + 0.2,
    "train.seed": 2**32 - 1,
    "data.buckets": False,
    "base": "-odd 'folder' name",
}


def test_settings_as_text_are_the_inverse_of_reading_them() -> None:
    config = with_values(complete(), AWKWARD)
    text = settings_of(config)
    assert set(text) == {*AWKWARD, "data.path"}
    again = with_settings(RunConfig(), text)
    assert again.to_json() == config.to_json()
    assert settings_of(RunConfig()) == {}


def test_the_command_line_of_a_run_starts_the_same_run() -> None:
    from pipelines.__main__ import _config, _parser

    config = with_values(complete(), AWKWARD)
    words = shlex.split(command_line(config, "my run"))
    assert words[:3] == ["python", "-m", "pipelines"]
    arguments = _parser().parse_args(words[3:])
    assert str(arguments.output) == "my run"
    assert _config(arguments).to_json() == config.to_json()


def test_leaves_name_every_setting() -> None:
    assert list(leaves(complete())) == list(fields_of(complete()))
    assert leaves(complete())["data.path"] == "pictures"


def test_problems_know_what_they_are_made_of() -> None:
    wrong = {
        "train": {"steps": 0, "seed": 1.5, "nonsense": 1, "schedule": "x"},
        "data": {"flip": 1},
        "base": "x" * 3000,
    }
    with pytest.raises(ProblemsError) as caught:
        RunConfig.from_dict(wrong)
    found = {problem.name: problem.kind for problem in caught.value.problems if isinstance(problem, Problem)}
    assert found == {
        "train.steps": "low",
        "train.seed": "whole",
        "train.nonsense": "unknown",
        "train.schedule": "choice",
        "data.flip": "bool",
        "base": "length",
    }
