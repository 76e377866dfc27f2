"""What a person sees: ladders, mixing, groups, the cache, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pipelines import registry
from pipelines.adapters.attach import shapes
from pipelines.adapters.file import write_adapter
from pipelines.adapters.formats import to_kohya
from pipelines.adapters.identity import identity, recommend
from pipelines.adapters.lowrank import Layers, LowRank
from pipelines.bases import find_base
from pipelines.errors import ProblemsError
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession, balanced, png_bytes
from pipelines.sheet import Sheet, strength_columns
from pipelines.stable_diffusion import StableDiffusion

Base = Callable[[str], Path]
REQUEST = PreviewRequest("disc 1", seed=3, steps=2, guidance=6.0)
ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0")


@cache
def base_shapes(base: Path) -> dict[str, tuple[int, ...]]:
    family = registry.create("stable_diffusion")
    return shapes(family.load(find_base(str(base)), torch.device("meta"), torch.float32).model)


def adapter_layers(base: Path, seed: int, only: str = "", rank: int = 2) -> Layers:
    """A random adapter on the attention of a base's UNet, strong enough to be seen; `only` names a part of it."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in base_shapes(base).items():
        if name.startswith("unet.") and name.endswith(ATTENTION):
            down = torch.randn(rank, shape[1], generator=generator)
            up = torch.randn(shape[0], rank, generator=generator)
            if only in name:
                found[name] = LowRank(down, up, 0.3)
    return found


def save(path: Path, layers: Layers) -> Path:
    write_adapter(path, layers, form="diffusers", metadata={})
    return path


def session_for(base: Path, cache_dir: Path | None = None) -> PreviewSession:
    return PreviewSession("stable_diffusion", str(base), precision="fp32", device="cpu", cache_dir=cache_dir)


def difference(a: Image.Image, b: Image.Image) -> int:
    """Largest difference of any channel of any pixel, in 1/255."""
    first, second = (np.asarray(picture, dtype=np.int16) for picture in (a, b))
    assert first.shape == second.shape
    return int(np.abs(first - second).max())


@pytest.fixture(scope="module")
def base(tiny_base: Base) -> Path:
    return tiny_base("sd1")


@pytest.fixture(scope="module")
def session(base: Path) -> PreviewSession:
    return session_for(base)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("adapter") / "a.safetensors", adapter_layers(base, 1))


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_ladder_rows_are_single_pictures(kind: str, tiny_base: Base, tmp_path: Path) -> None:
    """More than the eight rows of one pass, negative ones and both ends among them."""
    base = tiny_base(kind)
    session, path = session_for(base), save(tmp_path / "a.safetensors", adapter_layers(base, 1))
    values = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
    ladder = session.ladder(path, REQUEST, values)
    assert ladder.strengths == values and len(ladder.images) == len(values)
    for strength, row in zip(values, ladder.images, strict=True):
        assert difference(row, session.render({path: strength}, REQUEST)) <= 1, f"strength {strength}"
    assert difference(ladder.images[0], ladder.images[-1]) > 8


def test_strength_zero_has_the_bytes_of_a_base_that_never_saw_an_adapter(
    base: Path, session: PreviewSession, adapter: Path
) -> None:
    clean = png_bytes(session_for(base).render({}, REQUEST))
    session.render({adapter: 1.0}, REQUEST)
    ladder = session.ladder(adapter, REQUEST, (0.0, 1.0))
    assert png_bytes(ladder.images[0]) == clean == png_bytes(ladder.base)
    assert png_bytes(session.render({adapter: 0.0}, REQUEST)) == clean
    groups = dict.fromkeys(session.groups(adapter), 0.0)
    assert len(groups) == 2 and png_bytes(session.render({adapter: groups}, REQUEST)) == clean


def test_one_picture_twice_has_the_same_bytes(session: PreviewSession, adapter: Path) -> None:
    first, second = (png_bytes(session.render({adapter: 0.7}, REQUEST)) for _ in range(2))
    assert first == second
    assert png_bytes(session.render({adapter: 0.7}, replace(REQUEST, seed=9))) != first


def test_continuous_in_strength(session: PreviewSession, adapter: Path) -> None:
    near = session.ladder(adapter, REQUEST, (-1e-4, 1e-4, 1.0, 1.0001)).images
    assert difference(near[0], session.render({}, REQUEST)) <= 1
    assert difference(near[1], session.render({}, REQUEST)) <= 1
    assert difference(near[2], near[3]) <= 1


def test_a_negative_strength_is_the_adapter_turned_round(
    base: Path, session: PreviewSession, adapter: Path, tmp_path: Path
) -> None:
    turned = {name: replace(layer, up=-layer.up) for name, layer in adapter_layers(base, 1).items()}
    path = save(tmp_path / "turned.safetensors", turned)
    assert difference(session.render({adapter: -0.8}, REQUEST), session.render({path: 0.8}, REQUEST)) <= 1


def test_two_adapters_add_up(base: Path, session: PreviewSession, adapter: Path, tmp_path: Path) -> None:
    """Two at once are one adapter whose update is the weighted sum."""
    first, second = adapter_layers(base, 1), adapter_layers(base, 2, rank=3)
    other = save(tmp_path / "b.safetensors", second)

    def summed(a: float, b: float) -> Image.Image:
        layers = {
            name: LowRank(
                torch.cat([first[name].down, second[name].down]),
                torch.cat([a * first[name].up, b * second[name].up], dim=1),
                first[name].scale,
            )
            for name in first
        }
        return session.render({save(tmp_path / f"{a}{b}.safetensors", layers): 1.0}, REQUEST)

    assert difference(session.render({adapter: 0.5, other: -0.75}, REQUEST), summed(0.5, -0.75)) <= 1
    ladder = session.ladder(adapter, REQUEST, (0.0, 1.0), others={other: 0.5})
    assert difference(ladder.images[0], session.render({other: 0.5}, REQUEST)) <= 1
    assert difference(ladder.images[1], summed(1.0, 0.5)) <= 1


def test_a_group_moves_alone(base: Path, session: PreviewSession, adapter: Path, tmp_path: Path) -> None:
    assert session.groups(adapter) == ["cross-attention", "self-attention"]
    half = save(tmp_path / "cross.safetensors", adapter_layers(base, 1, only=".attn2."))
    only_cross = session.render({adapter: {"self-attention": 0.0}}, REQUEST)
    assert difference(only_cross, session.render({half: 1.0}, REQUEST)) <= 1
    assert difference(only_cross, session.render({adapter: 1.0}, REQUEST)) > 1
    ladder = session.ladder(adapter, REQUEST, (0.0, 0.5, 1.0), group="self-attention")
    assert difference(ladder.images[0], only_cross) <= 1
    assert difference(ladder.images[1], session.render({adapter: {"self-attention": 0.5}}, REQUEST)) <= 1
    assert difference(ladder.images[2], session.render({adapter: 1.0}, REQUEST)) <= 1


def test_a_cached_ladder_needs_no_model(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = session_for(base, tmp_path / "cache").ladder(adapter, REQUEST)

    def load(*arguments: object) -> None:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr(StableDiffusion, "load", load)
    again = session_for(base, tmp_path / "cache")
    second = again.ladder(adapter, REQUEST)
    assert [png_bytes(picture) for picture in second.images] == [png_bytes(picture) for picture in first.images]
    for changed in (replace(REQUEST, seed=8), replace(REQUEST, prompt="disc 2"), replace(REQUEST, steps=3)):
        with pytest.raises(AssertionError, match="was loaded"):
            again.ladder(adapter, changed)
    with pytest.raises(AssertionError, match="was loaded"):
        again.ladder(adapter, REQUEST, (0.3,))


def test_a_damaged_cache_is_made_again(base: Path, adapter: Path, tmp_path: Path) -> None:
    session = session_for(base, tmp_path / "cache")
    first = session.ladder(adapter, REQUEST, (0.0, 1.0))
    for path in (tmp_path / "cache").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:40])
    second = session.ladder(adapter, REQUEST, (0.0, 1.0))
    assert [png_bytes(picture) for picture in second.images] == [png_bytes(picture) for picture in first.images]


def test_other_bytes_under_the_same_name_are_another_adapter(base: Path, adapter: Path, tmp_path: Path) -> None:
    session, path = session_for(base, tmp_path / "cache"), tmp_path / "a.safetensors"
    path.write_bytes(adapter.read_bytes())
    first = session.render({path: 1.0}, REQUEST)
    save(path, adapter_layers(base, 5))
    assert difference(session.render({path: 1.0}, REQUEST), first) > 1


def test_many_adapters_take_turns(base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are kept attached; the first comes back as it was."""
    monkeypatch.setattr("pipelines.preview._MAX_ATTACHED", 2)
    session = session_for(base)
    first = png_bytes(session.render({adapter: 1.0}, REQUEST))
    for seed in range(20, 23):
        session.render({save(tmp_path / f"{seed}.safetensors", adapter_layers(base, seed)): 1.0}, REQUEST)
    assert png_bytes(session.render({adapter: 1.0}, REQUEST)) == first


def test_a_file_from_another_tool(base: Path, session: PreviewSession, adapter: Path, tmp_path: Path) -> None:
    """Kohya names, half precision, alpha other than rank, and not a word of metadata."""
    layers = adapter_layers(base, 1)
    tensors = {name: tensor.half() for name, tensor in to_kohya(layers, torch.float32, xl=False).items()}
    for name in list(tensors):
        if name.endswith(".alpha"):
            tensors[name] = tensors[name] * 4
            tensors[name.replace(".alpha", ".lora_up.weight")] /= 4
    save_file(tensors, tmp_path / "other.safetensors")
    found = session.render({tmp_path / "other.safetensors": 1.0}, REQUEST)
    assert difference(found, session.render({adapter: 1.0}, REQUEST)) <= 2


def test_an_xl_adapter_is_refused_with_everything_that_is_wrong(
    session: PreviewSession, adapter: Path, tiny_base: Base, tmp_path: Path
) -> None:
    before = png_bytes(session.render({adapter: 1.0}, REQUEST))
    layers = adapter_layers(tiny_base("sdxl"), 1)
    path = save(tmp_path / "xl.safetensors", layers)
    with pytest.raises(ProblemsError) as caught:
        session.render({path: 1.0}, REQUEST)
    # The tiny bases differ in the width of their text: two layers of each cross-attention.
    wrong = [name for name in layers if name.endswith(("attn2.to_k", "attn2.to_v"))]
    assert all(any(name in problem for problem in caught.value.problems) for name in wrong)
    assert all(problem.startswith("xl.safetensors: ") for problem in caught.value.problems)
    assert png_bytes(session.render({adapter: 1.0}, REQUEST)) == before


def test_bad_requests_are_told_at_once(session: PreviewSession, adapter: Path, tmp_path: Path) -> None:
    bad = PreviewRequest(prompt=3, seed=-1, steps=0, guidance=math.nan, width=10**9)  # type: ignore[arg-type]
    for ask in (lambda: session.render({}, bad), lambda: session.ladder(adapter, bad)):
        with pytest.raises(ProblemsError) as caught:
            ask()
        assert [problem.split()[0] for problem in caught.value.problems] == [
            "prompt",
            "seed",
            "steps",
            "guidance",
            "width",
        ]
    with pytest.raises(ProblemsError) as caught:
        session.ladder(adapter, REQUEST, (0.0, math.nan, 99.0))
    assert len(caught.value.problems) == 2
    with pytest.raises(ProblemsError, match="empty"):
        session.ladder(adapter, REQUEST, ())
    with pytest.raises(ProblemsError, match="cannot be read"):
        session.render({tmp_path / "nothing.safetensors": 1.0}, REQUEST)
    with pytest.raises(ProblemsError, match="nose"):
        session.render({adapter: {"nose": 1.0}}, REQUEST)


def test_odd_sizes_are_cut_to_what_the_base_can_draw(session: PreviewSession) -> None:
    picture = session.render({}, replace(REQUEST, width=75, height=40))
    assert picture.size == (64, 32)
    assert session.render({}, replace(REQUEST, width=3, height=3)).size == (16, 16)


def test_a_group_of_a_balanced_ladder_gets_its_multiple(session: PreviewSession, adapter: Path) -> None:
    """Only that group changes, and strength 0 stays the base."""
    ladder = session.ladder(adapter, REQUEST, (0.0, 0.5, 1.0), balance={"self-attention": 0.5, "cross-attention": 1.0})
    assert png_bytes(ladder.images[0]) == png_bytes(ladder.base)
    for strength, row in zip(ladder.strengths[1:], ladder.images[1:], strict=True):
        alone = session.render({adapter: {"self-attention": strength / 2, "cross-attention": strength}}, REQUEST)
        assert difference(row, alone) <= 1
        balanced_one = session.render({adapter: balanced(strength, {"self-attention": 0.5})}, REQUEST)
        assert png_bytes(balanced_one) == png_bytes(alone)
        assert difference(row, session.render({adapter: strength}, REQUEST)) > 1
    assert balanced(0.5, {"self-attention": 1.0}) == 0.5
    with pytest.raises(ProblemsError, match="nose"):
        session.ladder(adapter, REQUEST, (0.0, 1.0), balance={"nose": 2.0})


def test_strength_zero_is_compared_with_a_base_without_anything_attached(base: Path, adapter: Path) -> None:
    session = session_for(base)
    session.render({adapter: 1.0}, REQUEST)
    found = session.at_zero(adapter, REQUEST)
    assert found.compared == 64 * 64 * 3 and found.different == 0


def test_a_note_in_the_header_is_no_other_adapter(base: Path, adapter: Path, tmp_path: Path) -> None:
    """The recommended strength is stored in the file; its ladders stay in the cache, its tensors keep their bytes."""
    from safetensors import safe_open

    path = tmp_path / "a.safetensors"
    path.write_bytes(adapter.read_bytes())
    session, before = session_for(base, tmp_path / "cache"), identity(path)
    assert not session.has_ladder(path, REQUEST)
    session.ladder(path, REQUEST)
    for strength in (0.75, None, 1.25):
        recommend(path, strength)
        assert identity(path) == before and session.has_ladder(path, REQUEST)
        with safe_open(path, "np") as file, safe_open(adapter, "np") as first:
            metadata = file.metadata()
            assert json.loads(metadata["lora_web"])["recommended_strength"] == strength
            assert metadata.get("modelspec.lora_default_weight") == (strength and f"{strength:g}")
            assert all((file.get_tensor(key) == first.get_tensor(key)).all() for key in first.keys())  # noqa: SIM118
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(ProblemsError, match=r"no\.safetensors is not a safetensors file"):
        recommend(tmp_path / "no.safetensors", 1.0)


def test_a_contact_sheet_says_what_is_on_it(session: PreviewSession, adapter: Path, tmp_path: Path) -> None:
    ladder = session.ladder(adapter, REQUEST, (0.0, 0.5, 1.0))
    columns = strength_columns(ladder.strengths)
    sheet = Sheet("“一只狐狸” seed 3", columns, (("a", ladder.images), ("", ladder.images)), {"prompt": "一只狐狸"})
    (tmp_path / "sheet.png").write_bytes(sheet.png())
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.size == sheet.size() and picture.info["prompt"] == "一只狐狸"
        assert picture.width > 3 * 64 and picture.height > 2 * 64
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # The last picture stands in the corner, inside the margin.
    corner = pixels[-8 - 64 : -8, -8 - 64 : -8]
    assert np.abs(corner - np.asarray(ladder.images[2])).max() == 0
