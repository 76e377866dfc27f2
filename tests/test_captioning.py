"""Describing pictures with a captioning model, here tiny random ones in the real form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_web.captioning import Describer
from lora_web.picture_desk import PictureDesk
from lora_web.workspace import Workspace
from pipelines.captioning import Captioner
from pipelines.data.pictures import open_picture
from pipelines.errors import ProblemsError
from tests.web_parts import wait_for


def make_tiny_captioner(folder: Path) -> Path:
    """A random BLIP that knows single letters."""
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *"abcdefghijklmnopqrstuvwxyz"]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = size | {"vocab_size": len(words), "encoder_hidden_size": 16, "bos_token_id": 5, "eos_token_id": 3}
    text |= {"sep_token_id": 3, "pad_token_id": 0, "max_position_embeddings": 128}
    config = BlipConfig(text_config=text, vision_config=size | {"image_size": 32, "patch_size": 16}, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_captioner(tmp_path_factory.mktemp("models") / "tiny-blip")


def test_pictures_without_caption_are_described_by_another_process(
    captioner: Path, tmp_path: Path, pictures: Path
) -> None:
    visitor = Workspace(tmp_path / "workspace").visitor(None)
    desk = PictureDesk(visitor, visitor.new_dataset())
    desk.add([pictures])
    ids = [picture["id"] for picture in desk.open()["pictures"]]
    desk.save({"edits": [{"id": name, "caption": ""} for name in ids[:3]]})
    describer = Describer(desk)
    assert describer.found(0) == {"active": False, "lines": [], "count": 0}
    describer.start(str(captioner), ids, overwrite=False)
    with pytest.raises(ProblemsError, match="already"):
        describer.start(str(captioner), ids, overwrite=True)
    wait_for(lambda: not describer.found(0)["active"], "the captions")
    lines = describer.found(0)["lines"]
    assert [line["id"] for line in lines[:-1]] == ids[:3]
    assert lines[-1] == {"done": True}
    assert all(line["before"] == "" for line in lines[:-1])
    model = Captioner(str(captioner))
    expected = model.describe(open_picture(pictures / "disc-0.png"))
    assert lines[0]["caption"] == expected and expected
    # Nothing was written over: the page decides what it takes.
    assert [picture["caption"] for picture in desk.open()["pictures"]][:3] == ["", "", ""]


def test_what_cannot_describe_is_a_sentence(captioner: Path, tmp_path: Path) -> None:
    for name in ("", "/etc", "no such folder", str(tmp_path)):
        with pytest.raises(ProblemsError):
            Captioner(name)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ProblemsError, match="is a bert model"):
        Captioner(str(other))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for path in captioner.iterdir():
        if path.suffix != ".safetensors":
            (pickled / path.name).write_bytes(path.read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ProblemsError, match="cannot be loaded"):
        Captioner(str(pickled))
