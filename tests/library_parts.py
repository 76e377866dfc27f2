"""Adapters for the tests of the library: a run that really trained, and its adapter as another tool would write it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file, save_file

from pipelines import worker
from pipelines.export import export
from pipelines.train import train
from tests.web_parts import tiny_config


def make_run(folder: Path, base: Path, pictures: Path) -> Path:
    """A finished run of two steps that drew a picture at its end."""
    config = tiny_config(base, steps=2)
    data = replace(config.data, path=str(pictures), trigger_word="inkstyle")
    config = replace(config, data=data, train=replace(config.train, learning_rate=0.05, warmup=0, preview_every=2))
    worker.start(config, folder)
    list(train(config, folder))
    return folder


def make_foreign(folder: Path, run: Path) -> Path:
    """The run's adapter in kohya form, with the header of another tool that does not name the base."""
    export(run, "kohya", folder / "ours.safetensors")
    header = {"ss_training_started_at": "1.0", "ss_output_name": "Foxes", "modelspec.trigger_phrase": "fox, ink"}
    save_file(load_file(folder / "ours.safetensors"), folder / "foxes.safetensors", header)
    return folder / "foxes.safetensors"
