"""The form: every setting in both languages, problems at their fields, and back and forth without loss."""

from __future__ import annotations

import re

import pytest

from lora_web import form
from lora_web.text import LANGUAGES, speaking
from lora_web.words.knobs import CHINESE
from pipelines.bases import BUNDLED, HUB
from pipelines.config import RunConfig, with_values
from pipelines.errors import KINDS, Problem, ProblemsError
from pipelines.registry import FAMILIES

HAN = re.compile(r"[\u4e00-\u9fff]")
NAMES = {"Alpha", "Min-SNR γ"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_setting_has_label_and_help_in_both_languages(family: str) -> None:
    for field in form.fields(family):
        assert field.label and field.help.endswith(".")
        assert not HAN.search(field.label + field.help)
        with speaking("zh"):
            assert HAN.search(field.label) or field.label in NAMES, field.name
            assert HAN.search(field.help) and field.help.endswith("。"), field.name


def test_no_chinese_is_left_over_from_a_setting_that_is_gone() -> None:
    known = {field._key for family in FAMILIES for field in form.fields(family)}
    assert set(CHINESE) == known


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_are_not_said_twice(family: str) -> None:
    for language in LANGUAGES:
        with speaking(language):
            labels = [field.label for field in form.fields(family)]
            assert len(labels) == len(set(labels))


def test_bounds_and_units_are_told() -> None:
    (steps,) = [field for field in form.fields("stable_diffusion") if field.name == "train.warmup"]
    assert steps.help.endswith("0 to 100000 steps.")
    with speaking("zh"):
        assert steps.help.endswith("0 到 100000 步。")


def test_settings_of_pictures_are_not_asked_where_there_are_none() -> None:
    shown = {family: {field.name for field in form.fields(family)} for family in FAMILIES}
    assert {"data.flip", "data.resolution", "data.trigger_word"} <= shown["stable_diffusion"]
    assert "data.resolution" not in shown["vora"] and {"data.flip", "data.trigger_word"} <= shown["vora"]
    assert {name for name in shown["text_llm"] if name.startswith("data.")} == {"data.validation_percent"}


def test_bundled_bases_come_first_with_license_and_size() -> None:
    told = form.bases("stable_diffusion", hosted=False)
    assert told[0][1] == "emoji-sd" and "CC BY 4.0" in told[0][0] and re.search(r"\d+ MB", told[0][0])
    own = [base.name for base in (*BUNDLED.values(), *HUB.values()) if "stable_diffusion" in base.families]
    assert {name for _, name in told} == set(own)
    hosted = form.bases("stable_diffusion", hosted=True, offered=["emoji-sd", "/models/ours"])
    assert [name for _, name in hosted] == ["emoji-sd", "/models/ours"]


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_is_the_inverse_of_showing(family: str) -> None:
    settings = {"base": "somebody/model", "data.path": "dataset", "train.steps": 7, "adapter.alpha": 3.0}
    config = with_values(RunConfig(family=family), settings)
    every = form.fields(family)
    assert form.read(family, every, form.show(config, every)) == config
    # A browser knows one kind of number.
    values = [float(value) if type(value) is int else value for value in form.show(config, every)]
    assert form.read(family, every, values).to_json() == config.to_json()


def test_problems_are_marked_at_their_fields_in_the_language_of_the_page() -> None:
    every = form.fields("stable_diffusion")
    wrong = {"train.steps": 0, "adapter.rank": 2.5, "data.flip": None, "train.learning_rate": float("nan")}
    values = [wrong.get(field.name, field.default) for field in every]
    with pytest.raises(ProblemsError) as caught:
        form.read("stable_diffusion", every, values)
    problems = [*caught.value.problems, "base weights.ckpt is a pickle file"]
    marks = form.marks(problems, every)
    assert marks == {
        "set-train-steps": "train.steps is 0, must be at least 1",
        "set-adapter-rank": "adapter.rank is 2.5, must be a whole number",
        "set-data-flip": "data.flip is None, must be true or false",
        "set-train-learning-rate": "train.learning_rate is nan, must be a finite number",
    }
    assert form.tell(problems, every) == problems
    with speaking("zh"):
        chinese = form.marks(problems, every)
        assert set(chinese) == set(marks)
        assert chinese["set-train-steps"] == "训练步数（train.steps） 是 0，不能小于 1"
        # What the library says of files stays as it is.
        assert form.tell(problems, every)[-1] == problems[-1]


def test_every_kind_of_problem_can_be_said_in_chinese() -> None:
    parts = {"name": "train.steps", "got": "x", "limit": 3, "choices": "a, b", "known": "train has steps"}
    for kind in KINDS:
        problem = Problem(kind, **parts)
        assert problem == KINDS[kind].format(**parts)
        with speaking("zh"):
            (said,) = form.tell([problem], form.fields("stable_diffusion"))
            assert HAN.search(said) and "train.steps" in said and str(problem) != said
