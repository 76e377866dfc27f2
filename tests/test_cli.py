"""The command line: what it writes, what it says, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
from safetensors import safe_open

from pipelines import worker
from pipelines.__main__ import main
from pipelines.events import Failed, Finished, Saved
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession, png_bytes
from pipelines.train import ADAPTER_FILE

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("data.resolution=64", "train.precision=fp32", "train.device=cpu", "train.warmup=0", "train.batch_size=2")

Base = Callable[[str], Path]
Captured = pytest.CaptureFixture[str]


def settings(*more: str) -> list[str]:
    return [word for item in (*QUICK, *more) for word in ("--set", item)]


@pytest.fixture(scope="module")
def base(tiny_base: Base) -> Path:
    return tiny_base("sd1")


@pytest.fixture(scope="module")
def run(base: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three steps."""
    folder = tmp_path_factory.mktemp("run") / "run"
    arguments = ["--family", "stable_diffusion", "--base", str(base), "--data", str(pictures), "--output", str(folder)]
    assert main(["train", *arguments, *settings("train.steps=3", "train.learning_rate=0.05")]) == 0
    return folder


def refused(arguments: list[str], capsys: Captured) -> list[str]:
    """The sentences on stderr of a command that must end with exit code 2 and print nothing else."""
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err and captured.out == ""
    lines = captured.err.splitlines()
    assert lines and all(len(line) > 20 for line in lines)
    return lines


def test_train_leaves_a_whole_run_folder(run: Path) -> None:
    assert worker.RunConfig.load(run / "run.json").train.steps == 3
    events = worker.read_events(run)
    assert isinstance(events[-1], Finished) and any(isinstance(event, Saved) for event in events)
    assert (run / ADAPTER_FILE).is_file() and (run / "dataset" / "metadata.jsonl").is_file()


def test_resume_of_a_finished_run_changes_nothing(run: Path, capsys: Captured) -> None:
    before = (run / ADAPTER_FILE).read_bytes()
    capsys.readouterr()
    assert main(["resume", str(run)]) == 0
    assert "step 3 of 3" in capsys.readouterr().out
    assert (run / ADAPTER_FILE).read_bytes() == before


def test_preview_writes_a_picture_per_strength(base: Path, run: Path, tmp_path: Path, capsys: Captured) -> None:
    look = ["--prompt", "disc 1", "--strengths", "0,0.5,1", "--steps", "2", "--seed", "5", "--precision", "fp32"]
    assert main(["preview", str(run), *look, "--output", str(tmp_path)]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["strength-0.png", "strength-0.5.png", "strength-1.png"]
    clean = PreviewSession("stable_diffusion", str(base), precision="fp32")
    picture = clean.render({}, PreviewRequest("disc 1", seed=5, steps=2))
    found = [(tmp_path / name).read_bytes() for name in names]
    assert found[0] == png_bytes(picture)
    assert len(set(found)) == 3


def test_preview_of_a_lone_file(base: Path, run: Path, tmp_path: Path, capsys: Captured) -> None:
    """A file knows the name of its base but not the folder: --base does."""
    lone = tmp_path / "lone.safetensors"
    lone.write_bytes((run / ADAPTER_FILE).read_bytes())
    look = ["--prompt", "disc 1", "--strengths=-1", "--steps", "1", "--precision", "fp32", "--output", str(tmp_path)]
    assert main(["preview", str(lone), *look, "--base", str(base)]) == 0
    assert (tmp_path / "strength--1.png").is_file()
    assert "--base" in refused(["preview", str(lone), *look], capsys)[0]


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_export_and_inspect(form: str, run: Path, tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "out.safetensors"
    assert main(["export", str(run), "--format", form, "--output", str(output)]) == 0
    assert "32 layers read back" in capsys.readouterr().out
    with safe_open(output, framework="pt") as file:
        assert any(("lora_unet_" in name) == (form == "kohya") for name in file.keys())  # noqa: SIM118
    assert main(["inspect", str(output)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["form"] == form and facts["modules"] == 32 and facts["ranks"] == [8]
    assert facts["config"]["train"]["steps"] == 3


def test_inspect_tells_the_layers_of_a_base(base: Path, run: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["inspect", str(run / ADAPTER_FILE), "--base", str(base)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["title"], facts["base"], facts["made_with"]) == ("pictures0", base.name, "LoRA Web")
    assert "disc 1" in json.loads(facts["metadata"]["ss_tag_frequency"])["dataset"]
    assert {row["group"] for row in facts["layers"]} == {"self-attention", "cross-attention"}
    assert len(facts["layers"]) == 32 and all(row["rank"] == 8 for row in facts["layers"])
    assert sum(row["norm"] for row in facts["layers"]) > 0


def test_export_of_a_peft_folder(base: Path, run: Path, tmp_path: Path) -> None:
    """In PEFT's own form, with the same header, and back again; no path of this machine is in it."""
    assert main(["export", str(run), "--format", "peft", "--output", str(tmp_path / "peft")]) == 0
    config = (tmp_path / "peft" / "adapter_config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == base.name
    assert str(base.parent) not in config + (tmp_path / "peft" / "adapter_model.safetensors").read_bytes().decode(
        "latin-1"
    )
    back = tmp_path / "back.safetensors"
    arguments = ["--format", "diffusers", "--base", str(base), "--output", str(back)]
    assert main(["export", str(tmp_path / "peft"), *arguments]) == 0
    with safe_open(back, framework="pt") as file:
        assert "lora_web" in file.metadata()


def test_export_for_a1111(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "a1111"
    assert main(["export", str(run), "--format", "a1111", "--output", str(output)]) == 0
    assert {path.name for path in output.iterdir()} == {"pictures0.safetensors", "pictures0.json"}
    assert json.loads((output / "pictures0.json").read_text())["sd version"] == "SD1"


def test_export_of_a_merged_base(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "merged"
    assert main(["export", str(run), "--format", "merged", "--strength", "0.5", "--output", str(output)]) == 0
    assert diffusers.StableDiffusionPipeline.from_pretrained(output).unet.config.sample_size == 8


def test_estimate_and_bases(base: Path, pictures: Path, capsys: Captured) -> None:
    assert main(["estimate", "--base", str(base), "--data", str(pictures), *settings("adapter.rank=2")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["weights", "adapter", "gradients", "optimizer", "activations"]
    assert any("2,496 trainable parameters" in line for line in lines)
    assert main(["bases"]) == 0
    assert "emoji-sd" in capsys.readouterr().out


def test_every_mistake_in_the_settings_is_told_at_once(
    base: Path, pictures: Path, tmp_path: Path, capsys: Captured
) -> None:
    arguments = ["train", "--base", str(base), "--data", str(pictures), "--output", str(tmp_path / "run")]
    wrong = ("train.steps=banana", "adapter.rank=0", "train.rank=3", "train.learning_rate=nan", "data.flip=maybe")
    lines = refused([*arguments, *settings(*wrong, "train.steps")], capsys)
    words = ("--set train.steps:", "banana", "adapter.rank is 0", "train.rank is not", "learning_rate", "data.flip")
    assert len(lines) == len(words)
    assert all(any(word in line for line in lines) for word in words)
    assert not (tmp_path / "run").exists()


def test_input_that_cannot_be_used(base: Path, pictures: Path, run: Path, tmp_path: Path, capsys: Captured) -> None:
    empty, text = tmp_path / "empty", tmp_path / "text.safetensors"
    empty.mkdir()
    text.write_text("not an adapter, not JSON either")
    (tmp_path / "weights.ckpt").write_bytes(b"\x80\x02")
    output = ["--output", str(tmp_path / "out")]
    look = ["--prompt", "x", "--steps", "1", *output]
    cases: dict[str, list[str]] = {
        "holds no run.json": ["resume", str(empty)],
        "holds no adapter yet": ["preview", str(empty), *look],
        "is not a whole safetensors file": ["inspect", str(text)],
        "cannot be read": ["inspect", str(tmp_path / "nothing")],
        "pickle": ["preview", str(tmp_path / "weights.ckpt"), *look, "--base", str(base)],
        "must be one of diffusers, kohya": ["export", str(run), "--format", "onnx", *output],
        "is not empty": ["export", str(run), "--format", "merged", "--output", str(run)],
        "is not empty; name a new folder": ["export", str(run), "--format", "peft", "--output", str(text)],
        "must be a bundled name": ["estimate", "--base", "no such base", "--data", str(pictures)],
        "no model_index.json": ["estimate", "--base", str(empty), "--data", str(pictures)],
        "is not JSON": ["train", "--config", str(text), *output],
        "data.path is empty": ["train", "--base", str(base), *output],
        "family is 'words'": ["train", "--family", "words", "--data", str(pictures), *output],
        "steps is 0": ["preview", str(run), "--prompt", "x", "--steps", "0", *output],
        "must be a number from -4 to 4": ["preview", str(run), *look, "--strengths", "0,nan"],
    }
    for words, arguments in cases.items():
        assert any(words in line for line in refused(arguments, capsys)), words
    assert not (tmp_path / "out").exists()


def test_a_mistake_found_late_can_be_put_right_in_the_same_folder(
    base: Path, pictures: Path, tmp_path: Path, capsys: Captured
) -> None:
    """A folder without pictures, then a base that is none, then the right ones; then other settings are refused."""
    output, quick = ["--output", str(tmp_path / "run")], settings("train.steps=1")
    (tmp_path / "nothing").mkdir()
    empty = ["train", "--base", str(base), "--data", str(tmp_path / "nothing"), *output, *quick]
    assert "No picture was found" in refused(empty, capsys)[0]
    assert isinstance(worker.read_events(tmp_path / "run")[-1], Failed)
    no_base = ["train", "--base", str(tmp_path / "nothing"), "--data", str(pictures), *output, *quick]
    assert "model_index.json" in refused(no_base, capsys)[0]
    right = ["train", "--base", str(base), "--data", str(pictures), *output]
    assert main([*right, *quick]) == 0
    assert "other settings" in refused([*right, *settings("train.steps=2")], capsys)[0]


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["preview", "x", "--prompt", "y", "--output", "z", "--strengths", "a"]]
)
def test_a_command_line_that_makes_no_sense(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "usage:" in capsys.readouterr().err


def test_the_program_ends_with_the_exit_code() -> None:
    command = [sys.executable, "-m", "pipelines", "train", "--set", "train.steps=0", "--set", "x", "--output", "unused"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 2
