"""The family of language models: what is learned of a dialogue, batches of rows of many lengths, training, resume."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.adapters.attach import attach
from pipelines.bases import find_base
from pipelines.config import AdapterConfig, RunConfig
from pipelines.data.dialogues import Turn, import_dialogues
from pipelines.data.encode import Encoded, encode_dataset
from pipelines.errors import LeftOut, ProblemsError
from pipelines.events import Event, Finished, Prepared, Previewed, Saved, Step, Validated
from pipelines.family import DialogueItem
from pipelines.llm_parts import IGNORED
from pipelines.llm_rows import buckets, pack
from pipelines.memory import estimate
from pipelines.preflight import check
from pipelines.randomness import Randomness
from pipelines.text_llm import TextOptions
from pipelines.train import train
from tests.dialogue_parts import STYLE, batch, dialogue, encoded, loaded, make_dialogues, text_config

Base = Callable[[str], Path]


@pytest.fixture
def base(tiny_base: Base) -> Path:
    return tiny_base("llm")


@pytest.fixture(scope="module")
def faq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dialogues(tmp_path_factory.mktemp("faq"))


def said(parts: Any, ids: torch.Tensor) -> str:
    return str(parts.rest["pipeline"].tokenizer.decode(ids))


def learned(parts: Any, tensors: dict[str, torch.Tensor]) -> str:
    return said(parts, tensors["ids"][tensors["labels"] != IGNORED])


class TestCirculatingScript:
    """The four defects of the Llama script that circulates: none of them can be had here."""

    def test_a_rank_that_is_text_is_refused(self) -> None:
        for wrong in ("16", ["16"]):
            with pytest.raises(ProblemsError, match=r"adapter\.rank is .*, must be a whole number"):
                RunConfig.from_dict({"family": "text_llm", "adapter": {"rank": wrong}})

    def test_a_setting_that_does_not_exist_is_named(self) -> None:
        with pytest.raises(ProblemsError, match=r"train\.logging_dir is not a setting"):
            RunConfig.from_dict({"family": "text_llm", "train": {"logging_dir": "logs"}})

    @pytest.mark.parametrize("packing", [False, True])
    def test_the_end_is_learned_though_padding_is_the_same_token(self, base: Path, packing: bool) -> None:
        family, parts = loaded(base, packing=packing)
        language = parts.rest["pipeline"]
        assert language.tokenizer.pad_token_id == language.tokenizer.eos_token_id == language.end
        rows = encoded(family, parts, dialogue("Hi", "Hello", name="a"), dialogue("Hi", "Good evening", name="b"))
        found = batch(list(family.arrange(parts, rows, 2)[0]))
        ends = (found["labels"] == language.end).sum(1)
        assert int(ends.sum()) == 2 and int(ends.max()) == (2 if packing else 1)
        # What is padding is learned from nowhere.
        shorter = found["labels"][0] if not packing else found["labels"][-1]
        assert int((shorter == language.end).sum()) == ends[0 if not packing else -1]

    def test_only_the_answer_is_learned(self, base: Path) -> None:
        family, parts = loaded(base)
        (one,) = encoded(family, parts, dialogue("What is a fox?", "A dog.", "And a cat?", "Not a dog."))
        assert said(parts, one.tensors["ids"]).startswith("<|user|>What is a fox?<|end|>")
        assert learned(parts, one.tensors) == "A dog.<|end|>Not a dog.<|end|>"
        whole, _ = loaded(base, learn="all")
        (other,) = encoded(whole, parts, dialogue("What is a fox?", "A dog."))
        assert learned(parts, other.tensors) == said(parts, other.tensors["ids"])


def test_human_and_assistant_for_bases_without_a_chat_template(tiny_base: Base) -> None:
    family, parts = loaded(tiny_base("llm_plain"))
    item = DialogueItem("a", (Turn("system", "Be brief."), *dialogue("Hi", "Hello").turns))
    (one,) = encoded(family, parts, item)
    assert said(parts, one.tensors["ids"]) == "Be brief.\n\nHuman: Hi\n\nAssistant: Hello<|end|>"
    assert learned(parts, one.tensors) == " Hello<|end|>"
    assert "Human" in family.arrange(parts, [one], 1)[1][0]
    prompt = parts.rest["pipeline"].prompt(dialogue("Hi").turns)
    assert said(parts, prompt) == "Human: Hi\n\nAssistant:"
    with pytest.raises(ProblemsError, match=r"no chat template.*human_assistant"):
        loaded(tiny_base("llm_plain"), template="chat")


def changed(base: Path, into: Path, template: str) -> Path:
    shutil.copytree(base, into)
    (into / "chat_template.jinja").write_text(template)
    return into


def test_chat_templates_of_all_sorts(base: Path, tmp_path: Path) -> None:
    plain = (base / "chat_template.jinja").read_text()
    endless = changed(base, tmp_path / "endless", plain.replace("<|end|>", ""))
    with pytest.raises(ProblemsError, match="does not end answers with a token of its own"):
        loaded(endless)
    strict = plain + "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    family, parts = loaded(changed(base, tmp_path / "strict", strict))
    with pytest.raises(LeftOut, match="no system here"):
        encoded(family, parts, DialogueItem("a", (Turn("system", "Hi"), *dialogue("Hi", "Hello").turns)))
    # As reasoning models do: what was thought is said of the last answer only.
    thought = "{{ '<think></think>' if loop.last and message['role'] == 'assistant' else '' }}"
    thinking = plain.replace("{{ message['content'] }}", thought + "{{ message['content'] }}")
    family, parts = loaded(changed(base, tmp_path / "thinking", thinking))
    (one,) = encoded(family, parts, dialogue("One?", "1", "Two?", "2"))
    assert learned(parts, one.tensors) == "1<|end|><think></think>2<|end|>"
    # What is asked for may not be what is said in the end; the answer is found after its question.
    asking = plain.replace("<|assistant|>{% endif", "<|assistant|><think>{% endif")
    family, parts = loaded(changed(base, tmp_path / "asking", asking))
    (one,) = encoded(family, parts, dialogue("Is 1 odd?", "1", "And 2?", "2"))
    assert learned(parts, one.tensors) == "1<|end|>2<|end|>"
    shouting = plain.replace("message['content']", "message['content'] | upper")
    family, parts = loaded(changed(base, tmp_path / "shouting", shouting))
    with pytest.raises(LeftOut, match="changes the words"):
        encoded(family, parts, dialogue("Hi", "Hello"))


def test_long_dialogues_are_cut_and_counted(base: Path, tmp_path: Path) -> None:
    family, parts = loaded(base, max_length=24, min_length=3)
    items = dialogue("Hi", "A" * 40), dialogue("Hi", "Hello", name="b")
    rows = encoded(family, parts, *items)
    assert [len(row.tensors["ids"]) for row in rows] == [24, 12]
    assert learned(parts, rows[0].tensors) == "A" * 18
    assert family.arrange(parts, rows, 2)[1] == ("1 of 2 dialogues have more than 24 tokens and are cut there",)
    with pytest.raises(LeftOut, match="question alone has 24 tokens"):
        encoded(family, parts, dialogue("Why" * 20, "Sorry"))
    with pytest.raises(LeftOut, match="fewer than 3 characters"):
        encoded(family, parts, dialogue("Why", "So"))


def test_padded_and_packed_rows_are_the_single_ones(base: Path) -> None:
    """The loss of a batch is that of its dialogues read one by one, whatever stands beside them."""
    family, parts = loaded(base)
    packing, _ = loaded(base, packing=True, max_length=64)
    parts.rest["length"] = 64
    attach(parts.model, family.targets(parts), AdapterConfig(rank=2), seed=0)
    texts = ("Hello", "Good evening", "A" * 30, "I do not know", "x")
    rows = encoded(family, parts, *(dialogue("Hi", text, name=text) for text in texts))
    draw = Randomness(0, 0, ("a",))
    with torch.no_grad():
        single = [float(family.loss(parts, batch([row]), draw)) for row in rows]
        weights = [family.weight(row.tensors) for row in rows]
        mean = sum(loss * weight for loss, weight in zip(single, weights, strict=True)) / sum(weights)
        for each in (family, packing):
            arranged = list(each.arrange(parts, rows, 5)[0])
            assert sum(each.weight(row.tensors) for row in arranged) == sum(weights)
            assert float(each.loss(parts, batch(arranged), draw)) == pytest.approx(mean, abs=1e-5)
    assert len(arranged) < len(rows)
    assert all(len(row.tensors["ids"]) <= 64 for row in arranged)


def test_a_packed_dialogue_cannot_read_the_one_before(base: Path) -> None:
    family, parts = loaded(base, packing=True)
    first, second = encoded(family, parts, dialogue("Hi", "Hello, hello", name="a"), dialogue("Yes?", "No", name="b"))
    (row,) = pack([first, second], 64)
    (other,) = pack([first, second], 64)
    count = len(first.tensors["ids"])
    other.tensors["ids"][:count] = 9
    other.tensors["labels"][:count] = IGNORED
    row.tensors["labels"][:count] = IGNORED
    draw = Randomness(0, 0, ("a",))
    with torch.no_grad():
        assert torch.equal(family.loss(parts, batch([row]), draw), family.loss(parts, batch([other]), draw))


def test_buckets_hold_whole_batches_of_nearly_one_length(base: Path) -> None:
    family, parts = loaded(base)
    rows = encoded(family, parts, *(dialogue("Hi", "a" * (1 + i * 7 % 90), name=str(i)) for i in range(50)))
    found = buckets(rows, 4, {"ids": 0, "labels": IGNORED})
    assert sorted(row.id for row in found) == sorted(row.id for row in rows)
    sizes: dict[Any, int] = {}
    for row in found:
        sizes[row.size] = sizes.get(row.size, 0) + 1
        assert row.size[0] == len(row.tensors["ids"]) == len(row.tensors["labels"])
    assert len(sizes) > 5 and sum(count % 4 > 0 for count in sizes.values()) <= 1
    padding = 1 - sum(len(row.tensors["ids"]) for row in rows) / sum(row.size[0] for row in found)
    assert padding < 0.12
    assert len({row.size for row in buckets(rows[:3], 4, {"ids": 0, "labels": IGNORED})}) == 1


def test_every_token_of_a_step_counts_the_same(base: Path, faq: Path, tmp_path: Path) -> None:
    """However a step is cut into batches and processes."""
    family, parts = loaded(base)
    config = text_config(base, faq, accumulation=2, batch_size=4)
    data: Encoded = encode_dataset(family, parts, find_base(config.base), config, (tmp_path, tmp_path / "cache"))
    for processes in (1, 2):
        shares = [data.share(config.train, 2 + i, rank, processes) for i in range(2) for rank in range(processes)]
        tokens = []
        for i in range(2):
            for rank in range(processes):
                _, rows = data.batch(config.train, 2 + i, rank, processes)
                tokens.append(float((rows["labels"][:, 1:] != IGNORED).sum()))
        assert shares == pytest.approx([processes * count / sum(tokens) for count in tokens])


def digest(run: Path) -> str:
    return hashlib.sha256((run / "adapter" / "adapter.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("packing", [False, True])
def test_resume_is_bit_exact(base: Path, faq: Path, tmp_path: Path, packing: bool) -> None:
    options = TextOptions(packing=packing, max_length=96)
    config = text_config(base, faq, accumulation=2, ema=0.9, validate_every=2, options=options)
    config = replace(
        config,
        adapter=replace(config.adapter, dropout=0.3),
        data=replace(config.data, validation_percent=20.0),
    )
    whole = list(train(config, tmp_path / "whole"))
    for event in train(config, tmp_path / "killed"):
        if isinstance(event, Saved) and event.step == 2:
            break
    second = list(train(config, tmp_path / "killed"))
    steps = [event.loss for event in whole if isinstance(event, Step)]
    assert steps[2:] == [event.loss for event in second if isinstance(event, Step)]
    assert digest(tmp_path / "whole") == digest(tmp_path / "killed")


def events_of(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_learns_to_answer_in_style_and_to_stop(base: Path, tmp_path: Path) -> None:
    """After 100 rows the model answers as they do and ends by itself, and unseen dialogues surprise it less."""
    data = make_dialogues(tmp_path / "faq", 100)
    config = text_config(
        base,
        data,
        steps=120,
        batch_size=8,
        learning_rate=2e-2,
        checkpoint_every=999,
        validate_every=40,
        preview_every=60,
        preview_prompt="What is fox 7?",
    )
    config = replace(
        config,
        data=replace(config.data, validation_percent=10.0),
        adapter=AdapterConfig(rank=16, alpha=32.0),
    )
    events = list(train(config, tmp_path / "run"))
    (prepared,) = events_of(events, Prepared)
    assert prepared.samples + prepared.validation_samples == 100 and isinstance(events[-1], Finished)
    validated = events_of(events, Validated)
    assert all(event.perplexity == pytest.approx(math.exp(event.loss)) for event in validated)
    assert validated[-1].perplexity < 3 and validated[-1].perplexity < 0.8 * validated[0].perplexity
    shown = events_of(events, Previewed)
    assert [event.step for event in shown] == [60, 120]
    answer = (tmp_path / "run" / shown[-1].paths[0]).read_text()
    assert shown[-1].paths[0].endswith(".txt") and answer.startswith(STYLE) and len(answer) < 40


def test_checkpointing_changes_nothing_but_memory(base: Path, faq: Path, tmp_path: Path) -> None:
    config = text_config(base, faq, steps=2)
    saved = replace(config, train=replace(config.train, gradient_checkpointing=True))
    runs = [list(train(each, tmp_path / str(i))) for i, each in enumerate((config, saved))]
    losses = [[event.loss for event in events_of(events, Step)] for events in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_what_is_left_out_is_told_before_the_first_step(base: Path, tmp_path: Path) -> None:
    rows = [
        {"instruction": "Why" * 90, "output": "So"},
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi"},
    ]
    data = tmp_path / "faq.json"
    data.write_text(json.dumps(rows))
    events = train(text_config(base, data, steps=1), tmp_path / "run")
    prepared = next(events)
    assert isinstance(prepared, Prepared) and prepared.samples == 1
    assert "faq.json, row 3 has no answer: it is left out" in prepared.rejected
    assert any("faq.json, row 1" in told and "question alone" in told for told in prepared.rejected)
    data.write_text(json.dumps(rows[:1]))
    with pytest.raises(ProblemsError, match="No sample can be used"):
        next(train(text_config(base, data), tmp_path / "none"))
    data.write_text(json.dumps(rows[2:]))
    with pytest.raises(ProblemsError, match="No dialogue can be used"):
        next(train(text_config(base, data), tmp_path / "none at all"))


def test_bases_that_are_no_language_models_are_refused(tiny_base: Base, base: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    shutil.copy(base / "model.safetensors", file)
    damaged = changed(base, tmp_path / "damaged", "")
    (damaged / "model.safetensors").write_bytes(b"nothing")
    for wrong, words in (
        (file, "single file"),
        (tiny_base("sd1"), "no config.json"),
        (tiny_base("sd1") / "text_encoder", "cannot be loaded|is a clip_text_model"),
        (damaged, "cannot be loaded"),
    ):
        with pytest.raises(ProblemsError, match=words):
            loaded(wrong)


def test_memory_is_counted_without_pictures(base: Path, faq: Path) -> None:
    small, large = (estimate(text_config(base, faq, options=TextOptions(max_length=n))) for n in (32, 128))
    assert small.weights == large.weights > 0 and small.parameters == large.parameters > 0
    assert 2 * small.activations < large.activations and small.step_flops < large.step_flops
    assert small.optimizer == 12 * small.parameters


def test_advice_is_told_and_one_click_away(base: Path, faq: Path, tmp_path: Path) -> None:
    import_dialogues([faq], tmp_path / "dataset")
    config = text_config(base, faq, steps=100)
    found = {finding.kind: finding for finding in check(config, tmp_path / "dataset", tmp_path)}
    assert set(found) == {"dialogues", "few_dialogues", "no_validation"}
    assert str(found["dialogues"]) == "10 dialogues, each seen about 20×"
    config = replace(config, adapter=AdapterConfig(rank=64, alpha=64.0))
    found = {finding.kind: finding for finding in check(config, tmp_path / "dataset", tmp_path)}
    assert {"alpha", "rank_high", "rslora"} < set(found)
    settings: dict[str, Any] = {}
    for kind in ("alpha", "rslora"):
        assert found[kind].level == "fact" and found[kind].fix
        settings |= found[kind].fix.settings
    assert settings == {"adapter.alpha": 128.0, "adapter.variant": "rslora"}
