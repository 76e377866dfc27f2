"""VoRA: what is learned of pictures with dialogues, the teacher's part in it, training, both strengths, export."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pipelines.__main__ import main
from pipelines.adapters.attach import AID, attach, train_along
from pipelines.adapters.contents import inspect
from pipelines.adapters.strength import OnMarked
from pipelines.bases import find_base
from pipelines.checkpoints import adapters
from pipelines.config import AdapterConfig, RunConfig, with_values
from pipelines.data.encode import encode_dataset
from pipelines.errors import LeftOut, ProblemsError
from pipelines.events import Event, Finished, Prepared, Previewed, Step
from pipelines.export import export
from pipelines.family import PreviewRequest
from pipelines.llm_parts import IGNORED
from pipelines.memory import estimate
from pipelines.preview import PreviewSession
from pipelines.randomness import Randomness
from pipelines.train import ADAPTER_FILE, train
from tests.vora_parts import (
    SMALL,
    TOKENS,
    batch,
    encoded,
    loaded,
    make_pictures,
    make_teacher,
    picture_bytes,
    seen,
    session,
    vora_config,
)

Base = Callable[[str], Path]
DRAW = Randomness(0, 0, ("a",))
ASKED = PreviewRequest("Which colour?", picture=picture_bytes("red"), max_tokens=6)
TEXT = PreviewRequest("What is one and one?", max_tokens=6)


@pytest.fixture(scope="module")
def base(tiny_base: Base) -> Path:
    return tiny_base("llm")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def trained(base: Path, teacher: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run with a teacher, and its events."""
    run = tmp_path_factory.mktemp("run")
    options = replace(SMALL, teacher=str(teacher))
    config = vora_config(
        base, pictures, options=options, steps=60, learning_rate=1e-2, schedule="constant", ema=0.0, preview_every=60
    )
    (run / "run.json").write_text(config.to_json())
    return run, list(train(config, run))


class TestRows:
    def test_the_answer_is_learned_and_pictures_have_their_places(self, base: Path) -> None:
        family, parts = loaded(base)
        (one,) = encoded(family, parts, seen("red", "what is it?"))
        ids, labels, image = (one.tensors[name] for name in ("ids", "labels", "image"))
        tokenizer = parts.rest["pipeline"].language.tokenizer
        assert tokenizer.decode(ids[labels != IGNORED]) == "it is red<|end|>"
        assert int((image == 0).sum()) == TOKENS and bool((labels[image >= 0] == IGNORED).all())
        assert tokenizer.decode(ids[image < 0]).startswith("<|user|>what is it?<|end|>")
        assert one.tensors["pixels"].shape == (1, 3, 32, 32) and one.tensors["pixels"].dtype == torch.uint8

    def test_a_picture_is_read_whole(self, base: Path) -> None:
        family, parts = loaded(base)
        wide = seen("red", "?")
        wide = replace(wide, pictures=(wide.pictures[0].resize((80, 20)),))
        pixels = family.encode(parts, wide)["pixels"][0].float().mean(0)
        assert float(pixels[:10].max()) == 0 and float(pixels[14:18].min()) > 50

    @pytest.mark.parametrize("mixed", [True, False])
    def test_rows_of_a_batch_are_what_they_are_alone(self, base: Path, mixed: bool) -> None:
        """With one picture, two, and none."""
        family, parts = loaded(base, mixed=mixed)
        items = [
            seen("red", "what?", name="a"),
            seen("blue", "and", "white", "?", answer="two of them", name="b"),
            seen("hello", answer="good day to you", name="c"),
            seen("green", "is it red?", answer="no", name="d"),
        ]
        rows = list(family.arrange(parts, encoded(family, parts, *items), 4)[0])
        sizes = {row.size for row in rows}
        assert len(rows) == 4 and len(sizes) == (1 if mixed else 2)
        with torch.no_grad():
            alone = {one.id: family.loss(parts, batch(encoded(family, parts, one)), DRAW) for one in items}
            for size in sizes:
                same = [row for row in rows if row.size == size]
                found = family.loss(parts, batch(same), DRAW)
                torch.testing.assert_close(found, torch.stack([alone[row.id] for row in same]).mean())

    def test_mirrored_pictures_stand_where_the_others_do(self, base: Path, tmp_path: Path) -> None:
        """Half of the pixels of a two-coloured picture each way round; words, places and lengths are the same."""
        halves = Image.new("RGB", (32, 32), "red")
        halves.paste("blue", (0, 0, 16, 32))
        (tmp_path / "data").mkdir()
        halves.save(tmp_path / "data" / "a.png")
        (tmp_path / "data" / "a.txt").write_text("two halves")
        (tmp_path / "data" / "rows.json").write_text('[{"question": "one?", "answer": "a longer answer than that"}]')
        family, parts = loaded(base)
        config = with_values(vora_config(base, tmp_path / "data"), {"data.flip": True})
        folders = (tmp_path / "run", tmp_path / "cache")
        rows = encode_dataset(family, parts, find_base(str(base)), config, folders).rows
        (row,) = [row for row in rows if row.mirrored]
        assert len(rows) == 2 and row.mirrored and row.mirrored.keys() == row.tensors.keys()
        changed = [name for name, value in row.tensors.items() if not torch.equal(value, row.mirrored[name])]
        assert changed == ["pixels"] and torch.equal(row.tensors["pixels"].flip(-1), row.mirrored["pixels"])

    def test_what_cannot_be_learned_is_left_out(self, base: Path) -> None:
        family, parts = loaded(base, max_length=40)
        with pytest.raises(LeftOut, match="have 40 tokens"):
            family.encode(parts, seen("red", "a question of more than forty letters?"))
        with pytest.raises(LeftOut, match="speaks of 0 pictures and has 1"):
            family.encode(parts, replace(seen("what?"), pictures=seen("red").pictures))

    def test_a_picture_must_fit(self, base: Path) -> None:
        with pytest.raises(ProblemsError, match=r"multiple of options\.patch"):
            loaded(base, size=30)
        with pytest.raises(ProblemsError, match="a picture takes 256 tokens, and rows have at most 192"):
            loaded(base, size=128)
        family, parts = loaded(base)
        with pytest.raises(ProblemsError, match="at most 192"):
            family.preview(parts, replace(ASKED, prompt="why " * 60))
        with pytest.raises(ProblemsError, match="there is no picture"):
            family.preview(parts, PreviewRequest())


class TestTeacher:
    def test_every_block_learns_from_one_of_the_teachers(self, base: Path, teacher: Path) -> None:
        family, parts = loaded(base, teacher=str(teacher))
        assert {target.pattern.count("(0|1)") for target in family.targets(parts)} == {1}, "two of three blocks"
        adapter = attach(parts.model, family.targets(parts), AdapterConfig(rank=2), seed=0, extra=parts.extra)
        train_along(adapter, family.aids(parts))
        rows = batch(encoded(family, parts, seen("red", "what?")))
        assert rows["taught"].shape == (1, 1, 2, TOKENS, 16)
        family.loss(parts, rows, DRAW).backward()
        heads = [name for name in adapter.parameters() if name.startswith(AID)]
        assert len(heads) == 2 * 2 and all(adapter.parameters()[name].grad is not None for name in heads)
        assert all(parameter.grad is not None for parameter in adapter.whole.values())
        assert parts.figures.keys() == {"answers", "distillation", "block 1", "block 2"}
        assert float(parts.figures["distillation"]) == pytest.approx(
            (float(parts.figures["block 1"]) + float(parts.figures["block 2"])) / 2
        )

    def test_asking_in_every_step_is_the_same(self, base: Path, teacher: Path) -> None:
        found = []
        for keep in (False, True):
            family, parts = loaded(base, teacher=str(teacher), keep_teacher=keep)
            family.aids(parts)
            rows = batch(encoded(family, parts, seen("red", "what?")))
            family.release(parts)
            assert ("taught" in rows) != keep and bool(family.cache_key(find_base(str(base)))) != keep
            found.append(family.loss(parts, rows, DRAW).item())
        assert found[0] == pytest.approx(found[1], rel=1e-3)

    def test_what_the_teacher_said_is_kept_whatever_it_counts(self, base: Path, teacher: Path) -> None:
        found = [loaded(base, teacher=str(teacher), distillation=much)[0] for much in (1.0, 4.0)]
        once, more = (family.cache_key(find_base(str(base))) for family in found)
        assert once and once == more

    def test_only_answers_are_measured(self, base: Path, teacher: Path) -> None:
        """Whoever measures has no heads, and words have no perplexity in cosines."""
        family, parts = loaded(base, teacher=str(teacher))
        rows = batch(encoded(family, parts, seen("red", "what?")))
        with torch.no_grad():
            before = family.loss(parts, rows, DRAW)
            family.aids(parts)
            assert torch.equal(family.loss(parts, rows, DRAW), before)
        assert family.loss(parts, rows, DRAW).item() > before.item()

    def test_a_row_of_words_learns_nothing_from_the_teacher(self, base: Path, teacher: Path) -> None:
        family, parts = loaded(base, teacher=str(teacher))
        family.aids(parts)
        items = [seen("red", "what?", name="a"), seen("hello", answer="good day", name="b")]
        together = batch(list(family.arrange(parts, encoded(family, parts, *items), 2)[0]))
        both = family.loss(parts, together, DRAW)
        alone = [family.loss(parts, batch(encoded(family, parts, one)), DRAW) for one in items]
        torch.testing.assert_close(both, torch.stack(alone).mean())


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class TestTraining:
    def test_learns_and_tells_what_the_loss_is_made_of(self, trained: tuple[Path, Any]) -> None:
        run, events = trained
        assert isinstance(events[-1], Finished) and of(events, Prepared)[0].samples == 5
        steps = of(events, Step)
        first, last = steps[0].figures, steps[-1].figures
        assert {"answers", "distillation", "block 1", "block 2"} <= set().union(*(step.figures for step in steps))
        ends = [sum(step.loss for step in part) for part in (steps[:10], steps[-10:])]
        assert ends[1] < 0.7 * ends[0] and first != last
        (shown,) = of(events, Previewed)
        assert (run / shown.paths[0]).read_text().strip()

    def test_holds_lora_and_the_vision_embedding_and_nothing_of_the_teacher(self, trained: tuple[Path, Any]) -> None:
        tensors = load_file(trained[0] / ADAPTER_FILE)
        whole = {name for name in tensors if ".lora_" not in name}
        assert whole == {f"vision.{name}" for name in ("patch.weight", "patch.bias", "norm.weight", "positions",
                                                       "projection.weight")}  # fmt: skip
        assert len(tensors) - len(whole) == 2 * 2 * 7
        assert inspect(trained[0] / ADAPTER_FILE)["components"] == {"llm": 14, "vision": 5}
        _, path = list(adapters(trained[0]))[-1]
        kept = load_file(path)
        assert kept.keys() == tensors.keys() and all(torch.equal(kept[name], tensors[name]) for name in tensors)

    def test_killed_anywhere_and_resumed_ends_with_the_same_bytes(
        self, base: Path, teacher: Path, pictures: Path, tmp_path: Path
    ) -> None:
        config = vora_config(base, pictures, options=replace(SMALL, teacher=str(teacher)), ema=0.9)
        list(train(config, tmp_path / "whole"))
        run = train(config, tmp_path / "cut")
        while not isinstance(event := next(run), Step) or event.step < 2:
            pass
        run.close()
        last = [event for event in train(config, tmp_path / "cut") if isinstance(event, Step)]
        assert [event.step for event in last] == [3, 4]
        found = {hashlib.sha256((tmp_path / name / ADAPTER_FILE).read_bytes()).hexdigest() for name in ("whole", "cut")}
        assert len(found) == 1

    def test_activations_may_be_computed_twice(self, base: Path, teacher: Path, pictures: Path, tmp_path: Path) -> None:
        found = []
        for twice in (False, True):
            options = replace(SMALL, teacher=str(teacher))
            config = vora_config(base, pictures, options=options, steps=2, gradient_checkpointing=twice)
            found.append(of(list(train(config, tmp_path / str(twice))), Step))
        for once, again in zip(*found, strict=True):
            assert again.loss == pytest.approx(once.loss, rel=1e-5)
            assert again.gradient_norm == pytest.approx(once.gradient_norm, rel=1e-4)

    def test_memory_is_counted_without_weights(self, base: Path, teacher: Path, pictures: Path) -> None:
        plain, taught = (
            estimate(vora_config(base, pictures, options=replace(SMALL, teacher=name))) for name in ("", str(teacher))
        )
        heads = 2 * (32 + 32 * 16)
        assert taught.parameters - plain.parameters == heads and taught.activations > plain.activations
        assert taught.cache_per_sample - plain.cache_per_sample == 2 * TOKENS * 16 * 2

    def test_a_teacher_that_is_none_is_told_before_the_first_step(
        self, base: Path, pictures: Path, tmp_path: Path
    ) -> None:
        config = vora_config(base, pictures, options=replace(SMALL, teacher=str(base)))
        with pytest.raises(ProblemsError, match=r"is a llama.*choose a ViT"):
            next(train(config, tmp_path / "run"))


def answers(found: PreviewSession, path: Path, request: PreviewRequest, values: Any, **more: Any) -> list[Any]:
    *_, last = found.answers(path, request, values, **more)
    return list(last)


class TestStrength:
    VALUES = (0.0, 0.5, 1.0, -1.0)

    @pytest.mark.parametrize("on_marked", [False, True])
    @pytest.mark.parametrize("request_", [ASKED, TEXT], ids=["picture", "text"])
    def test_rows_of_one_pass_are_single_passes(
        self, trained: tuple[Path, Any], base: Path, request_: PreviewRequest, on_marked: bool
    ) -> None:
        path = trained[0] / ADAPTER_FILE
        together = answers(session(base), path, request_, self.VALUES, on_marked=on_marked)
        for value, answer in zip(self.VALUES, together, strict=True):
            (alone,) = answers(session(base), path, request_, [value], on_marked=on_marked)
            assert alone.text == answer.text and alone.ended == answer.ended
            assert [p for _, p in alone.tokens] == pytest.approx([p for _, p in answer.tokens], abs=1e-4)

    def test_zero_is_the_base(self, trained: tuple[Path, Any], base: Path) -> None:
        path, fresh = trained[0] / ADAPTER_FILE, session(base)
        *_, (blind,) = fresh._said({}, ASKED)
        used = session(base)
        answers(used, path, ASKED, [1.0])
        for request in (ASKED, TEXT):
            assert used.at_zero(path, request).different == 0
        assert answers(used, path, ASKED, [0.0]) == [blind]

    def test_on_image_tokens_only_a_text_is_answered_by_the_base(self, trained: tuple[Path, Any], base: Path) -> None:
        path, found = trained[0] / ADAPTER_FILE, session(base)
        ids = torch.tensor([[5, 9, 30, 7]])

        def logits(values: Any) -> torch.Tensor:
            with found.at(values) as parts, torch.inference_mode():
                return parts.model["llm"](ids).logits

        plain = logits({})
        for strength in (1.0, -2.0, [0.5]):
            assert torch.equal(logits({path: OnMarked(strength)}), plain)
        assert not torch.equal(logits({path: 1.0}), plain)
        texts = answers(found, path, TEXT, (0.0, 1.0, 2.0), on_marked=True)
        assert texts[0] == texts[1] == texts[2]
        assert answers(found, path, TEXT, (1.0,))[0] != texts[0]
        looked = answers(found, path, ASKED, (0.0, 1.0), on_marked=True)
        assert looked[0] != looked[1] != answers(found, path, ASKED, (1.0,))[0]

    def test_groups_move_alone(self, trained: tuple[Path, Any], base: Path) -> None:
        path, found = trained[0] / ADAPTER_FILE, session(base)
        assert found.groups(path) == ["MLP", "attention", "vision embedding"]
        with found.at({path: {"": 0.0, "vision embedding": 1.0}}) as parts:
            name, value = next(iter(parts.model["vision"].named_parameters()))
            assert torch.equal(value, load_file(path)[f"vision.{name}"])


class TestExport:
    def test_merged_is_unmerged(self, trained: tuple[Path, Any], base: Path, tmp_path: Path) -> None:
        run, _ = trained
        merged = tmp_path / "merged"
        export(run, "merged", merged)
        ours = answers(session(base), run / ADAPTER_FILE, ASKED, [1.0])[0]
        # What the base sees by itself now: nothing is attached, and size and patch are its own.
        *_, (theirs,) = session(merged, size=64, patch=16)._said({}, ASKED)
        assert theirs.text == ours.text
        assert [p for _, p in theirs.tokens] == pytest.approx([p for _, p in ours.tokens], abs=1e-4)
        stock = AutoModelForCausalLM.from_pretrained(merged).eval()
        ids = torch.tensor([[5, 9, 30, 7]])
        with session(base).at({run / ADAPTER_FILE: 1.0}) as parts, torch.inference_mode():
            torch.testing.assert_close(stock(ids).logits, parts.model["llm"](ids).logits, rtol=1e-4, atol=1e-4)

    def test_the_file_reloads_with_its_vision_embedding(
        self, trained: tuple[Path, Any], base: Path, tmp_path: Path
    ) -> None:
        run, path = trained[0], tmp_path / "a.safetensors"
        proof = export(run, "", path)
        assert proof.unmatched == 0 and proof.modules == 19
        again, ours = (answers(session(base), file, ASKED, [1.0])[0] for file in (path, run / ADAPTER_FILE))
        assert again.text == ours.text
        assert [p for _, p in again.tokens] == pytest.approx([p for _, p in ours.tokens], abs=1e-4)

    def test_what_a_form_cannot_hold_is_said(self, trained: tuple[Path, Any], tmp_path: Path) -> None:
        with pytest.raises(ProblemsError, match="image tokens only cannot be merged"):
            export(trained[0], "merged", tmp_path / "merged", strength=OnMarked(1.0))
        with pytest.raises(ProblemsError, match="must be diffusers or merged"):
            export(trained[0], "peft", tmp_path / "peft")
        assert not any(tmp_path.iterdir())

    def test_the_start_of_the_vision_embedding_is_the_same_everywhere(self, base: Path, tmp_path: Path) -> None:
        copied = tmp_path / "copy"
        shutil.copytree(base, copied)
        nets = [loaded(folder)[1].model["vision"] for folder in (base, copied)]
        assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_the_command_line_asks_about_a_picture(
    trained: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = str(trained[0]), tmp_path / "red.png"
    file.write_bytes(picture_bytes("red"))
    asked = ["preview", run, "--picture", str(file), "--prompt", "Which colour?", "--strengths", "0,1"]
    for more in ([], ["--image-tokens-only"]):
        assert main([*asked, *more, "--precision", "fp32", "--max-tokens", "4", "--output", str(tmp_path)]) == 0
        assert "strength 1: " in capsys.readouterr().out
        assert len(json.loads((tmp_path / "answers.json").read_text())["answers"]) == 2
    assert main([*asked[:3], str(tmp_path / "none.png"), *asked[4:], "--output", str(tmp_path)]) == 2
    merged = str(tmp_path / "merged")
    assert main(["export", run, "--format", "merged", "--image-tokens-only", "--output", merged]) == 2
    assert "cannot be merged" in capsys.readouterr().err


def test_the_config_goes_both_ways() -> None:
    config = RunConfig(family="vora")
    assert RunConfig.from_dict(config.to_dict()) == config
