"""The family `mmdit_layout`: what learns, what boxes may change in a picture, and what leaves as a file."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from PIL import Image

from pipelines.__main__ import main
from pipelines.adapters.attach import attach
from pipelines.bases import find_base, native_resolution
from pipelines.config import AdapterConfig, RunConfig
from pipelines.data.encode import encode_dataset
from pipelines.data.regions import Region
from pipelines.errors import ProblemsError
from pipelines.events import Finished, Previewed, Saved, Step
from pipelines.export import export
from pipelines.fit import fit
from pipelines.memory import estimate
from pipelines.mmdit_layout import SCOPES, LayoutOptions
from pipelines.nets.layout_mmdit import Layout, LayoutMMDiT
from pipelines.preview import PreviewSession
from pipelines.train import ADAPTER_FILE, train
from tests.layout_parts import (
    BOXES,
    REQUEST,
    Base,
    batch_of,
    configured,
    difference,
    loaded,
    session,
    stock_pipeline,
)
from tests.test_train import digest, losses
from tests.tiny import tiny_mmdit


@pytest.fixture(scope="module")
def trained(tiny_base: Base, layouts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the widest scope whose adapter visibly changes the picture."""
    run = tmp_path_factory.mktemp("run")
    config = configured(
        tiny_base("layout"), layouts, "branch", steps=10, learning_rate=0.1, schedule="constant", ema=0.0
    )
    assert isinstance(list(train(config, run))[-1], Finished)
    (run / "run.json").write_text(config.to_json())
    return run


@pytest.mark.parametrize("scope", SCOPES)
def test_exactly_what_is_asked_for_learns(tiny_base: Base, scope: str) -> None:
    family, parts = loaded(tiny_base("layout"), scope=scope)
    frozen = {name: value.clone() for name, value in parts.model["transformer"].state_dict().items()}
    adapter = attach(parts.model, family.targets(parts), AdapterConfig(rank=2), seed=0, extra=parts.extra)
    start = {name: p.detach().clone() for name, p in adapter.parameters().items()}
    optimizer = torch.optim.AdamW(adapter.parameters().values(), lr=1e-2, weight_decay=0.0)
    batch, draw = batch_of(family, parts, BOXES, BOXES[:1], ())
    for step in range(3):
        optimizer.zero_grad()
        family.loss(parts, batch, replace(draw, step=step)).backward()
        optimizer.step()
    moved = {name for name, p in adapter.parameters().items() if not torch.equal(p, start[name])}
    # The last block's answer to the boxes is read by nobody.
    unread = {name for name in start if scope == "whole" and ".2.attn_layout.add_q_proj" in name}
    assert moved == start.keys() - unread
    after = parts.model["transformer"].state_dict()
    own = {name.removeprefix("transformer.") for name in adapter.whole}
    assert all(torch.equal(after[_wrapped(name, after)], value) for name, value in frozen.items() if name not in own)
    assert own == ({name for name in frozen if "layout" in name} if scope == "whole" else set())
    expected = {
        "layout_mlp": {"boxes"},
        "text_mlp": {"boxes", "region captions"},
        "branch": {target.group for target in family.groups(parts)},
        "whole": set(),
    }
    assert set(adapter.groups.values()) == expected[scope]
    if scope == "layout_mlp":
        assert set(adapter.layers) == {f"transformer.layout_processor.layout_mlp.fc{i}" for i in (1, 2)}


def _wrapped(name: str, state: dict[str, torch.Tensor]) -> str:
    """The name of a base weight where PEFT may have put a layer around it."""
    module, _, leaf = name.rpartition(".")
    return name if name in state else f"{module}.base_layer.{leaf}"


def test_a_base_without_a_trained_branch_is_refused(tiny_base: Base, tmp_path: Path) -> None:
    with pytest.raises(ProblemsError, match="no trained layout branch"):
        loaded(tiny_base("sd3"))
    shutil.copytree(tiny_base("layout"), tmp_path / "fresh")
    fresh = LayoutMMDiT.from_stock(tiny_mmdit(joint_attention_dim=16, pooled_projection_dim=16))
    fresh.save_pretrained(tmp_path / "fresh" / "transformer")
    with pytest.raises(ProblemsError, match="an output that is zero"):
        loaded(tmp_path / "fresh")


def test_what_is_no_base_of_this_family_is_told(tiny_base: Base, tmp_path: Path) -> None:
    (tmp_path / "one.safetensors").write_bytes(b"")
    cases = {"StableDiffusionPipeline": tiny_base("sd1"), "single file": tmp_path / "one.safetensors"}
    broken = tmp_path / "broken"
    shutil.copytree(tiny_base("layout"), broken, ignore=shutil.ignore_patterns("vae"))
    for words, base in {**cases, "cannot be loaded": broken}.items():
        with pytest.raises(ProblemsError, match=words):
            loaded(base)


def test_padding_and_order_of_boxes_change_nothing(tiny_base: Base) -> None:
    family, parts = loaded(tiny_base("layout"), layout_dropout=0.0)
    batch, draw = batch_of(family, parts, BOXES)
    with torch.no_grad():
        expected = family.loss(parts, batch, draw)
        filled = dict(batch)
        for name in ("boxes", "captions"):
            filled[name] = torch.where(batch["present"].unsqueeze(-1), batch[name], torch.tensor(7.0))
        assert torch.equal(family.loss(parts, filled, draw), expected)
        turned = {name: value.flip(1) if name in Layout._fields else value for name, value in batch.items()}
        torch.testing.assert_close(family.loss(parts, turned, draw), expected)
        moved = {**batch, "boxes": batch["boxes"].flip(-1)}
        assert not torch.allclose(family.loss(parts, moved, draw), expected, rtol=1e-4)


def test_dropout_takes_captions_and_boxes_away(tiny_base: Base) -> None:
    """All dropped: the loss of a sample that never had any."""
    family, parts = loaded(tiny_base("layout"), caption_dropout=1.0, layout_dropout=1.0)
    batch, draw = batch_of(family, parts, BOXES)
    bare, _ = batch_of(family, parts, ())
    text, pooled = parts.rest["captions"]([""])
    with torch.no_grad():
        dropped = family.loss(parts, batch, draw)
        plain, parts = loaded(tiny_base("layout"), caption_dropout=0.0, layout_dropout=0.0)
        assert torch.equal(plain.loss(parts, {**bare, "text": text, "pooled": pooled}, draw), dropped)
        assert not torch.equal(plain.loss(parts, batch, draw), dropped)


def test_of_more_boxes_than_fit_the_largest_count(tiny_base: Base) -> None:
    family, parts = loaded(tiny_base("layout"))
    many = tuple(Region((0.0, 0.0, 0.05 * (i + 1), 1.0), "a disc") for i in range(14))
    batch, _ = batch_of(family, parts, many)
    assert batch["present"].all()
    assert sorted(batch["boxes"][0, :, 2].tolist()) == pytest.approx([0.05 * (i + 1) for i in range(4, 14)])
    with pytest.raises(ProblemsError, match="reads at most 10"):
        family.preview(parts, replace(REQUEST, regions=many))


def test_layout_off_is_the_stock_pipeline(tiny_base: Base) -> None:
    """Text encoders, shift, guidance and decoding as StableDiffusion3Pipeline does it."""
    base = tiny_base("layout3")
    stock = stock_pipeline(base)
    stock.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(REQUEST.seed))
    theirs = stock(
        REQUEST.prompt,
        negative_prompt=REQUEST.negative_prompt,
        num_inference_steps=REQUEST.steps,
        guidance_scale=REQUEST.guidance,
        latents=noise,
    ).images[0]
    family, parts = loaded(base)
    for off in ({"layout_scale": 0.0}, {"layout_until": 0.0}):
        assert difference(family.preview(parts, replace(REQUEST, **off)).images[0], theirs) <= 1
    assert difference(family.preview(parts, REQUEST).images[0], theirs) > 5


def test_no_boxes_are_not_layout_off(tiny_base: Base) -> None:
    family, parts = loaded(tiny_base("layout"))
    cases = {
        "boxes": REQUEST,
        "none": replace(REQUEST, regions=()),
        "off": replace(REQUEST, layout_scale=0.0),
        "half": replace(REQUEST, layout_scale=0.5),
        "first steps": replace(REQUEST, layout_until=50.0),
        "unguided": replace(REQUEST, guidance=1.0),
    }
    pictures = {name: family.preview(parts, request).images[0].tobytes() for name, request in cases.items()}
    assert len(set(pictures.values())) == len(cases)
    never = replace(REQUEST, layout_until=0.0)
    assert family.preview(parts, never).images[0].tobytes() == pictures["off"]


def test_size_of_a_picture(tiny_base: Base) -> None:
    base = tiny_base("layout")
    family, parts = loaded(base)
    assert family.multiple(find_base(str(base))) == parts.rest["multiple"] == 16
    assert native_resolution(str(base)) == 64
    wide = family.preview(parts, replace(REQUEST, width=100, height=64, steps=1)).images[0]
    assert wide.size == (96, 64)
    with pytest.raises(ProblemsError, match="at most 192 px"):
        family.preview(parts, replace(REQUEST, width=256))


@pytest.mark.parametrize(("scope", "kind"), [("layout_mlp", "layout"), ("whole", "sd3")])
def test_resume_is_bit_exact(tiny_base: Base, layouts: Path, tmp_path: Path, scope: str, kind: str) -> None:
    config = configured(tiny_base(kind), layouts, scope, accumulation=2, ema=0.9)
    config = replace(config, data=replace(config.data, flip=True))
    whole = list(train(config, tmp_path / "whole"))
    for event in train(config, tmp_path / "killed"):
        if isinstance(event, Saved) and event.step == 3:
            break
    second = list(train(config, tmp_path / "killed"))
    assert losses(whole)[3:] == losses(second)
    assert digest(tmp_path / "whole") == digest(tmp_path / "killed")


def test_a_run_learns_from_the_boxes_of_its_data(tiny_base: Base, layouts: Path, tmp_path: Path) -> None:
    config = configured(tiny_base("layout"), layouts, preview_every=6)
    events = list(train(config, tmp_path / "run"))
    shown = [event for event in events if isinstance(event, Previewed)]
    assert [event.prompt for event in shown] == ["a disc 0"] and (tmp_path / "run" / shown[0].paths[0]).is_file()
    bare = tmp_path / "bare"
    shutil.copytree(layouts, bare)
    lines = [json.loads(line) for line in (bare / "metadata.jsonl").read_text().splitlines()]
    (bare / "metadata.jsonl").write_text("".join(json.dumps({**line, "regions": []}) + "\n" for line in lines))
    without = list(train(configured(tiny_base("layout"), bare), tmp_path / "without"))
    assert losses(events) != losses(without)
    assert sum(isinstance(event, Step) for event in without) == 6


def test_boxes_are_encoded_where_the_crop_and_the_mirror_put_them(
    tiny_base: Base, layouts: Path, tmp_path: Path
) -> None:
    config = configured(tiny_base("layout"), layouts)
    config = replace(config, data=replace(config.data, flip=True))
    family, parts = loaded(tiny_base("layout"))
    encoded = encode_dataset(family, parts, find_base(config.base), config, (tmp_path, tmp_path / "cache"))
    first = encoded.train[0]
    assert first.mirrored is not None and first.regions[0].box[0] == pytest.approx(8 / 72)
    plain, mirrored = first.tensors["boxes"][0], first.mirrored["boxes"][0]
    assert mirrored[[0, 2]].tolist() == pytest.approx((1 - plain[[2, 0]]).tolist())
    assert mirrored[[1, 3]].tolist() == plain[[1, 3]].tolist()


def test_text_encoders_leave_before_training(tiny_base: Base) -> None:
    family, parts = loaded(tiny_base("layout"))
    batch, draw = batch_of(family, parts, BOXES)
    reader = parts.rest["captions"]
    assert reader.in_memory
    family.release(parts)
    family.loss(parts, batch, draw)
    assert not reader.in_memory
    family.preview(parts, replace(REQUEST, steps=1))
    assert reader.in_memory


def test_at_zero_the_base_to_the_bit(tiny_base: Base, trained: Path) -> None:
    found = session(tiny_base("layout"), scope="branch")
    assert found.at_zero(trained / ADAPTER_FILE, REQUEST).different == 0
    ladder = found.ladder(trained / ADAPTER_FILE, REQUEST, (0.0, 1e-4, 0.5, 1.0))
    assert ladder.images[0].tobytes() == ladder.base.tobytes()
    assert difference(ladder.images[1], ladder.base) <= 1
    assert difference(ladder.images[3], ladder.base) > 5
    alone = found.render({trained / ADAPTER_FILE: 0.5}, REQUEST)
    assert difference(alone, ladder.images[2]) <= 1


def test_pictures_are_kept_by_their_layout(tiny_base: Base, tmp_path: Path) -> None:
    base = str(tiny_base("layout"))
    found = PreviewSession("mmdit_layout", base, precision="fp32", device="cpu", cache_dir=tmp_path)
    requests = [REQUEST, replace(REQUEST, layout_until=50.0), replace(REQUEST, regions=BOXES[:1])]
    pictures = [found.render({}, request).tobytes() for request in requests]
    assert len(set(pictures)) == 3
    again = PreviewSession("mmdit_layout", base, precision="fp32", device="cpu", cache_dir=tmp_path)
    assert [again.render({}, request).tobytes() for request in requests] == pictures
    assert not again.loaded


def test_bad_layouts_of_a_preview_are_told_at_once() -> None:
    bad = replace(REQUEST, layout_scale=9.0, layout_until=-1.0, regions=(Region((0.5, 0, 0.2, 1), "x"),))
    with pytest.raises(ProblemsError) as caught:
        bad.validate()
    assert len(caught.value.problems) == 3
    for wrong in ("boxes", [BOXES[0]], ({"box": [0, 0, 1, 1]},), None):
        with pytest.raises(ProblemsError, match="tuple of Region"):
            replace(REQUEST, regions=wrong).validate()  # type: ignore[arg-type]


def velocity(net: Any, parts: Any) -> torch.Tensor:
    """What a net answers to fixed inputs."""
    generator = torch.Generator().manual_seed(0)
    latents, text, pooled = (torch.randn(shape, generator=generator) for shape in ((1, 4, 8, 8), (1, 16, 16), (1, 16)))
    boxes = torch.tensor([[region.box for region in BOXES]])
    layout = Layout(boxes, torch.randn(1, 2, 16, generator=generator), torch.ones(1, 2, dtype=torch.bool))
    with torch.no_grad():
        answer: torch.Tensor = net(latents, text, pooled, torch.tensor([500.0]), layout).sample
    return answer


def test_exports_are_proved_and_stock_libraries_read_them(tiny_base: Base, trained: Path, tmp_path: Path) -> None:
    base = tiny_base("layout")
    with session(base, scope="branch").at({trained / ADAPTER_FILE: 1.0}) as parts:
        expected = velocity(parts.model["transformer"], parts)
    for form, output in (("diffusers", "lora.safetensors"), ("peft", "peft"), ("merged", "merged")):
        proof = export(trained, form, tmp_path / output)
        assert proof.unmatched == 0 and proof.max_error <= 1e-6 * max(1.0, proof.max_delta)

    def fresh(folder: Path = base) -> LayoutMMDiT:
        return LayoutMMDiT.from_pretrained(folder / "transformer").eval()

    plain = velocity(fresh(), parts)
    assert not torch.allclose(plain, expected, rtol=1e-2)
    stock = fresh()
    stock.load_lora_adapter(tmp_path / "lora.safetensors", prefix="transformer")
    wrapped = peft.PeftModel.from_pretrained(fresh(), str(tmp_path / "peft"))
    for net in (stock, wrapped, fresh(tmp_path / "merged")):
        torch.testing.assert_close(velocity(net, parts), expected, rtol=1e-4, atol=1e-5)
    assert (
        difference(
            session(tmp_path / "merged").render({}, REQUEST),
            session(base, scope="branch").render({trained / ADAPTER_FILE: 1.0}, REQUEST),
        )
        <= 1
    )


def test_a_layout_adapter_on_a_base_without_boxes_is_refused(tiny_base: Base, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ProblemsError, match="no trained layout branch"):
        export(trained, "diffusers", tmp_path / "out.safetensors", base=str(tiny_base("sd3")))
    with pytest.raises(ProblemsError):
        fit(trained / ADAPTER_FILE, RunConfig("stable_diffusion", str(tiny_base("sd1"))))


def test_memory_is_counted_without_the_weights(tiny_base: Base, layouts: Path) -> None:
    few, many, whole = (
        estimate(configured(tiny_base("layout"), layouts, scope)) for scope in ("layout_mlp", "branch", "whole")
    )
    assert 0 < few.parameters < many.parameters < whole.parameters
    assert 0 < few.step_flops < whole.step_flops and few.activations > 0
    assert whole.weights == few.weights - 4 * whole.parameters
    assert estimate(configured(tiny_base("sd3"), layouts, "whole")).parameters > 0


def test_the_command_line_previews_a_layout(
    tiny_base: Base, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps([region.to_dict() for region in BOXES]))
    look = ["--prompt", REQUEST.prompt, "--negative-prompt", "paper", "--strengths", "1", "--steps", "4", "--seed", "3"]
    look += ["--guidance", "4", "--precision", "fp32", "--layout", str(tmp_path / "boxes.json"), "--layout-until", "50"]
    assert main(["preview", str(trained), *look, "--output", str(tmp_path)]) == 0
    found = session(tiny_base("layout"), scope="branch")
    expected = found.render({trained / ADAPTER_FILE: 1.0}, replace(REQUEST, layout_until=50.0))
    assert difference(Image.open(tmp_path / "strength-1.png"), expected) <= 1
    (tmp_path / "boxes.json").write_text('[{"box": [0.5, 0, 0.2, 1], "caption": "x"}, 3]')
    capsys.readouterr()
    assert main(["preview", str(trained), *look, "--output", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    (tmp_path / "boxes.json").write_text("{")
    assert main(["preview", str(trained), *look, "--output", str(tmp_path)]) == 2
    assert "is not JSON" in capsys.readouterr().err


def test_options_are_checked() -> None:
    config = RunConfig("mmdit_layout", options=LayoutOptions(scope="everything", layout_dropout=2.0))
    told = " ".join(config.problems())
    assert "options.scope" in told and "options.layout_dropout" in told
    assert dataclasses.replace(config, options=LayoutOptions(), data=replace(config.data, path="x")).problems() == []
