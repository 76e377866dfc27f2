"""The example scripts run, in the order of their docstrings, on a tiny base."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipelines.data.samples import import_dataset

NAMES = ("train_style", "strength_ladder", "export_everywhere")
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_train_then_ladder_then_export(
    tiny_base: Callable[[str], Path],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        importlib.import_module(f"examples.{name}").main()
        return capsys.readouterr().out

    base, output = tiny_base("sd1"), tmp_path / "run"
    quick = ("--prompt", "disc 1", "--steps", 2)
    said = run("train_style", "--base", base, "--data", pictures, "--output", output, *quick, "--denoising-steps", 2)
    assert "the adapter is" in said
    assert Image.open(output / "base.png").size == Image.open(output / "adapter.png").size == (64, 64)
    said = run("strength_ladder", output, *quick, "--output", tmp_path / "ladder.png")
    assert "0, 0.25, 0.5" in said and Image.open(tmp_path / "ladder.png").size == (8 * 64, 64)
    said = run("export_everywhere", output, *quick, "--output", tmp_path / "out")
    assert said.splitlines()[-1].endswith(("0/255", "1/255"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "diffusers.safetensors",
        "kohya.safetensors",
        "merged",
        "peft",
    ]


def test_a_language_model_learns_and_answers(
    tiny_base: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = EXAMPLES / "data" / "dialogues" / "plain_words.jsonl"
    rows = data.read_text(encoding="utf-8").splitlines()
    assert len(rows) == 144
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(rows[:4]), encoding="utf-8")
    arguments = ["--base", tiny_base("llm"), "--data", few, "--output", tmp_path / "run", "--strengths", 0, 1]
    monkeypatch.setattr(sys, "argv", ["train_text", *map(str, arguments)])
    importlib.import_module("examples.train_text").main()
    said = capsys.readouterr().out
    assert "perplexity" in said and "the adapter is" in said and "strength 1: " in said


def test_the_example_scenes_are_whole_and_small(tmp_path: Path) -> None:
    """They come in a form of other programs: reading them is the proof that the boxes fit."""
    folder = EXAMPLES / "data" / "scenes"
    found = import_dataset([folder], tmp_path)
    assert len(found.samples) == 18 and not found.rejected and not found.notes
    assert {len(sample.regions) for sample in found.samples} == {1, 2, 3, 4}
    for sample in found.samples:
        assert (sample.width, sample.height) == (128, 128)
        assert all(region.caption.removeprefix("a ") in sample.caption for region in sample.regions)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
    assert "folders openmoji and scenes" in (folder.parent / "LICENSE-openmoji").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*NAMES, "use_the_api", "train_text"])
def test_is_short_and_begins_with_its_command(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60 and f"    python -m examples.{name} " in text.split('"""')[1]
    module = importlib.import_module(f"examples.{name}")
    assert module.__doc__
