"""VoRA: an adapter that learns to work at image tokens alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.adapters.marks import marks
from pipelines.errors import ProblemsError
from pipelines.events import Finished, Step
from pipelines.randomness import Randomness
from pipelines.train import ADAPTER_FILE, train
from tests.vora_parts import SMALL, batch, encoded, loaded, make_pictures, seen, vora_config

Base = Callable[[str], Path]


@pytest.fixture(scope="module")
def base(tiny_base: Base) -> Path:
    return tiny_base("llm")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


def told(base: Path, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens that a loss marks in 32 rows, of which every fourth has no picture, and those that are of pictures."""
    family, parts = loaded(base, images_alone=share)
    rows = [seen("hello" if number % 4 == 3 else "red", "what?", name=str(number)) for number in range(32)]
    together = batch(list(family.arrange(parts, encoded(family, parts, *rows), 32)[0]))
    found: list[torch.Tensor | None] = []
    parts.model["llm"].model.register_forward_pre_hook(lambda *_: found.append(marks()))
    family.loss(parts, together, Randomness(3, 1, tuple(map(str, range(32)))))
    (marked,) = found
    assert marked is not None
    return marked, together["image"] >= 0


class TestMarks:
    def test_none_of_the_rows_learns_alone_by_default(self, base: Path) -> None:
        marked, image = told(base, 0.0)
        assert torch.equal(marked, image) and not loaded(base)[0].marks_tokens

    def test_all_rows_with_a_picture_do_at_one(self, base: Path) -> None:
        """Without a picture there is nothing that the adapter could work at alone: it works everywhere."""
        marked, image = told(base, 1.0)
        there = image.any(1)
        assert torch.equal(marked[there], image[there]) and marked[~there].all() and (~there).sum() == 8

    def test_a_share_does_between(self, base: Path) -> None:
        marked, image = told(base, 0.5)
        alone, there = (marked == image).all(1), image.any(1)
        assert not alone[~there].any() and 4 < alone[there].sum() < 20
        assert marked[~alone].all() and torch.equal(told(base, 0.5)[0], marked)


class TestTraining:
    def test_words_get_no_gradient_through_the_adapter(self, base: Path, pictures: Path, tmp_path: Path) -> None:
        """At the last block nobody sees a picture but words, and there the base speaks: only what they read of the
        picture is learned."""
        captions, found = tmp_path / "captions", {}
        shutil.copytree(pictures, captions, ignore=shutil.ignore_patterns("*.json"))
        for share in (0.0, 1.0):
            config = vora_config(base, captions, options=replace(SMALL, images_alone=share), steps=1, ema=0.0)
            run = tmp_path / str(share)
            assert isinstance(list(train(config, run))[-1], Finished)
            found[share] = load_file(run / ADAPTER_FILE)
        up = "llm.model.layers.1.{}.lora_B.weight".format
        assert found[0.0][up("mlp.down_proj")].any() and not found[1.0][up("mlp.down_proj")].any()
        assert found[1.0][up("self_attn.v_proj")].any()

    def test_killed_anywhere_and_resumed_ends_with_the_same_bytes(
        self, base: Path, pictures: Path, tmp_path: Path
    ) -> None:
        config = vora_config(base, pictures, options=replace(SMALL, images_alone=0.5), ema=0.9)
        list(train(config, tmp_path / "whole"))
        run = train(config, tmp_path / "cut")
        while not isinstance(event := next(run), Step) or event.step < 2:
            pass
        run.close()
        list(train(config, tmp_path / "cut"))
        whole, cut = ((tmp_path / name / ADAPTER_FILE).read_bytes() for name in ("whole", "cut"))
        assert whole == cut

    def test_it_does_not_go_with_activations_computed_twice(self, base: Path, pictures: Path, tmp_path: Path) -> None:
        options = replace(SMALL, images_alone=0.5)
        config = vora_config(base, pictures, options=options, gradient_checkpointing=True)
        with pytest.raises(ProblemsError, match=r"options\.images_alone"):
            list(train(config, tmp_path / "run"))
