"""The scope `whole` of the layout family: a branch trained itself, on a base that has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_web.library import Library
from lora_web.previews import Previews
from lora_web.site import Site
from lora_web.workspace import Workspace
from pipelines.adapters.contents import inspect
from pipelines.checkpoints import adapters
from pipelines.errors import ProblemsError
from pipelines.events import Finished
from pipelines.export import export
from pipelines.train import ADAPTER_FILE, train
from tests.layout_parts import REQUEST, Base, configured, difference, loaded, session


@pytest.fixture(scope="module")
def branch(tiny_base: Base, layouts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that gave the stock SD3 base a layout branch."""
    run = tmp_path_factory.mktemp("branch")
    config = configured(
        tiny_base("sd3"), layouts, "whole", steps=12, learning_rate=0.03, schedule="constant", ema=0.9, warmup=0
    )
    assert isinstance(list(train(config, run))[-1], Finished)
    (run / "run.json").write_text(config.to_json())
    return run


def test_holds_the_branch_and_nothing_else(branch: Path, tiny_base: Base) -> None:
    _, parts = loaded(tiny_base("sd3"), scope="whole")
    names = {f"transformer.{name}" for name in parts.model["transformer"].state_dict() if "layout" in name}
    tensors = load_file(branch / ADAPTER_FILE)
    assert tensors.keys() == names
    assert float(tensors["transformer.transformer_blocks.0.layout_out.weight"].abs().max()) > 0
    facts = inspect(branch / ADAPTER_FILE)
    assert facts["variant"] == "whole" and facts["form"] == "diffusers"
    assert facts["modules"] == len(names) and facts["components"] == {"transformer": len(names)}


def test_strength_goes_from_the_stock_base_to_the_trained_branch(branch: Path, tiny_base: Base) -> None:
    found, path = session(tiny_base("sd3"), scope="whole"), branch / ADAPTER_FILE
    assert found.at_zero(path, REQUEST).different == 0
    off = found.render({}, replace(REQUEST, layout_scale=0.0))
    assert found.render({}, REQUEST).tobytes() == off.tobytes()
    ladder = found.ladder(path, REQUEST, (0.0, 1e-4, 0.5, 1.0))
    assert difference(ladder.images[1], ladder.base) <= 1
    assert difference(ladder.images[3], ladder.base) > 5
    assert difference(found.render({path: 0.5}, REQUEST), ladder.images[2]) <= 1
    start = {name: p.detach().clone() for name, p in found.parts.model["transformer"].named_parameters()}
    trained = load_file(path)
    for strength in (1.0, 0.5, -0.25):
        with found.at({path: strength}) as parts:
            for name, parameter in parts.model["transformer"].named_parameters():
                value = trained.get(f"transformer.{name}", start[name])
                expected = value if strength == 1 else start[name] + strength * (value - start[name])
                assert torch.equal(parameter, value) if strength == 1 else torch.allclose(parameter, expected)
    assert all(torch.equal(p, start[name]) for name, p in found.parts.model["transformer"].named_parameters())


def test_a_group_has_its_own_strength(branch: Path, tiny_base: Base) -> None:
    found, path = session(tiny_base("sd3"), scope="whole"), branch / ADAPTER_FILE
    assert found.groups(path) == sorted({target.group for target in found.family.groups(found.parts)})
    closed = found.render({path: {"": 1.0, "layout output": 0.0}}, REQUEST)
    assert closed.tobytes() == found.render({}, REQUEST).tobytes()
    ladder = found.ladder(path, REQUEST, (0.0, 1.0), group="layout output")
    assert difference(ladder.images[0], closed) <= 1 < difference(ladder.images[1], closed)


def test_leaves_as_a_file_or_a_base(branch: Path, tiny_base: Base, tmp_path: Path) -> None:
    ours = session(tiny_base("sd3"), scope="whole").render({branch / ADAPTER_FILE: 1.0}, REQUEST)
    proof = export(branch, "diffusers", tmp_path / "branch.safetensors")
    assert proof.max_error == 0 and proof.unmatched == 0
    again = session(tiny_base("sd3"), scope="whole").render({tmp_path / "branch.safetensors": 1.0}, REQUEST)
    assert again.tobytes() == ours.tobytes()
    for form, words in (("kohya", "the kohya form holds only LoRA"), ("peft", "the PEFT form holds only LoRA")):
        with pytest.raises(ProblemsError, match=words):
            export(branch, form, tmp_path / form)
    export(branch, "merged", tmp_path / "merged")
    # The merged base has a trained branch: the smaller scopes work on it.
    assert session(tmp_path / "merged").render({}, REQUEST).tobytes() == ours.tobytes()


def test_comes_back_into_the_library(branch: Path, tiny_base: Base, tmp_path: Path) -> None:
    """It fits its base with the options it was trained with only, and is tried with them."""
    site = Site(Workspace(tmp_path / "workspace"))
    library, visitor = Library(site), site.workspace.visitor(None)
    export(branch, "diffusers", tmp_path / "branch.safetensors")
    name = library.take_in(visitor, tmp_path / "branch.safetensors", str(tiny_base("sd3")))
    entry = library.entry(visitor, name)
    assert (entry.family, entry.options.scope) == ("mmdit_layout", "whole")
    assert {row["rank"] for row in library.layers(visitor, name)} == {0}
    tried = Previews(tmp_path / "cache").session(entry)
    assert difference(tried.render({entry.path: 1.0}, REQUEST), tried.render({}, REQUEST)) > 5
    with pytest.raises(ProblemsError):
        library.take_in(visitor, tmp_path / "branch.safetensors", str(tiny_base("sd1")))


def test_checkpoints_are_adapters(branch: Path, tiny_base: Base) -> None:
    step, path = list(adapters(branch))[-1]
    assert step == 12
    kept, saved = load_file(path), load_file(branch / ADAPTER_FILE)
    assert kept.keys() == saved.keys() and all(torch.equal(kept[name], saved[name]) for name in saved)


def test_what_does_not_fit_is_told(branch: Path, tiny_base: Base, tmp_path: Path) -> None:
    tensors = load_file(branch / ADAPTER_FILE)
    names = sorted(tensors)
    tensors[names[0]] = tensors[names[0]][:-1].clone()
    tensors[names[1]] = torch.full_like(tensors[names[1]], float("nan"))
    tensors["transformer.pos_embed.proj.weight"] = torch.zeros(3)
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(ProblemsError) as caught:
        session(tiny_base("sd3"), scope="whole").render({tmp_path / "bad.safetensors": 1.0}, REQUEST)
    assert len(caught.value.problems) == 3
    with pytest.raises(ProblemsError, match="not a LoRA tensor"):
        session(tiny_base("layout")).render({branch / ADAPTER_FILE: 1.0}, REQUEST)
