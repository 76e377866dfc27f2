"""The strength curve: the rule on numbers that are known, and a real measurement that travels with the adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from pipelines import worker
from pipelines.__main__ import main
from pipelines.adapters.identity import recommend
from pipelines.checkpoints import adapters
from pipelines.config import RunConfig
from pipelines.curve import CURVE_FILE, Curve, measure, read_curve, recommendation, samples_of
from pipelines.data.encode import Encoded
from pipelines.errors import ProblemsError
from pipelines.events import Finished
from pipelines.export import export
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession
from tests.web_parts import tiny_config

Base = Callable[[str], Path]
STRENGTHS = (0.0, 0.5, 1.0, 1.5)


def errors(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_the_smallest_strength_that_is_as_good_as_the_best() -> None:
    noise = torch.tensor([0.02, -0.02, 0.01, -0.01])
    clear = torch.stack([torch.full((4,), level) for level in (1.0, 0.6, 0.4, 0.5)]).double()
    assert recommendation(STRENGTHS, clear) == 1.0
    # 1.5 is better than 1.0, by less than the samples tell apart.
    close = torch.stack([clear[0], clear[1], torch.full((4,), 0.401) + noise, torch.full((4,), 0.4)])
    assert recommendation(STRENGTHS, close.double()) == 1.0
    # One sample decides as well as it can.
    assert recommendation(STRENGTHS, errors([1.0], [0.5], [0.6], [0.7])) == 0.5


def test_nothing_is_recommended_where_nothing_is_gained() -> None:
    assert recommendation(STRENGTHS, errors([0.4, 0.4], [0.5, 0.5], [0.6, 0.6], [0.7, 0.7])) is None
    assert recommendation(STRENGTHS, errors([0.5, 0.5], [0.3, 0.69], [0.6, 0.6], [0.7, 0.7])) is None
    # Only turned round it helps: that is no strength to recommend.
    assert recommendation((-0.5, 0.0, 0.5), errors([0.1, 0.1], [0.4, 0.4], [0.5, 0.5])) is None


@pytest.fixture(scope="module")
def run(tiny_base: Base, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("curve") / "run"
    config = tiny_config(tiny_base("sd1"), steps=40)
    config = replace(
        config,
        data=replace(config.data, path=str(pictures)),
        train=replace(config.train, learning_rate=0.01, checkpoint_every=20),
    )
    worker.start(config, run)
    assert isinstance(list(worker.run(run))[-1], Finished)
    return run


def test_the_command_line_measures_and_the_file_carries_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = run / "adapter" / "adapter.safetensors"
    with safe_open(adapter, "np") as file:
        before = {key: file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118
    assert main(["curve", str(run), "--steps", "2", "--precision", "fp32"]) == 0
    curve = read_curve(run, adapter)
    assert curve and curve.samples == 6 and not curve.held_out and curve.prompts == 4
    # It was trained to lower this error, and pictures only ever move further away at first.
    assert curve.recommended is not None and 0 < curve.recommended <= 2
    assert curve.near[0] == 0 == curve.moved[0] and max(curve.near) == 1 and max(curve.moved) == 1
    assert curve.error[curve.strengths.index(curve.recommended)] < curve.error[0]
    assert curve.moved[1] < curve.moved[4]
    assert f"recommended strength: {curve.recommended:g}" in capsys.readouterr().out

    with safe_open(adapter, "np") as file:
        assert {key: file.get_tensor(key).tobytes() for key in file.keys()} == before  # noqa: SIM118
    for form in ("diffusers", "kohya"):
        export(run, form, tmp_path / f"{form}.safetensors")
        with safe_open(tmp_path / f"{form}.safetensors", "np") as file:
            said = file.metadata()
        assert json.loads(said["lora_web"])["recommended_strength"] == curve.recommended
        assert said["modelspec.lora_default_weight"] == f"{curve.recommended:g}"


def test_a_curve_belongs_to_the_weights_it_was_measured_on(run: Path, tmp_path: Path) -> None:
    config = RunConfig.load(run / "run.json")
    session = PreviewSession(config.family, config.base, precision="fp32", device="cpu")
    adapter, request = run / "adapter" / "adapter.safetensors", PreviewRequest(steps=2)
    encoded = samples_of(session, run, config)
    first, second = (_measured(session, adapter, encoded, request) for _ in range(2))
    assert first == second
    (tmp_path / CURVE_FILE).write_text(json.dumps({**vars(first)}))
    assert read_curve(tmp_path, adapter) == first
    recommend(adapter, 0.5)
    assert read_curve(tmp_path, adapter) == first
    steps = dict(adapters(run))
    assert list(steps) == [20, 40] and read_curve(tmp_path, steps[20]) is None
    # The last checkpoint is the adapter itself.
    assert _measured(session, steps[40], encoded, request).error == first.error
    (tmp_path / CURVE_FILE).write_text("{}")
    assert read_curve(tmp_path, adapter) is None
    with pytest.raises(ProblemsError, match="must hold 0"):
        next(measure(session, adapter, encoded, request, (0.5, 1.0, 1.5)))


def _measured(session: PreviewSession, adapter: Path, encoded: Encoded, request: PreviewRequest) -> Curve:
    steps = measure(session, adapter, encoded, request, (0.0, 0.5, 1.0))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Curve = end.value
            return found
