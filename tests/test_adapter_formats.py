"""Adapter layers in the tensor names of other tools: what is written loads elsewhere, what others write loads here."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from diffusers.utils import logging as diffusers_logging
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from peft import PeftModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.adapters.file import write_adapter, write_peft
from pipelines.adapters.formats import read_layers, to_diffusers, to_kohya, to_peft
from pipelines.adapters.lowrank import Layers, LowRank
from pipelines.errors import ProblemsError

from .adapter_parts import (
    ATTENTION,
    CONVOLUTIONS,
    components,
    key_list,
    largest_difference,
    random_layers,
    stand_ins,
    tiny_pipeline,
    weight_shapes,
)

KINDS = ("sd1", "sdxl")
SUBSETS = {"attention": ATTENTION, "convolutions": CONVOLUTIONS, "all": ("",)}


@cache
def tiny_shapes(kind: str) -> dict[str, tuple[int, ...]]:
    return weight_shapes(components(tiny_pipeline(kind)))


@cache
def real_shapes(kind: str) -> dict[str, tuple[int, ...]]:
    """Weight shapes of the published SD 1.5 and SDXL, without their weights."""
    large = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
    small = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    with torch.device("meta"):
        model: dict[str, torch.nn.Module] = {"text_encoder": CLIPTextModel(CLIPTextConfig(**small))}
        if kind == "sd1":
            model["unet"] = UNet2DConditionModel(cross_attention_dim=768)
        else:
            model["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**large, projection_dim=1280))
            model["unet"] = UNet2DConditionModel(
                block_out_channels=(320, 640, 1280),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10),
                attention_head_dim=(5, 10, 20),
                cross_attention_dim=2048,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=2816,
            )
    return weight_shapes(model)


class TestRoundTrip:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("subset", SUBSETS)
    def test_diffusers(self, kind: str, subset: str) -> None:
        layers = random_layers(tiny_shapes(kind), SUBSETS[subset], scale=0.25)
        tensors = to_diffusers(layers, torch.float32)
        assert not any("alpha" in key for key in tensors)
        assert largest_difference(layers, read_layers(tensors, tiny_shapes(kind))) < 1e-5

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("subset", SUBSETS)
    def test_kohya(self, kind: str, subset: str) -> None:
        layers = random_layers(tiny_shapes(kind), SUBSETS[subset], scale=0.25)
        tensors = to_kohya(layers, torch.float32, kind == "sdxl")
        assert {float(value) for key, value in tensors.items() if key.endswith(".alpha")} == {3.0}
        assert largest_difference(layers, read_layers(tensors, tiny_shapes(kind))) < 1e-5

    def test_peft(self) -> None:
        layers = random_layers(tiny_shapes("sd1"), ("to_q", "conv1"), scale=2.0)
        layers = {name: layer for name, layer in layers.items() if name.startswith("unet.")}
        config, tensors = to_peft(layers)
        metadata = {"lora_adapter_metadata": json.dumps(config)}
        assert largest_difference(layers, read_layers(tensors, tiny_shapes("sd1"), metadata)) < 1e-5

    def test_small_updates_survive_half_precision(self) -> None:
        shapes = {"unet.a.to_q": (8, 8)}
        layer = random_layers(shapes)["unet.a.to_q"]
        young = {"unet.a.to_q": LowRank(layer.down, layer.up * 1e-5, 1 / 16)}
        for tensors in (to_diffusers(young, torch.float16), to_kohya(young, torch.float16, False)):
            error = largest_difference(young, read_layers(tensors, shapes))
            assert error < 3e-3 * float(young["unet.a.to_q"].delta().abs().max())

    def test_peft_folder_holds_one_component(self) -> None:
        with pytest.raises(ProblemsError, match="holds one model"):
            to_peft(random_layers(tiny_shapes("sd1")))

    def test_kohya_refuses_components_it_cannot_name(self) -> None:
        with pytest.raises(ProblemsError, match="no name for transformer"):
            to_kohya(random_layers({"transformer.blocks.0.to_q": (4, 4)}), torch.float32, True)
        with pytest.raises(ProblemsError, match="no name for text_encoder_2"):
            to_kohya(random_layers(tiny_shapes("sdxl")), torch.float32, False)


class TestStockLibraries:
    """Our files in stock diffusers and PEFT: no unmatched key, the same delta W."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("form", ["diffusers", "kohya"])
    @pytest.mark.parametrize("subset", SUBSETS)
    def test_pipeline_loads_the_file(
        self, kind: str, form: str, subset: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        pipeline = tiny_pipeline(kind)
        layers = random_layers(tiny_shapes(kind), SUBSETS[subset], scale=0.5)
        self._load_and_compare(pipeline, layers, form, tmp_path, capfd)

    @pytest.mark.parametrize("form", ["diffusers", "kohya"])
    def test_layers_of_different_rank(self, form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        shapes = tiny_shapes("sdxl")
        layers = {**random_layers(shapes, rank=4), **random_layers(shapes, ("to_k", "fc1", "q_proj"), rank=2)}
        self._load_and_compare(tiny_pipeline("sdxl"), layers, form, tmp_path, capfd)

    @staticmethod
    def _load_and_compare(
        pipeline: Any, layers: Layers, form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "adapter.safetensors"
        kind = "sdxl_base_v1-0" if hasattr(pipeline, "text_encoder_2") else "sd_v1"
        write_adapter(path, layers, form=form, metadata={"ss_base_model_version": kind})
        diffusers_logging.set_verbosity_warning()
        capfd.readouterr()
        pipeline.load_lora_weights(path, adapter_name="a")
        assert "unexpected" not in capfd.readouterr().err
        injected = {
            f"{component}.{name}": module.get_delta_weight("a").detach()
            for component, root in components(pipeline).items()
            for name, module in root.named_modules()
            if hasattr(module, "get_delta_weight") and "a" in module.lora_A
        }
        assert injected.keys() == layers.keys()
        for name, layer in layers.items():
            torch.testing.assert_close(injected[name], layer.delta(), rtol=1e-4, atol=1e-5)

    def test_peft_loads_the_folder(self, tmp_path: Path) -> None:
        unet = tiny_pipeline("sd1").unet
        mixed = {**random_layers(tiny_shapes("sd1"), ("to_q",)), **random_layers(tiny_shapes("sd1"), ("to_v",), rank=2)}
        layers = {name: layer for name, layer in mixed.items() if name.startswith("unet.")}
        write_peft(tmp_path / "folder", layers, base_id="tiny")
        model = PeftModel.from_pretrained(unet, tmp_path / "folder")
        found = {
            "unet." + name.removeprefix("base_model.model."): module.get_delta_weight("default").detach()
            for name, module in model.named_modules()
            if hasattr(module, "get_delta_weight")
        }
        assert found.keys() == layers.keys()
        for name, layer in layers.items():
            torch.testing.assert_close(found[name], layer.delta(), rtol=1e-4, atol=1e-5)


class TestKeyLists:
    """Key lists of other trainers against the published architectures."""

    @pytest.mark.parametrize(
        ("name", "kind", "count"),
        [
            ("kohya_sd15", "sd1", 192 + 72),
            ("kohya_sd15_ldm_locon", "sd1", 278),
            ("diffusers_sd15_peft", "sd1", 128),
            ("diffusers_sd15_old", "sd1", 128 + 48),
            ("kohya_sdxl_sgm", "sdxl", 722 + 72 + 192),
            ("kohya_sdxl_diffusers_names", "sdxl", 560),
            ("comfyui_sdxl_dotted", "sdxl", 560),
        ],
    )
    def test_every_key_finds_its_layer(self, name: str, kind: str, count: int) -> None:
        layers = read_layers(stand_ins(key_list(name)), real_shapes(kind))
        assert len(layers) == count

    @pytest.mark.parametrize("name", ["kohya_sdxl_sgm", "kohya_sd15"])
    def test_layers_are_those_that_diffusers_finds(self, name: str) -> None:
        kind = "sdxl" if "sdxl" in name else "sd1"
        tensors = stand_ins({key: shape for key, shape in key_list(name).items() if "lora_unet" in key})
        ours = read_layers(tensors, real_shapes(kind))
        config = type("Config", (), {"layers_per_block": 2})()
        mapped = _maybe_map_sgm_blocks_to_diffusers(dict(tensors), config)
        theirs = convert_unet_state_dict_to_peft(_convert_non_diffusers_lora_to_diffusers(mapped)[0])
        downs = {key.removesuffix(".lora_A.weight"): v for key, v in theirs.items() if key.endswith("lora_A.weight")}
        assert {name: float(v.flatten()[0]) for name, v in downs.items()} == {
            name: float(layer.down.flatten()[0]) for name, layer in ours.items()
        }


class TestScale:
    SHAPES = {"unet.mid.to_q": (6, 4), "text_encoder.encoder.layers.0.self_attn.q_proj": (4, 4)}
    STEM = "unet.mid.to_q"

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {f"{self.STEM}.lora_A.weight": torch.ones(4, 4), f"{self.STEM}.lora_B.weight": torch.ones(6, 4)}

    def test_missing_alpha_means_rank(self) -> None:
        assert read_layers(self._tensors(), self.SHAPES)[self.STEM].scale == 1

    def test_alpha_tensor(self) -> None:
        for alpha in (torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor([1]), torch.tensor(1)):
            layers = read_layers({**self._tensors(), f"{self.STEM}.alpha": alpha}, self.SHAPES)
            assert layers[self.STEM].scale == 0.25

    @pytest.mark.parametrize(
        ("config", "scale"),
        [
            ({"unet.r": 4, "unet.lora_alpha": 2}, 0.5),
            ({"unet.lora_alpha": 2, "unet.use_rslora": True}, 1.0),
            ({"unet.lora_alpha": 2, "unet.alpha_pattern": {"mid.to_q": 12}}, 3.0),
            ({"unet.lora_alpha": 2, "unet.alpha_pattern": {"to_q": 12}}, 3.0),
            ({"unet.lora_alpha": 2, "unet.alpha_pattern": {"^to_q": 12, "to_qq": 7}}, 0.5),
            ({"lora_alpha": 2}, 0.5),
            ({"text_encoder.lora_alpha": 2}, 1.0),
        ],
    )
    def test_header(self, config: dict[str, Any], scale: float) -> None:
        metadata = {"lora_adapter_metadata": json.dumps(config)}
        assert read_layers(self._tensors(), self.SHAPES, metadata)[self.STEM].scale == pytest.approx(scale)

    def test_rslora_means_the_same_in_every_file(self) -> None:
        layer = random_layers({self.STEM: (6, 4)}, rank=4)[self.STEM]
        layers = {self.STEM: LowRank(layer.down, layer.up, 8 / math.sqrt(4))}
        for tensors in (to_diffusers(layers, torch.float32), to_kohya(layers, torch.float32, False)):
            assert largest_difference(layers, read_layers(tensors, self.SHAPES)) < 1e-5

    @pytest.mark.parametrize("text", ["{", "[]", json.dumps({"unet.lora_alpha": "two"})])
    def test_unreadable_header(self, text: str) -> None:
        with pytest.raises(ProblemsError, match="the header's"):
            read_layers(self._tensors(), self.SHAPES, {"lora_adapter_metadata": text})


class TestForms:
    def test_peft_prefixes_and_adapter_names(self) -> None:
        shapes = {"unet.mid.to_q": (6, 4)}
        for stem in ("base_model.model.mid.to_q", "unet.base_model.model.mid.to_q", "mid.to_q"):
            for adapter in ("", ".default"):
                a, b = torch.ones(2, 4), torch.ones(6, 2)
                tensors = {f"{stem}.lora_A{adapter}.weight": a, f"{stem}.lora_B{adapter}.weight": b}
                assert list(read_layers(tensors, shapes)) == ["unet.mid.to_q"]

    def test_text_encoder_with_and_without_text_model(self) -> None:
        tail = "encoder.layers.0.self_attn.q_proj"
        tensors = {"lora_A.weight": torch.ones(2, 4), "lora_B.weight": torch.ones(4, 2)}
        for inside in ("", "text_model."):
            for outside in ("", "text_model."):
                module = f"text_encoder.{inside}{tail}"
                named = {f"text_encoder.{outside}{tail}.{key}": value for key, value in tensors.items()}
                assert list(read_layers(named, {module: (4, 4)})) == [module]

    def test_written_text_encoder_keys_keep_the_name_older_readers_know(self) -> None:
        layers = random_layers({"text_encoder.encoder.layers.0.self_attn.q_proj": (4, 4)})
        stem = "text_model.encoder.layers.0.self_attn.q_proj"
        assert f"text_encoder.{stem}.lora_A.weight" in to_diffusers(layers, torch.float32)
        name = stem.replace(".", "_")
        assert f"lora_te_{name}.alpha" in to_kohya(layers, torch.float32, False)
        assert f"lora_te1_{name}.alpha" in to_kohya(layers, torch.float32, True)

    def test_linear_and_1x1_convolution_are_the_same_layer(self) -> None:
        for base in ((6, 4), (6, 4, 1, 1)):
            for tail in ((), (1, 1)):
                tensors = {
                    "lora_unet_mid_proj_in.lora_down.weight": torch.ones(2, 4, *tail),
                    "lora_unet_mid_proj_in.lora_up.weight": torch.ones(6, 2, *tail),
                }
                layer = read_layers(tensors, {"unet.mid.proj_in": base})["unet.mid.proj_in"]
                assert layer.delta().shape == base

    def test_names_that_underscores_cannot_tell_apart_match_nothing(self) -> None:
        shapes = {"unet.a.b_c": (4, 4), "unet.a_b.c": (4, 4)}
        tensors = {"lora_unet_a_b_c.lora_down.weight": torch.ones(2, 4)}
        with pytest.raises(ProblemsError, match="no such layer"):
            read_layers(tensors, shapes)


class TestBadInput:
    SHAPES = {"unet.mid.to_q": (6, 4), "unet.mid.to_k": (6, 4)}

    @staticmethod
    def _pair(stem: str, inputs: int = 4, outputs: int = 6) -> dict[str, torch.Tensor]:
        return {f"{stem}.lora_A.weight": torch.ones(2, inputs), f"{stem}.lora_B.weight": torch.ones(outputs, 2)}

    def _problems(self, tensors: dict[str, torch.Tensor], shapes: Any = None) -> tuple[str, ...]:
        with pytest.raises(ProblemsError) as caught:
            read_layers(tensors, shapes or self.SHAPES)
        return caught.value.problems

    def test_every_problem_at_once(self) -> None:
        tensors = {
            **self._pair("unet.mid.to_q", inputs=5),
            **self._pair("unet.gone.to_q"),
            "unet.mid.to_k.lora_A.weight": torch.ones(2, 4),
            "unet.mid.position": torch.ones(2),
        }
        problems = self._problems(tensors)
        assert len(problems) == 4
        text = "\n".join(problems)
        assert "unet.mid.to_q: shapes are down (2, 5) and up (6, 2), the base's layer is (6, 4)" in text
        assert "unet.gone.to_q: the base has no such layer" in text
        assert "unet.mid.to_k: has a down matrix but no up matrix" in text
        assert "unet.mid.position: not a LoRA tensor" in text

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_numbers_that_are_none(self, bad: float) -> None:
        tensors = self._pair("unet.mid.to_q")
        tensors["unet.mid.to_q.lora_B.weight"][0, 0] = bad
        assert "NaN or infinite" in self._problems(tensors)[0]
        alpha = {**self._pair("unet.mid.to_q"), "unet.mid.to_q.alpha": torch.tensor(bad)}
        assert "alpha is not one finite number" in self._problems(alpha)[0]

    def test_ranks_that_differ_and_whole_numbers(self) -> None:
        tensors = self._pair("unet.mid.to_q")
        tensors["unet.mid.to_q.lora_B.weight"] = torch.ones(6, 3)
        assert "shapes are" in self._problems(tensors)[0]
        whole = {key: value.long() for key, value in self._pair("unet.mid.to_q").items()}
        assert "must be floating point" in self._problems(whole)[0]
        scalars = {key: torch.tensor(1.0) for key in self._pair("unet.mid.to_q")}
        assert "shapes are" in self._problems(scalars)[0]

    def test_the_same_layer_twice(self) -> None:
        tensors = {**self._pair("unet.mid.to_q"), **self._pair("base_model.model.mid.to_q")}
        assert "already fills" in self._problems(tensors)[0]

    def test_nothing_in_it(self) -> None:
        assert self._problems({}) == ("the file holds no LoRA tensors",)

    def test_xl_adapter_on_sd15(self) -> None:
        problems = self._problems(stand_ins(key_list("kohya_sdxl_sgm")), real_shapes("sd1"))
        assert problems[0].startswith(
            "This adapter was made for Stable Diffusion XL (cross-attention width 2048), the base has 768"
        )
        assert len(problems) > 800  # and every layer that does not fit

    def test_sd15_adapter_on_xl(self) -> None:
        for name in ("kohya_sd15", "diffusers_sd15_peft", "diffusers_sd15_old"):
            problems = self._problems(stand_ins(key_list(name)), real_shapes("sdxl"))
            assert problems[0].startswith("This adapter was made for Stable Diffusion 1.x (cross-attention width 768)")

    @pytest.mark.parametrize(
        ("stem", "sentence"),
        [
            ("lora_unet_double_blocks_0_img_attn_qkv", "diffusion transformer"),
            ("transformer.single_transformer_blocks.0.attn.to_q", "diffusion transformer"),
            ("base_model.model.model.layers.0.self_attn.q_proj", "language model"),
        ],
    )
    def test_adapters_of_other_families(self, stem: str, sentence: str) -> None:
        assert sentence in self._problems(self._pair(stem))[0]

    @pytest.mark.parametrize(
        ("key", "variant"),
        [
            ("lora_unet_mid_to_q.dora_scale", "DoRA"),
            ("unet.mid.to_q.lora_magnitude_vector", "DoRA"),
            ("lora_unet_mid_to_q.hada_w1_a", "LoHa"),
            ("lora_unet_mid_to_q.lokr_w1", "LoKr"),
            ("lora_unet_mid_to_q.oft_blocks", "OFT"),
            ("lora_unet_mid_to_q.lora_mid.weight", "Tucker"),
            ("lora_unet_mid_to_q.diff", "full-weight difference"),
            ("unet.mid.to_q.lora_B.bias", "biases"),
        ],
    )
    def test_variants_that_are_not_lora(self, key: str, variant: str) -> None:
        problems = self._problems({**self._pair("unet.mid.to_q"), key: torch.ones(2)})
        assert len(problems) == 1
        assert variant in problems[0] and "only LoRA can be read" in problems[0]

    def test_peft_headers_that_are_not_lora(self) -> None:
        for config, sentence in (
            ({"peft_type": "LOHA"}, "type LOHA"),
            ({"unet.init_lora_weights": "pissa_niter_4"}, "changes the base's weights"),
        ):
            with pytest.raises(ProblemsError, match=sentence):
                read_layers(self._pair("unet.mid.to_q"), self.SHAPES, {"lora_adapter_metadata": json.dumps(config)})
