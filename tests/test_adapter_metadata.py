"""What the header of an adapter file says: everywhere a reader looks, and read without believing it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pipelines.adapters.contents import inspect
from pipelines.adapters.metadata import (
    AdapterFacts,
    Remarks,
    build_metadata,
    completed,
    read_ours,
    remarked,
    sidecar,
    tag_counts,
    thumbnail,
    told,
)

FACTS = AdapterFacts(
    title="Ink foxes",
    kind="sd1",
    rank=4,
    base_id="emoji-sd",
    base_sha256="ab" * 32,
    config_json=json.dumps({"adapter": {"variant": "rslora"}, "train": {"steps": 200, "learning_rate": 0.001}}),
    captions=("ink, a fox", "ink, a hare", "a fox"),
    trigger_words=("ink",),
    resolution=128,
)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def test_tags_are_counted_as_readers_show_them() -> None:
    assert tag_counts(FACTS.captions, FACTS.trigger_words) == {"ink": 2, "a fox": 2, "a hare": 1}
    assert tag_counts((), ("new",)) == {"new": 1}
    assert tag_counts(("x" * 5000, " , ,")) == {}
    assert len(tag_counts(f"tag {i}" for i in range(1000))) == 200
    found = build_metadata(FACTS)
    assert json.loads(found["ss_tag_frequency"]) == {"dataset": {"ink": 2, "a fox": 2, "a hare": 1}}
    assert (found["ss_num_train_images"], found["ss_max_train_steps"], found["ss_resolution"]) == (
        "3",
        "200",
        "(128, 128)",
    )


def test_remarks_go_everywhere_a_reader_looks() -> None:
    remarks = Remarks("Foxes – 狐", 0.75, jpeg(), "2026-11-22T07:00:00+00:00")
    found = remarked(build_metadata(FACTS), remarks)
    assert {found[key] for key in ("modelspec.title", "ss_output_name")} == {"Foxes – 狐"}
    assert found["modelspec.lora_default_weight"] == "0.75"
    assert found["modelspec.date"] == remarks.date
    assert found["modelspec.thumbnail"].startswith("data:image/jpeg;base64,")
    assert base64.b64decode(json.loads(found["ssmd_cover_images"])[0]) == jpeg() == thumbnail(found)
    said = told(found)
    assert (said["title"], said["recommended_strength"], said["variant"]) == ("Foxes – 狐", 0.75, "rslora")
    assert sidecar(found) == {
        "description": "Foxes – 狐",
        "sd version": "SD1",
        "activation text": "ink",
        "preferred weight": 0.75,
        "negative text": "",
        "notes": "base: emoji-sd",
    }
    assert remarked(build_metadata(FACTS), Remarks()) == build_metadata(FACTS)


def test_a_file_of_another_program_keeps_its_word_and_gets_what_it_lacks() -> None:
    theirs = {"modelspec.title": "Theirs", "ss_training_started_at": "1.0", "lora_web": "{"}
    found = completed(theirs, AdapterFacts("mine", "sdxl", 8, "xl", "cd" * 32))
    assert found["modelspec.title"] == "Theirs"
    assert found["ss_base_model_version"] == "sdxl_base_v1-0"
    assert read_ours(found)["base"] == {"id": "xl", "sha256": "cd" * 32}
    assert told(found)["made_with"] == "sd-scripts (kohya)"
    ours = build_metadata(FACTS)
    assert read_ours(completed(ours, AdapterFacts("other", "sd1", 4, "b", ""))) == read_ours(ours)


@pytest.mark.parametrize(
    ("header", "maker"),
    [
        ({"ss_session_id": "1"}, "sd-scripts (kohya)"),
        ({"ot_revision": "x"}, "OneTrainer"),
        ({"software": '{"name": "ai-toolkit"}'}, "ai-toolkit"),
        ({"lora_adapter_metadata": '{"unet.r": 4}'}, "diffusers, PEFT"),
        ({"software": "[" * 100_000}, ""),
        ({}, ""),
    ],
)
def test_who_made_a_file(header: dict[str, str], maker: str) -> None:
    assert told(header)["made_with"] == maker


@pytest.mark.parametrize(
    "ours",
    [
        {"title": ["x"], "trigger_words": "word", "base": 3, "recommended_strength": "nan", "config": []},
        {"title": {"a": 1}, "trigger_words": [1, None, "a\nb"], "base": {"id": 7}, "recommended_strength": 1e9},
        {"title": "x" * 10_000, "trigger_words": ["w"] * 10_000, "config": {"adapter": 1, "train": 2}},
    ],
)
def test_a_strangers_header_is_cut_to_size(ours: dict[str, Any], tmp_path: Path) -> None:
    save_file({"a.lora_A.weight": torch.ones(2, 2)}, tmp_path / "a.safetensors", {"lora_web": json.dumps(ours)})
    found = inspect(tmp_path / "a.safetensors")
    assert isinstance(found["title"], str) and len(found["title"]) <= 400
    assert all(isinstance(word, str) for word in found["trigger_words"]) and len(found["trigger_words"]) <= 50
    assert found["recommended_strength"] is None
    assert isinstance(found["base"], str)


def test_pictures_in_a_header_are_counted_not_shown(tmp_path: Path) -> None:
    header = remarked({"modelspec.title": "x"}, Remarks(thumbnail=jpeg()))
    save_file({"a.lora_A.weight": torch.ones(2, 2)}, tmp_path / "a.safetensors", header)
    assert inspect(tmp_path / "a.safetensors")["metadata"]["modelspec.thumbnail"].endswith("characters")
    assert thumbnail({"modelspec.thumbnail": "data:image/png;base64,???"}) == b""
    assert thumbnail({"modelspec.thumbnail": "http://example.com/a.png"}) == b""
