"""The training loop: exact resume, stopping, NaN, full disk; and what it promises of data and config."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines import checkpoints
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.errors import ProblemsError
from pipelines.events import Event, Failed, Finished, Prepared, Previewed, Saved, Step, Stopped, Validated
from pipelines.stable_diffusion import StableDiffusionOptions
from pipelines.train import rate_factor, train

Base = Callable[[str], Path]


def tiny_config(base: Path, data: Path, **settings: object) -> RunConfig:
    defaults = {
        "steps": 6,
        "batch_size": 2,
        "warmup": 1,
        "checkpoint_every": 1,
        "keep_checkpoints": 9,
        "precision": "fp32",
    }
    return RunConfig(
        base=str(base),
        data=DataConfig(path=str(data), resolution=64),
        adapter=AdapterConfig(rank=2, alpha=4.0),
        train=TrainConfig(**{**defaults, "device": "cpu", **settings}),  # type: ignore[arg-type]
    )


def digest(run: Path) -> str:
    return hashlib.sha256((run / "adapter" / "adapter.safetensors").read_bytes()).hexdigest()


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


@pytest.fixture
def config(tiny_base: Base, pictures: Path) -> RunConfig:
    """Accumulation, moving average, dropout and flips on: everything that could spoil an exact resume."""
    config = tiny_config(tiny_base("sd1"), pictures, accumulation=2, ema=0.9)
    config = replace(config, adapter=replace(config.adapter, dropout=0.3), data=replace(config.data, flip=True))
    return replace(config, options=StableDiffusionOptions(noise_offset=0.05, caption_dropout=0.3))


@pytest.mark.parametrize("killed_after", [1, 3, 5])
def test_resume_is_bit_exact(config: RunConfig, tmp_path: Path, killed_after: int) -> None:
    whole = list(train(config, tmp_path / "whole"))
    first = train(config, tmp_path / "killed")
    for event in first:
        if isinstance(event, Saved) and event.step == killed_after:
            break
    # Not closed, as after kill -9: drop what a clean stop would have written, and a half-written newest checkpoint.
    folder = tmp_path / "killed" / "checkpoints"
    (folder / "step-000099.safetensors").write_bytes(b"torn")
    second = list(train(config, tmp_path / "killed"))
    assert second[0].step == killed_after  # type: ignore[attr-defined]
    assert losses(whole)[killed_after:] == losses(second)
    assert digest(tmp_path / "whole") == digest(tmp_path / "killed")


def test_same_seed_same_bytes_other_seed_other_bytes(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, train=replace(config.train, steps=2))
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        list(train(replace(config, train=replace(config.train, seed=seed)), tmp_path / name))
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_only_the_adapter_learns(tiny_base: Base, pictures: Path, tmp_path: Path) -> None:
    events = list(train(tiny_config(tiny_base("sd1"), pictures, validate_every=3), tmp_path / "run"))
    prepared = events[0]
    assert isinstance(prepared, Prepared) and prepared.samples == 6 and not prepared.rejected
    assert isinstance(events[-1], Finished)
    tensors = load_file(tmp_path / "run" / "adapter" / "adapter.safetensors")
    assert sum(t.numel() for t in tensors.values()) == prepared.trainable_parameters
    assert all(name.startswith("unet.") and ".attn" in name for name in tensors)
    assert all(float(t.abs().max()) > 0 for t in tensors.values())


def test_learns(tiny_base: Base, pictures: Path, tmp_path: Path) -> None:
    """Validation loss (same noise every time) falls, from the base's."""
    config = tiny_config(
        tiny_base("sd2"), pictures, steps=25, learning_rate=2e-2, validate_every=1, checkpoint_every=99
    )
    config = replace(
        config, data=replace(config.data, validation_percent=20.0), adapter=AdapterConfig(rank=8, alpha=8.0)
    )
    events = list(train(config, tmp_path / "run"))
    found = [event for event in events if isinstance(event, Validated)]
    assert [event.step for event in found] == list(range(26)) and found[-1].loss < 0.97 * found[0].loss
    still = replace(config, train=replace(config.train, steps=1, learning_rate=1e-8))
    untouched = [event.loss for event in train(still, tmp_path / "still") if isinstance(event, Validated)]
    assert found[0].loss == untouched[0] == pytest.approx(untouched[1], rel=1e-4)


def test_sample_file_gives_pictures_and_changes_nothing(config: RunConfig, tmp_path: Path) -> None:
    list(train(config, tmp_path / "plain"))
    run = tmp_path / "run"
    events = []
    for event in train(config, run):
        events.append(event)
        if isinstance(event, Step) and event.step in (2, 5):
            (run / "sample").touch()
    shown = [event for event in events if isinstance(event, Previewed)]
    assert [event.step for event in shown] == [2, 5]
    assert all((run / path).is_file() for event in shown for path in event.paths)
    assert shown[0].prompt.startswith("disc ")
    assert not (run / "sample").exists()
    assert digest(run) == digest(tmp_path / "plain")


def test_stop_file_keeps_what_was_learned_and_resume_goes_on(config: RunConfig, tmp_path: Path) -> None:
    list(train(config, tmp_path / "whole"))
    run = tmp_path / "run"
    for event in (events := train(config, run)):
        if isinstance(event, Step) and event.step == 2:
            (run / "stop").touch()
        last = event
    assert isinstance(last, Stopped) and last.step == 2
    assert load_file(run / last.path)
    del events
    (run / "stop").unlink()
    assert isinstance(list(train(config, run))[-1], Finished)
    assert digest(run) == digest(tmp_path / "whole")


def test_closing_the_generator_saves(config: RunConfig, tmp_path: Path) -> None:
    events = train(replace(config, train=replace(config.train, checkpoint_every=99)), tmp_path / "run")
    for event in events:
        if isinstance(event, Step) and event.step == 3:
            break
    events.close()  # type: ignore[attr-defined]
    assert (tmp_path / "run" / "adapter" / "adapter.safetensors").exists()
    assert [step for step, _ in checkpoints.readable(tmp_path / "run" / "checkpoints")] == [3]


def test_nan_loss_keeps_the_last_good_adapter(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.stable_diffusion import StableDiffusion

    original, calls = StableDiffusion.loss, []

    def loss(self: StableDiffusion, *arguments: object) -> torch.Tensor:
        calls.append(1)
        value = original(self, *arguments)  # type: ignore[arg-type]
        return value * float("nan") if len(calls) == 7 else value

    monkeypatch.setattr(StableDiffusion, "loss", loss)
    events = list(train(config, tmp_path / "run"))
    last = events[-1]
    assert (
        isinstance(last, Failed)
        and last.step == 3
        and "nan" in last.problems[0]
        and "learning_rate" in last.problems[0]
    )
    tensors = load_file(tmp_path / "run" / last.path)
    assert all(torch.isfinite(t).all() for t in tensors.values())


def test_full_disk_is_a_sentence_and_keeps_the_checkpoint(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = train(config, tmp_path / "run")
    for event in events:
        if isinstance(event, Saved) and event.step == 2:
            break
    original = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ProblemsError, match="disk is full"):
        list(events)
    monkeypatch.setattr(os, "fsync", original)
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert isinstance(list(train(config, tmp_path / "run"))[-1], Finished)


def test_a_checkpoint_of_other_settings_is_refused_whole(config: RunConfig, tmp_path: Path) -> None:
    list(train(replace(config, train=replace(config.train, steps=1)), tmp_path / "run"))
    with pytest.raises(ProblemsError) as caught:
        list(train(replace(config, adapter=replace(config.adapter, rank=3)), tmp_path / "run"))
    assert len(caught.value.problems) == 64 and "were the settings changed" in caught.value.problems[0]


def test_keeps_only_the_newest_checkpoints(config: RunConfig, tmp_path: Path) -> None:
    list(train(replace(config, train=replace(config.train, keep_checkpoints=2)), tmp_path / "run"))
    assert [step for step, _ in checkpoints.readable(tmp_path / "run" / "checkpoints")] == [6, 5]


def test_bad_input_is_told_before_the_first_step(tiny_base: Base, pictures: Path, tmp_path: Path) -> None:
    good = tiny_config(tiny_base("sd1"), pictures)
    (tmp_path / "empty").mkdir()
    cases = {
        "does not exist": replace(good, data=replace(good.data, path=str(tmp_path / "nowhere"))),
        "must be a bundled name": replace(good, base="no base"),
        "model_index.json": replace(good, base=str(tmp_path)),
        "pickle": replace(good, base=str(tmp_path / "model.ckpt")),
    }
    for i, (words, config) in enumerate(cases.items()):
        with pytest.raises(ProblemsError, match=words):
            next(iter(train(config, tmp_path / f"run{i}")))


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_learning_rate_rises_then_falls(schedule: str) -> None:
    settings = TrainConfig(steps=100, warmup=10, schedule=schedule)
    factors = [rate_factor(settings, step) for step in range(100)]
    assert all(0 < f <= 1 for f in factors) and max(factors) == 1 and factors[0] < 0.2
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert (factors[-1] == 1) == (schedule == "constant")
