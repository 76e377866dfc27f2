"""Asking a language model: answers at several strengths, as they are said, and what leaves for other programs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipelines.__main__ import main
from pipelines.data.dialogues import Turn
from pipelines.errors import ProblemsError
from pipelines.export import export, run_config
from pipelines.family import Answer, PreviewRequest
from pipelines.fit import fit
from pipelines.llm_parts import Answering
from pipelines.preview import PreviewSession
from pipelines.relay import relay
from pipelines.train import ADAPTER_FILE
from tests.dialogue_parts import make_dialogues

Captured = pytest.CaptureFixture[str]
REQUEST = PreviewRequest("What is fox 1?", max_tokens=12)
QUESTION = "<|user|>What is fox 1?<|end|>\n<|assistant|>"


@pytest.fixture(scope="module")
def base(tiny_base: Callable[[str], Path]) -> Path:
    return tiny_base("llm")


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few large steps."""
    folder = tmp_path_factory.mktemp("text")
    data = make_dialogues(folder / "faq", 10)
    settings = {"steps": 6, "learning_rate": 0.05, "precision": "fp32", "device": "cpu", "warmup": 0}
    more = [word for name, value in settings.items() for word in ("--set", f"train.{name}={value}")]
    more += ["--set", "data.validation_percent=20"]
    arguments = ["--family", "text_llm", "--base", str(base), "--data", str(data), "--output", str(folder / "run")]
    assert main(["train", *arguments, *more]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def session(base: Path) -> PreviewSession:
    return PreviewSession("text_llm", str(base), precision="fp32", device="cpu")


def last(answers: Iterator[tuple[Answer, ...]]) -> tuple[Answer, ...]:
    *_, found = answers
    return found


def test_answers_at_several_strengths_are_said_side_by_side(session: PreviewSession, run: Path) -> None:
    adapter = run / ADAPTER_FILE
    said = list(session.answers(adapter, REQUEST, (0, 0.5, 1)))
    lengths = [[len(answer.tokens) for answer in answers] for answers in said]
    # The base is first, then the others together, one token at a time.
    assert lengths[0] == [1, 0, 0] and lengths[12] == [12, 1, 1]
    zero, half, one = said[-1]
    assert len({answer.text for answer in said[-1]}) == 3
    for strength, answer in ((0.5, half), (1, one)):
        alone = last(session.answers(adapter, REQUEST, (strength,)))[0]
        assert alone.text == answer.text
        probabilities = [[chance for _, chance in each.tokens] for each in (alone, answer)]
        assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-5)
    for answer in said[-1]:
        assert "".join(piece for piece, _ in answer.tokens) == answer.text
        assert all(0 < chance <= 1 for _, chance in answer.tokens)
    assert session.at_zero(adapter, REQUEST).different == 0
    assert last(session.answers(adapter, REQUEST, (0,))) == (zero,)


def test_an_answer_token_by_token_is_the_whole_read_at_once(session: PreviewSession) -> None:
    """With the cache, each token has the probability that a full pass over all before it gives."""
    language = session.parts.rest["pipeline"]
    asked = language.prompt([Turn("user", REQUEST.prompt)])
    assert asked == language.tokenizer(QUESTION, add_special_tokens=False).input_ids
    answering = Answering(language, REQUEST, {"input_ids": torch.tensor([asked])}, len(asked))
    *_, result = answering.results()
    with torch.no_grad():
        chances = language.model(torch.tensor([asked + answering.said[0]])).logits[0].softmax(-1)
    assert len(result.answers[0].tokens) == len(answering.said[0]) > 0
    for i, (_, chance) in enumerate(result.answers[0].tokens):
        before = chances[len(asked) + i - 1]
        assert int(before.argmax()) == answering.said[0][i]
        assert float(before.max()) == pytest.approx(chance, abs=2e-6)


def test_a_temperature_draws_the_same_for_the_same_seed(session: PreviewSession) -> None:
    def ask(**values: Any) -> Answer:
        return last(session.answers(Path("none"), PreviewRequest("Hi", max_tokens=12, **values), (0,)))[0]

    assert ask(temperature=1.0, seed=1) == ask(temperature=1.0, seed=1) != ask(temperature=1.0, seed=2)


def test_what_cannot_be_asked_is_told(session: PreviewSession, base: Path) -> None:
    for request, words in (
        (PreviewRequest("word " * 60), "reads at most 192 with the answer; shorten it"),
        (PreviewRequest("  "), "prompt is empty"),
        (PreviewRequest("Hi", max_tokens=0), "max_tokens is 0"),
        (PreviewRequest("Hi", temperature=float("nan")), "temperature is nan"),
        (PreviewRequest("Hi", picture="no bytes"), "picture is 'no bytes'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ProblemsError, match=words):
            last(session.answers(Path("none"), request, (0,)))
    with pytest.raises(ProblemsError, match="strengths is empty"):
        session.answers(Path("none"), REQUEST, ())
    # An answer ends where the context does.
    long = PreviewRequest("a" * 150, max_tokens=4096)
    (answer,) = last(session.answers(Path("none"), long, (0,)))
    assert answer.ended or len(answer.tokens) == 192 - 154


def test_answers_are_kept_on_disk_and_damaged_ones_given_again(base: Path, run: Path, tmp_path: Path) -> None:
    def ask() -> tuple[PreviewSession, tuple[Answer, ...]]:
        session = PreviewSession("text_llm", str(base), precision="fp32", device="cpu", cache_dir=tmp_path)
        return session, last(session.answers(run / ADAPTER_FILE, REQUEST, (0,)))

    (_, first), (second_session, second) = ask(), ask()
    assert first == second and not second_session.loaded
    (kept,) = tmp_path.rglob("answers.json")
    kept.write_text("[{}]")
    third_session, third = ask()
    assert third == first and third_session.loaded


def test_an_answer_may_be_left_before_its_end_and_heard_from_any_thread(session: PreviewSession, run: Path) -> None:
    answers = session.answers(run / ADAPTER_FILE, REQUEST, (0, 1))
    heard: list[tuple[Answer, ...]] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: heard.append(next(answers)))
        thread.start()
        thread.join()
    assert [len(said[0].tokens) for said in heard] == [1, 2, 3]
    answers.close()
    # The base is free again, and nobody was left in a mode without gradients.
    assert last(session.answers(run / ADAPTER_FILE, REQUEST, (0,)))[0].text
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_what_goes_wrong_in_the_thread_is_raised_where_it_is_heard() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise ProblemsError("no")

    heard = relay(fails)
    assert next(heard) == 1
    with pytest.raises(ProblemsError, match="no"):
        next(heard)


def test_families_that_draw_do_not_answer(tiny_base: Callable[[str], Path]) -> None:
    drawing = PreviewSession("stable_diffusion", str(tiny_base("sd1")), device="cpu")
    with pytest.raises(ProblemsError, match="answers nothing"):
        drawing.answers(Path("none"), REQUEST)


def test_families_that_answer_do_not_draw(session: PreviewSession) -> None:
    with pytest.raises(ProblemsError, match="draws no pictures"):
        session.ladder(Path("none"), REQUEST)


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(4, 40).unsqueeze(0)
    with torch.no_grad():
        found: torch.Tensor = model.eval()(ids).logits
    return found


def test_a_peft_folder_is_read_by_stock_peft_and_by_us(
    base: Path, run: Path, session: PreviewSession, tmp_path: Path
) -> None:
    folder = tmp_path / "peft"
    proof = export(run, "", folder)
    assert proof.max_error < 1e-6 and proof.modules == 14
    with session.at({run / ADAPTER_FILE: 1.0}) as parts:
        ours = logits(parts.model["llm"])
    stock = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    torch.testing.assert_close(logits(stock), ours, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, logits(AutoModelForCausalLM.from_pretrained(base)), atol=1e-2)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["task_type"] == "CAUSAL_LM" and config["base_model_name_or_path"] == base.name
    # As another program would have written it: without a word about our settings.
    from safetensors.torch import load_file, save_file

    save_file(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.safetensors")
    again = run_config(folder, str(base))
    assert again.family == "text_llm" and len(fit(folder, again).layers) == 14
    theirs, own = (last(session.answers(path, REQUEST, (1,)))[0].text for path in (folder, run / ADAPTER_FILE))
    assert theirs == own


def test_a_merged_base_is_read_by_stock_transformers_and_stops(
    run: Path, session: PreviewSession, tmp_path: Path
) -> None:
    folder = tmp_path / "merged"
    export(run, "merged", folder, strength=0.5)
    with session.at({run / ADAPTER_FILE: 0.5}) as parts:
        ours = logits(parts.model["llm"])
    stock, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    torch.testing.assert_close(logits(stock), ours, rtol=1e-4, atol=1e-4)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": REQUEST.prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = stock.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked["input_ids"].shape[1] :]
    (answer,) = last(session.answers(run / ADAPTER_FILE, REQUEST, (0.5,)))
    assert tokenizer.decode(said, skip_special_tokens=True) == answer.text
    assert stock.generation_config.eos_token_id in (0, [0])
    # What was merged is a base like any other.
    merged = PreviewSession("text_llm", str(folder), precision="fp32", device="cpu")
    assert last(merged.answers(Path("none"), REQUEST, (0,)))[0].text == answer.text


def test_the_command_line_asks_and_exports(base: Path, run: Path, tmp_path: Path, capsys: Captured) -> None:
    look = ["--prompt", REQUEST.prompt, "--strengths", "0,1", "--max-tokens", "12", "--precision", "fp32"]
    assert main(["preview", str(run), *look, "--output", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    answers = json.loads((tmp_path / "answers.json").read_text())["answers"]
    assert [row["strength"] for row in answers] == [0, 1] and told[0].startswith("strength 0: ")
    assert len(answers[1]["tokens"]) == 12 or answers[1]["ended"]
    assert main(["export", str(run), "--format", "kohya", "--output", str(tmp_path / "x")]) == 2
    assert "must be peft or merged" in capsys.readouterr().err
    assert main(["inspect", str(run / ADAPTER_FILE), "--base", str(base)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {row["group"] for row in facts["layers"]} == {"attention", "MLP"}
    assert "modelspec.resolution" not in facts["metadata"]
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event for event in events if event["event"] == "Validated"][-1]["perplexity"] > 1


def test_the_curve_of_a_language_model_is_that_of_its_losses(run: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["curve", str(run), "--precision", "fp32"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:-1]]
    assert [float(row[0]) for row in rows] == [i / 4 for i in range(9)]
    assert float(rows[0][3]) == 0 and max(float(row[3]) for row in rows) == 1
    curve = json.loads((run / "curve.json").read_text())
    assert curve["held_out"] and curve["samples"] == 1 and curve["pictures"] == 0


def test_a_run_is_measured_on_dialogues_before_it_starts(
    base: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dialogues(tmp_path / "faq", 6)
    monkeypatch.chdir(tmp_path)
    arguments = ["--family", "text_llm", "--base", str(base), "--data", str(data), "--set", "train.device=cpu"]
    assert main(["estimate", *arguments, "--measure"]) == 0
    told = capsys.readouterr().out
    assert "trainable parameters" in told and "6 dialogues" in told and "Time: about" in told
