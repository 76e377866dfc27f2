"""What every family must keep, over the whole registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipelines import registry
from pipelines.adapters.attach import adaptable, attach, attach_weights, match, match_all
from pipelines.adapters.strength import strengths
from pipelines.adapters.variants import VARIANTS
from pipelines.bases import find_base
from pipelines.config import AdapterConfig
from pipelines.data.dialogues import PICTURE, Turn
from pipelines.data.readers import EncodedSample
from pipelines.data.regions import Region
from pipelines.errors import ProblemsError
from pipelines.family import DialogueItem, Item, PreviewRequest, PreviewResult, Target
from pipelines.randomness import Randomness

# family -> kinds of tiny bases it must work on
KINDS = {
    "stable_diffusion": ("sd1", "sd2", "sdxl"),
    "mmdit_layout": ("layout", "layout3"),
    "text_llm": ("llm", "llm_plain"),
    "vora": ("llm", "llm_plain"),
}
# family -> options that make tiny bases do
SMALL: dict[str, dict[str, Any]] = {"vora": {"size": 32, "patch": 8}}
CASES = [(family, kind) for family in registry.FAMILIES for kind in KINDS[family]]
# family -> options that widen what learns, and the group they add
WIDER = {
    "stable_diffusion": (({"conv": True}, "convolution"), ({"text_encoder": True}, "text")),
    "mmdit_layout": (({"scope": "text_mlp"}, "region captions"), ({"scope": "branch"}, "layout attention")),
    "text_llm": (({"scope": "attention"}, "attention"), ({"scope": "mlp"}, "MLP")),
    "vora": (({"blocks": 1}, "attention"), ({"blocks": 2}, "MLP")),
}


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def loaded(request: pytest.FixtureRequest, tiny_base: Callable[[str], Path]) -> tuple[Any, Any]:
    name, kind = request.param
    family = registry.create(name, registry.options_class(name)(**SMALL.get(name, {})))
    return family, family.load(find_base(str(tiny_base(kind))), torch.device("cpu"), torch.float32)


def item(family: Any, name: str = "a", caption: str = "a disc") -> Item | DialogueItem:
    if family.reads == "dialogues":
        return DialogueItem(name, (Turn("user", "what is it?"), Turn("assistant", caption)))
    if family.reads == "pictures with dialogues":
        seen = Image.new("RGB", (40, 30), (len(caption) * 9, 120, 200))
        return DialogueItem(name, (Turn("user", f"{PICTURE}what is it?"), Turn("assistant", caption)), (seen,))
    pixels = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(len(caption))) * 2 - 1
    return Item(name, caption, pixels, (80, 64), (8, 0), (Region((0.1, 0.2, 0.6, 0.7), "a disc"),))


def batch_of(family: Any, parts: Any, items: list[Any]) -> dict[str, torch.Tensor]:
    encoded = [EncodedSample(one.id, "", (0, 0), family.encode(parts, one)) for one in items]
    rows = [row.tensors for row in family.arrange(parts, encoded, len(items))[0]]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def shown(result: PreviewResult) -> list[Any]:
    return [*(image.tobytes() for image in result.images), *result.answers]


def test_options_are_a_frozen_dataclass_of_knobs(loaded: tuple[Any, Any]) -> None:
    options = loaded[0].options_class
    assert dataclasses.is_dataclass(options) and options.__dataclass_params__.frozen
    assert all(spec.metadata.get("help") for spec in dataclasses.fields(options))


def test_loads_frozen_and_in_eval_mode(loaded: tuple[Any, Any]) -> None:
    _, parts = loaded
    for module in parts.model.values():
        assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_encodes_deterministically_and_without_gradients(loaded: tuple[Any, Any]) -> None:
    family, parts = loaded
    first, second = family.encode(parts, item(family)), family.encode(parts, item(family))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) and not first[name].requires_grad for name in first)


def test_cache_key_tells_bases_apart(tiny_base: Callable[[str], Path]) -> None:
    for name in registry.FAMILIES:
        family = registry.create(name)
        keys = [family.cache_key(find_base(str(tiny_base(kind)))) for kind in KINDS[name]]
        # Where nothing is kept, there is nothing to mix up.
        assert len(set(keys)) == (len(KINDS[name]) if keys[0] else 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_exactly_the_adapter_gets_a_gradient(loaded: tuple[Any, Any], variant: str) -> None:
    family, parts = loaded
    adapter = attach(parts.model, family.targets(parts), AdapterConfig(variant=variant, rank=2), seed=0)
    family.loss(parts, batch_of(family, parts, [item(family)]), Randomness(0, 0, ("a",))).backward()
    trained = {id(p) for p in adapter.parameters().values()}
    for module in parts.model.values():
        for name, parameter in module.named_parameters():
            assert (parameter.grad is not None) == (id(parameter) in trained), name
    # B is zero, so at the first step only B can move; A follows.
    ups = [p for name, p in adapter.parameters().items() if name.endswith(".up")]
    assert all(float(p.grad.abs().max()) > 0 for p in ups)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_new_adapter_changes_nothing(loaded: tuple[Any, Any], variant: str) -> None:
    family, parts = loaded
    rows, draw = batch_of(family, parts, [item(family)]), Randomness(0, 0, ("a",))
    with torch.no_grad():
        before = family.loss(parts, rows, draw)
        attach(parts.model, family.targets(parts), AdapterConfig(variant=variant, rank=2), seed=0)
        assert torch.equal(family.loss(parts, rows, draw), before)


def test_loss_of_a_batch_is_the_mean_of_its_rows(loaded: tuple[Any, Any]) -> None:
    """Each as heavy as it says. Draws depend on the sample, not on its neighbours: so a run may be split over
    processes."""
    family, parts = loaded
    items = [item(family, "a", "one"), item(family, "b", "two two")]
    weights = torch.tensor([family.weight(family.encode(parts, one)) for one in items])
    with torch.no_grad():
        both = family.loss(parts, batch_of(family, parts, items), Randomness(3, 7, ("a", "b")))
        single = [family.loss(parts, batch_of(family, parts, [one]), Randomness(3, 7, (one.id,))) for one in items]
    mean = (torch.stack(single) * weights).sum() / weights.sum()
    torch.testing.assert_close(both, mean, rtol=1e-4, atol=1e-5)


def test_loss_differs_between_steps_where_it_has_noise(loaded: tuple[Any, Any]) -> None:
    family, parts = loaded
    rows = batch_of(family, parts, [item(family)])
    with torch.no_grad():
        found = {float(family.loss(parts, rows, Randomness(0, step, ("a",)))) for step in (0, 1, 2)}
        again = float(family.loss(parts, rows, Randomness(0, 1, ("a",))))
    assert len(found) == (3 if family.draws > 1 else 1) and again in found


def test_preview_repeats_and_copies_agree(loaded: tuple[Any, Any]) -> None:
    family, parts = loaded
    request = PreviewRequest("a disc", seed=3, steps=2, width=64, height=64, max_tokens=12, temperature=1.0)
    result = family.preview(parts, request)
    assert len(result.answers if family.answers else result.images) == len(shown(result)) == 1
    assert all(image.size == (64, 64) for image in result.images)
    assert shown(family.preview(parts, request)) == shown(result)
    copies = family.preview(parts, dataclasses.replace(request, copies=3))
    assert len(shown(copies)) == 3
    other = family.preview(parts, dataclasses.replace(request, seed=4))
    assert shown(other) != shown(result)


def test_a_stream_ends_with_the_preview(loaded: tuple[Any, Any]) -> None:
    family, parts = loaded
    request = PreviewRequest("a disc", steps=2, width=64, height=64, max_tokens=5)
    *_, last = family.stream(parts, request)
    assert shown(last) == shown(family.preview(parts, request))


def test_trained_and_reattached_adapters_agree(loaded: tuple[Any, Any]) -> None:
    """Weights read out of training and attached anew compute the same: nothing is lost on the way to a file."""
    family, parts = loaded
    adapter = attach(parts.model, family.targets(parts), AdapterConfig(variant="rslora", rank=4, alpha=3.0), seed=0)
    for parameter in adapter.parameters().values():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    rows, draw = batch_of(family, parts, [item(family)]), Randomness(0, 0, ("a",))
    groups = match(adapter.weights(), family.groups(parts))
    again = attach_weights(parts.model, adapter.weights(), groups, "again")
    with torch.no_grad():
        with strengths([adapter, again], {"in_training": 1.0}):
            trained = family.loss(parts, rows, draw)
        with strengths([adapter, again], {"again": 1.0}):
            torch.testing.assert_close(family.loss(parts, rows, draw), trained)
        with strengths([adapter, again], {}):
            assert not torch.allclose(family.loss(parts, rows, draw), trained)


def test_targets_name_layers_and_groups(loaded: tuple[Any, Any]) -> None:
    family, parts = loaded
    found = match_all(parts.model, family.targets(parts))
    assert found and set(found) <= set(adaptable(parts.model))
    assert set(found.values()) <= {target.group for target in family.groups(parts)}


def test_a_pattern_that_matches_nothing_is_an_error(loaded: tuple[Any, Any]) -> None:
    family, parts = loaded
    with pytest.raises(ProblemsError) as caught:
        match_all(parts.model, [family.targets(parts)[0], Target(r".*nose", "a"), Target(r"x", "b")])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_optional_targets_train(loaded: tuple[Any, Any], number: int) -> None:
    family, parts = loaded
    options, group = WIDER[family.name][number]
    family = registry.create(family.name, dataclasses.replace(family.options, **options))
    adapter = attach(parts.model, family.targets(parts), AdapterConfig(rank=2), seed=0)
    family.loss(parts, batch_of(family, parts, [item(family)]), Randomness(0, 0, ("a",))).backward()
    layers = [path for path, name in adapter.groups.items() if name == group]
    assert layers
    # The last layer of a text encoder is not read by XL, so not every one must move, but most do.
    moved = [adapter.layers[path].lora_B[adapter.name].weight.grad is not None for path in layers]
    assert sum(moved) >= len(moved) / 2
