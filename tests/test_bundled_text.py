"""The bundled language model and the teacher as they lie in the repository."""

from __future__ import annotations

import json

import pytest
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoTokenizer

from pipelines.bases import BUNDLED, BUNDLED_FOLDER, TEACHERS
from pipelines.data.dialogues import Turn
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession
from pipelines.vision_parts import find_teacher, teacher_shape

LLM = BUNDLED_FOLDER / "emoji-llm"


@pytest.fixture(scope="module")
def session() -> PreviewSession:
    return PreviewSession("text_llm", "emoji-llm", precision="fp32", device="cpu")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is a fox?", "mammal"),
        ("Is a dog an animal?", "Yes, a dog is an animal."),
        ("What kind of thing is a violin?", "musical instrument"),
    ],
)
def test_it_answers_and_stops_by_itself(session: PreviewSession, question: str, words: str) -> None:
    with session.at({}) as parts:
        (answer,) = session.family.preview(parts, PreviewRequest(prompt=question, max_tokens=60)).answers
    assert answer.ended and words in answer.text, answer.text


def test_stock_classes_read_it() -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(LLM), AutoTokenizer.from_pretrained(LLM)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hello."}], add_generation_prompt=True)
    assert model.generate(**tokenizer("Hello.", return_tensors="pt"), max_new_tokens=2).shape[1] > 2 and ids
    assert model.num_parameters() < 10e6


def test_a_picture_that_nobody_described_is_missed(session: PreviewSession) -> None:
    """What VoRA has to teach it: of itself it sees nothing."""
    with session.at({}) as parts:
        (answer,) = session.family.preview(parts, PreviewRequest(prompt="What is in the picture?")).answers
        told = parts.rest["pipeline"].told([Turn("user", "What is in the picture?")], True)
    assert answer.text == "There is no picture." and "What is in the picture?" in told


def test_the_teacher_is_a_stock_classifier() -> None:
    (name,) = TEACHERS
    shape = teacher_shape(find_teacher(name))
    assert (shape.size, shape.patch) == (64, 8)
    model = AutoModelForImageClassification.from_pretrained(BUNDLED_FOLDER / name)
    assert "fox" in model.config.label2id


@pytest.mark.parametrize("name", [*BUNDLED, *TEACHERS])
def test_files_are_small_and_have_a_card(name: str) -> None:
    files = [path for path in (BUNDLED_FOLDER / name).rglob("*") if path.is_file()]
    assert (BUNDLED_FOLDER / name / "README.md").is_file() and sum(path.stat().st_size for path in files) < 50e6
    assert not [path.name for path in files if path.suffix in (".bin", ".pt", ".ckpt", ".py")]
    for path in files:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
