"""The parts of an MM-DiT base: T5 whole or in few bits, and the transformer that CreatiLayout published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import T5EncoderModel, T5TokenizerFast

from pipelines.bases import find_base
from pipelines.errors import ProblemsError
from pipelines.nets.layout_mmdit import CREATILAYOUT, LayoutMMDiT
from tests.layout_parts import Base, loaded, stock_pipeline
from tests.tiny import tiny_t5


def test_a_transformer_as_creatilayout_published_it(tiny_base: Base, tmp_path: Path) -> None:
    """In the place of the transformer of an SD3 folder: its names, its config, several files."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base("layout3"), base)
    expected = LayoutMMDiT.from_pretrained(base / "transformer")
    config = json.loads((base / "transformer" / "config.json").read_text())
    config |= {"_class_name": "SiamLayoutSD3Transformer2DModel", "attention_type": "layout"}
    config["max_boxes_per_image"] = config.pop("max_boxes")
    shutil.rmtree(base / "transformer")
    (base / "transformer").mkdir()
    (base / "transformer" / "config.json").write_text(json.dumps(config))
    state = {}
    for name, value in expected.state_dict().items():
        for theirs, ours in CREATILAYOUT.items():
            name = name.replace(ours, theirs)
        state[name] = value.contiguous()
    for number in range(2):
        part = dict(list(state.items())[number::2])
        save_file(part, base / "transformer" / f"diffusion_pytorch_model-0000{number + 1}-of-00002.safetensors")
    net = loaded(base)[1].model["transformer"]
    assert net.state_dict().keys() == expected.state_dict().keys() and net.config.max_boxes == expected.config.max_boxes
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in net.state_dict().items())
    (base / "transformer" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ProblemsError, match="cannot be loaded"):
        loaded(base)


@pytest.fixture(scope="module")
def with_t5(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that has a T5 as well."""
    base = tmp_path_factory.mktemp("t5") / "base"
    shutil.copytree(tiny_base("layout3"), base)
    torch.manual_seed(0)
    model, tokenizer = tiny_t5(36)
    model.save_pretrained(base / "text_encoder_3")
    tokenizer.save_pretrained(base / "tokenizer_3")
    index = json.loads((base / "model_index.json").read_text())
    index |= {"text_encoder_3": ["transformers", "T5EncoderModel"], "tokenizer_3": ["transformers", "T5TokenizerFast"]}
    (base / "model_index.json").write_text(json.dumps(index))
    return base


def test_t5_is_read_where_it_is_wanted(with_t5: Path) -> None:
    (without, _), (wanted, parts) = loaded(with_t5), loaded(with_t5, t5="full")
    base, model = with_t5, T5EncoderModel.from_pretrained(with_t5 / "text_encoder_3")
    tokenizer = T5TokenizerFast.from_pretrained(with_t5 / "tokenizer_3")
    assert without.cache_key(find_base(str(base))) != wanted.cache_key(find_base(str(base)))
    text, pooled = parts.rest["captions"](["a disc", ""])
    stock = stock_pipeline(base, model.eval(), tokenizer)
    expected = stock.encode_prompt(["a disc", ""], None, None, do_classifier_free_guidance=False)
    torch.testing.assert_close(text, expected[0])
    torch.testing.assert_close(pooled, expected[2])
    plain, _ = loaded(base)[1].rest["captions"](["a disc", ""])
    assert torch.equal(plain[:, :16], text[:, :16]) and not plain[:, 16:].any() and text[:, 16:].any()


@pytest.mark.parametrize("form", ["8bit", "4bit"])
def test_a_t5_in_few_bits_says_nearly_the_same(with_t5: Path, form: str) -> None:
    """Quantized by bitsandbytes, on the CPU too."""
    reader, other = (loaded(with_t5, t5=each)[1].rest["captions"] for each in ("full", form))
    (whole, pooled), (small, same) = reader(["a disc"]), other(["a disc"])
    assert torch.equal(pooled, same) and torch.equal(whole[:, :16], small[:, :16])
    whole, small = whole[:, 16:], small[:, 16:]
    assert 0 < (whole - small).norm() < 0.2 * whole.norm()
    model = other._loaded["text_encoder_3"][1]
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.ndim == 2}
    assert kinds & {torch.int8, torch.uint8}


def test_few_bits_need_their_library(with_t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProblemsError, match=r"options.t5 is 4bit.*pip install bitsandbytes"):
        loaded(with_t5, t5="4bit")
