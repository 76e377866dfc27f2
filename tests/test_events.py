"""Events: one line of JSON each, and back; anything else on a line is a ValueError."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

import pytest

from pipelines.events import KINDS, Event, Failed, Prepared, Step, from_json

SAMPLES: dict[Any, Any] = {int: 3, float: 0.1 + 0.2, str: "zwölf\n狐", tuple[str, ...]: ("a", 'b "quoted"')}
SAMPLES |= {float | None: 2.5, dict[str, float]: {"block 1": 0.25}}


def sample(kind: type[Event]) -> Event:
    types = typing.get_type_hints(kind)
    return kind(**{spec.name: SAMPLES[types[spec.name]] for spec in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_kind_survives_a_line_of_json(kind: type[Event]) -> None:
    event = sample(kind)
    line = event.to_json()
    assert "\n" not in line
    assert json.loads(line)["event"] == kind.__name__
    assert from_json(line) == event and type(from_json(line)) is kind


def test_every_event_class_is_a_kind() -> None:
    assert set(KINDS.values()) == set(Event.__subclasses__())


@pytest.mark.parametrize("kind", KINDS.values())
def test_events_cannot_be_changed(kind: type[Event]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample(kind).time = 0.0  # type: ignore[misc]


def test_time_is_filled_in_and_never_positional() -> None:
    event = Failed(3, ("no",))
    assert event.time > 0 and event.path == ""


def test_floats_keep_every_bit() -> None:
    event = Step(1, 2, 1 / 3, 1e-300, 5e-324, 0.1, 2**53)
    assert from_json(event.to_json()) == event


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_torn_line_is_an_error_wherever_it_was_torn(kind: type[Event]) -> None:
    line = sample(kind).to_json()
    for end in range(len(line)):
        with pytest.raises(ValueError):
            from_json(line[:end])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "[]",
        "3",
        "null",
        '"Step"',
        '{"event": "Nothing"}',
        '{"event": ["Step"]}',
        '{"event": "Step"}',
        '{"event": "Saved", "step": 1, "path": "x", "more": 1}',
        "\0",
        "[" * 100_000,
        '{"event": "Saved", "step": 1' + "0" * 5000,
    ],
)
def test_other_lines_are_errors(line: str) -> None:
    with pytest.raises(ValueError):
        from_json(line)


def test_lists_come_back_as_tuples() -> None:
    event = from_json(Prepared(2, 0, (), (), 10, 0, 5, "cpu", "fp32").to_json())
    assert isinstance(event, Prepared) and event.rejected == ()
