"""Teachers of VoRA: any vision transformer, told apart from what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from pipelines.bases import find_base
from pipelines.errors import ProblemsError
from pipelines.files import write_text
from pipelines.vision_parts import Teacher, find_teacher, teacher_shape

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def _clip() -> Any:
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    return transformers.CLIPModel(transformers.CLIPConfig(vision_config=SMALL, text_config=text, projection_dim=8))


def _kin(name: str) -> Callable[[], Any]:
    config, model = (getattr(transformers, f"{name}{what}") for what in ("Config", "Model"))
    return lambda: model(config(**SMALL))


READ: dict[str, Callable[[], Any]] = {
    "vit": _kin("ViT"),
    "deit": _kin("DeiT"),
    "dinov2": _kin("Dinov2"),
    "registers": _kin("Dinov2WithRegisters"),
    "aimv2": _kin("Aimv2Vision"),
    "siglip": _kin("SiglipVision"),
    "clip": _clip,
}
REFUSED: dict[str, Callable[[], Any]] = {
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ),
    "swin": lambda: transformers.SwinModel(
        transformers.SwinConfig(
            image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2
        )
    ),
    "llama": lambda: transformers.LlamaModel(
        transformers.LlamaConfig(
            vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
        )
    ),
}


def saved(folder: Path, make: Callable[[], Any]) -> Path:
    torch.manual_seed(0)
    make().eval().save_pretrained(folder)
    return folder


def pixels(side: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("kind", READ)
def test_tells_what_every_block_makes_of_every_patch(kind: str, tmp_path: Path) -> None:
    base = find_base(str(saved(tmp_path / kind, READ[kind])))
    shape = teacher_shape(base)
    assert (shape.blocks, shape.width, shape.size, shape.patch) == (3, 16, 32, 8)
    teacher = Teacher(base, (32, 8), torch.device("cpu"), torch.float32)
    states = teacher.states(pixels())
    assert states.shape == (2, 3, 16, 16) and torch.equal(states, teacher.states(pixels()))
    # The same as by hand, without what stands before the patches.
    with torch.no_grad():
        by_hand = teacher.model(pixel_values=pixels(), output_hidden_states=True).hidden_states
    assert torch.equal(states[:, 1], by_hand[2][:, -16:])
    # Another grid than it was trained on.
    assert Teacher(base, (24, 8), torch.device("cpu"), torch.float32).states(pixels(24)).shape == (2, 3, 9, 16)
    # Coarser than its own patches: it still sees as much of the picture as we do.
    coarse = Teacher(base, (32, 16), torch.device("cpu"), torch.float32)
    assert coarse.size == 32 and coarse.states(pixels()).shape == (2, 3, 4, 16)


def test_pictures_are_normalized_as_the_teacher_wants(tmp_path: Path) -> None:
    base = find_base(str(saved(tmp_path, READ["vit"])))
    plain = Teacher(base, (32, 8), torch.device("cpu"), torch.float32)
    write_text(tmp_path / "preprocessor_config.json", '{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.5]}')
    other = Teacher(base, (32, 8), torch.device("cpu"), torch.float32)
    assert other.mean == (0.4, 0.5, 0.6)
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in (other.mean, other.deviation))
    torch.testing.assert_close(other.states(pixels()), plain.states(((pixels() + 1) / 2 - mean) / deviation))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_vision_transformer_is_refused(kind: str, tmp_path: Path) -> None:
    base = find_base(str(saved(tmp_path / kind, REFUSED[kind])))
    with pytest.raises(ProblemsError, match=f"is a {kind}.*choose a ViT"):
        Teacher(base, (32, 8), torch.device("cpu"), torch.float32)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError, match=r"options\.teacher is 'no such'"):
        find_teacher("no such")
    with pytest.raises(ProblemsError, match="cannot be loaded"):
        teacher_shape(find_teacher(str(tmp_path)))
