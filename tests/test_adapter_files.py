"""Adapter files: whole or not there, the same bytes for the same adapter, never trusted, proved by reading again."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.adapters import contents
from pipelines.adapters.contents import inspect
from pipelines.adapters.file import prove, read_adapter, read_tensors, write_adapter, write_peft
from pipelines.adapters.lowrank import Layers, LowRank
from pipelines.adapters.metadata import AdapterFacts, build_metadata, read_ours
from pipelines.errors import ProblemsError

from .adapter_parts import key_list, largest_difference, random_layers

SHAPES = {
    "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k": (8, 768),
    "unet.mid_block.resnets.0.conv1": (8, 8, 3, 3),
    "text_encoder.encoder.layers.0.self_attn.q_proj": (8, 8),
}
FACTS = AdapterFacts(
    title="Foxes – 狐",
    kind="sd1",
    rank=3,
    base_id="emoji-sd",
    base_sha256="ab" * 32,
    config_json='{"family": "stable_diffusion"}',
    data_fingerprint="cd" * 32,
    trigger_words=("foxart", "ink"),
    recommended_strength=0.8,
    resolution=128,
)


def layers_of(scale: float = 0.5) -> Layers:
    return random_layers(SHAPES, ("",), scale=scale)


def written(folder: Path, form: str = "diffusers") -> Path:
    path = folder / "adapter.safetensors"
    write_adapter(path, layers_of(), form=form, metadata=build_metadata(FACTS))
    return path


class TestWriting:
    @pytest.mark.parametrize("form", ["diffusers", "kohya"])
    @pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
    def test_proof_of_what_was_written(self, form: str, dtype: torch.dtype, error: float, tmp_path: Path) -> None:
        path = tmp_path / "adapter.safetensors"
        write_adapter(path, layers_of(), form=form, metadata={}, dtype=dtype)
        proof = prove(path, layers_of(), SHAPES)
        assert (proof.modules, proof.unmatched) == (3, 0)
        assert proof.max_error < error * proof.max_delta

    def test_proof_notices_what_went_wrong(self, tmp_path: Path) -> None:
        path = written(tmp_path)
        name = next(iter(SHAPES))
        other = {**layers_of(), name: LowRank(layers_of()[name].down, -layers_of()[name].up, 0.5)}
        assert prove(path, other, SHAPES).max_error > 1
        assert prove(path, {**layers_of(), "unet.more": layers_of()[name]}, SHAPES).unmatched == 1
        assert prove(path, layers_of(), {key: shape for key, shape in SHAPES.items() if key != name}).unmatched == 1

    def test_equal_adapters_are_equal_bytes(self, tmp_path: Path) -> None:
        # The library shuffles the header anew each time it saves one.
        assert len({written(tmp_path).read_bytes() for _ in range(4)}) == 1

    def test_hash_is_that_of_the_data_section(self, tmp_path: Path) -> None:
        raw = written(tmp_path).read_bytes()
        end = 8 + int.from_bytes(raw[:8], "little")
        assert end % 8 == 0
        assert (
            read_tensors(tmp_path / "adapter.safetensors")[1]["sshs_model_hash"]
            == hashlib.sha256(raw[end:]).hexdigest()
        )

    @pytest.mark.parametrize("form", ["diffusers", "kohya"])
    def test_the_header_of_another_file_does_not_scale_twice(self, form: str, tmp_path: Path) -> None:
        stale = {
            "lora_adapter_metadata": json.dumps({"unet.lora_alpha": 99, "text_encoder.lora_alpha": 99}),
            "ss_network_dim": "128",
            "ss_network_alpha": "1",
            "ss_output_name": "kept",
        }
        path = tmp_path / "adapter.safetensors"
        write_adapter(path, layers_of(), form=form, metadata=stale)
        assert largest_difference(layers_of(), read_adapter(path, SHAPES)) < 1e-4
        _, metadata = read_tensors(path)
        assert "lora_adapter_metadata" not in metadata
        assert (metadata["ss_network_dim"], float(metadata["ss_network_alpha"])) == ("3", 3.0)
        assert metadata["ss_output_name"] == "kept"

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_an_adapter_that_diverged_is_not_written(self, bad: float, tmp_path: Path) -> None:
        layers = layers_of()
        next(iter(layers.values())).up[0, 0] = bad
        with pytest.raises(ProblemsError, match=r"attn2.to_k: the adapter holds NaN or infinite numbers"):
            write_adapter(tmp_path / "a.safetensors", layers, form="kohya", metadata={})
        assert not list(tmp_path.iterdir())

    def test_an_adapter_that_does_nothing_is_not_written(self, tmp_path: Path) -> None:
        zero = {name: LowRank(layer.down, torch.zeros_like(layer.up), 1.0) for name, layer in layers_of().items()}
        for layers in (zero, {}):
            with pytest.raises(ProblemsError, match="changes nothing"):
                write_adapter(tmp_path / "a.safetensors", layers, form="diffusers", metadata={})

    def test_xl_is_recognized_by_its_layers(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        for width, prefix in ((768, "lora_te_"), (2048, "lora_te1_")):
            shapes = {"unet.attn2.to_k": (8, width), "text_encoder.encoder.layers.0.self_attn.q_proj": (8, 8)}
            write_adapter(path, random_layers(shapes, ("",)), form="kohya", metadata={})
            assert any(key.startswith(prefix) for key in read_tensors(path)[0])

    def test_numbers_too_large_for_the_format(self, tmp_path: Path) -> None:
        large = {name: LowRank(layer.down * 1e6, layer.up * 1e6, 1.0) for name, layer in layers_of().items()}
        with pytest.raises(ProblemsError, match="too large for float16"):
            write_adapter(tmp_path / "a.safetensors", large, form="diffusers", metadata={}, dtype=torch.float16)

    def test_unknown_form(self, tmp_path: Path) -> None:
        with pytest.raises(ProblemsError, match="must be one of diffusers, kohya"):
            write_adapter(tmp_path / "a.safetensors", layers_of(), form="onnx", metadata={})

    def test_disk_full_keeps_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = written(tmp_path)
        before = path.read_bytes()

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ProblemsError, match=r"adapter.safetensors needs .* MiB and the disk is full"):
            write_adapter(path, layers_of(2.0), form="diffusers", metadata={})
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_file_size_limit_keeps_the_old_file(self, tmp_path: Path) -> None:
        resource = pytest.importorskip("resource")
        path = written(tmp_path)
        before = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(ProblemsError, match="disk is full"):
                write_adapter(path, layers_of(2.0), form="diffusers", metadata={})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


class TestReading:
    @pytest.mark.parametrize("form", ["diffusers", "kohya"])
    def test_round_trip(self, form: str, tmp_path: Path) -> None:
        assert largest_difference(layers_of(), read_adapter(written(tmp_path, form), SHAPES)) < 1e-4

    def test_peft_folder(self, tmp_path: Path) -> None:
        layers = {name: layer for name, layer in layers_of().items() if name.startswith("unet.")}
        write_peft(tmp_path / "peft", layers, base_id="emoji-sd")
        assert largest_difference(layers, read_adapter(tmp_path / "peft", SHAPES)) < 1e-4
        config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text(encoding="utf-8"))
        assert config["base_model_name_or_path"] == "emoji-sd"
        # The scale is PEFT's: other alphas in the same folder mean another strength.
        config |= {"lora_alpha": 6, "alpha_pattern": {}, "use_rslora": True}
        (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        doubled = {name: LowRank(layer.down, layer.up, 0.5 * 6 / math.sqrt(3)) for name, layer in layers.items()}
        assert largest_difference(doubled, read_adapter(tmp_path / "peft", SHAPES)) < 1e-4
        (tmp_path / "peft" / "adapter_config.json").unlink()
        with pytest.raises(ProblemsError, match=r"peft has no adapter_config.json"):
            read_adapter(tmp_path / "peft", SHAPES)

    def test_problems_name_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(ProblemsError) as caught:
            read_adapter(written(tmp_path), {"unet.other": (4, 4)})
        assert len(caught.value.problems) >= 3
        assert all(problem.startswith("adapter.safetensors: ") for problem in caught.value.problems)

    @pytest.mark.parametrize("name", ["a.pt", "a.ckpt", "a.bin", "a.pth", "a.safetensors"])
    def test_pickles_are_refused_unopened(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / name
        path.write_bytes(pickle.dumps({"weights": [1.0] * 100}))
        with pytest.raises(ProblemsError, match=r"is a pickle file, which can run any program .* \.safetensors"):
            read_tensors(path)
        torch.save({"a": torch.ones(2)}, path)
        with pytest.raises(ProblemsError, match="is a pickle file"):
            read_tensors(path)

    def test_a_header_length_that_looks_like_a_pickle(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        save_file({"a": torch.ones(2)}, path, {"fill": "x" * 540})
        raw = path.read_bytes()
        end = 8 + int.from_bytes(raw[:8], "little")
        header = raw[8:end].ljust(0x280)  # 80 02 00 ...: the start of a protocol 2 pickle
        path.write_bytes(len(header).to_bytes(8, "little") + header + raw[end:])
        assert list(read_tensors(path)[0]) == ["a"]

    def test_damaged_files(self, tmp_path: Path) -> None:
        path = written(tmp_path)
        raw = path.read_bytes()
        for damaged in (raw[:-100], raw[:200], raw[:5], b"\xff" * 64, raw[:8] + b"[" + raw[9:], b"{}"):
            path.write_bytes(damaged)
            with pytest.raises(ProblemsError, match="not a whole safetensors file"):
                read_tensors(path)
        path.write_bytes(b"")
        with pytest.raises(ProblemsError, match="is empty"):
            read_tensors(path)

    def test_missing_file_and_folder_without_adapter(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.safetensors", tmp_path):
            with pytest.raises(ProblemsError, match="cannot be read"):
                read_tensors(path)

    def test_size_limit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = written(tmp_path)
        monkeypatch.setattr(contents, "SIZE_LIMIT", 1000)
        with pytest.raises(ProblemsError, match="an adapter may have"):
            read_tensors(path)


class TestMetadata:
    @pytest.mark.parametrize(
        ("kind", "v_prediction", "architecture", "version", "v2"),
        [
            ("sd1", False, "stable-diffusion-v1/lora", "sd_v1", "False"),
            ("sd2", False, "stable-diffusion-v2-512/lora", "sd_v2", "True"),
            ("sd2", True, "stable-diffusion-v2-768-v/lora", "sd_v2_v", "True"),
            ("sdxl", False, "stable-diffusion-xl-v1-base/lora", "sdxl_base_v1-0", "False"),
        ],
    )
    def test_where_other_programs_look(
        self, kind: str, v_prediction: bool, architecture: str, version: str, v2: str
    ) -> None:
        facts = AdapterFacts("t", kind, 16, "base", "", v_prediction=v_prediction)
        found = build_metadata(facts)
        assert found["modelspec.architecture"] == architecture
        assert (found["ss_base_model_version"], found["ss_v2"]) == (version, v2)
        assert (found["ss_network_dim"], float(found["ss_network_alpha"])) == ("16", 16.0)
        assert all(isinstance(value, str) for value in found.values())

    def test_our_own_key_has_everything(self, tmp_path: Path) -> None:
        with safe_open(written(tmp_path), framework="pt") as opened:
            ours = read_ours(opened.metadata())
        assert ours["base"] == {"id": "emoji-sd", "sha256": "ab" * 32}
        assert ours["config"] == {"family": "stable_diffusion"}
        assert ours["trigger_words"] == ["foxart", "ink"]
        assert (ours["title"], ours["recommended_strength"]) == ("Foxes – 狐", 0.8)

    def test_other_families_get_no_stable_diffusion_keys(self) -> None:
        found = build_metadata(AdapterFacts("t", "", None, "base", ""))
        assert not any(key.startswith("ss_") for key in found)

    @pytest.mark.parametrize("text", ["{", "[1]", "null"])
    def test_a_damaged_key_of_ours_is_ignored(self, text: str) -> None:
        assert read_ours({"lora_web": text}) == {}


class TestInspect:
    @pytest.mark.parametrize("form", ["diffusers", "kohya"])
    def test_our_files(self, form: str, tmp_path: Path) -> None:
        found = inspect(written(tmp_path, form))
        assert (found["form"], found["variant"], found["modules"], found["ranks"]) == (form, "lora", 3, [3])
        assert found["components"] == {"unet": 2, "text_encoder": 1}
        assert found["parameters"] == 3 * (768 + 8 + 72 + 8 + 8 + 8)
        assert (found["made_for"], found["dtypes"]) == ("Stable Diffusion 1.x", ["F32"])
        assert (found["title"], found["trigger_words"]) == ("Foxes – 狐", ["foxart", "ink"])
        assert found["recommended_strength"] == 0.8
        json.dumps(found)

    @pytest.mark.parametrize(
        ("name", "form", "modules", "made_for"),
        [
            ("kohya_sd15", "kohya", 264, "Stable Diffusion 1.x"),
            ("kohya_sdxl_diffusers_names", "kohya", 560, "Stable Diffusion XL"),
            ("diffusers_sd15_peft", "diffusers", 128, "Stable Diffusion 1.x"),
            ("diffusers_sd15_old", "diffusers (before 2024)", 176, "Stable Diffusion 1.x"),
        ],
    )
    def test_files_of_other_trainers(self, name: str, form: str, modules: int, made_for: str, tmp_path: Path) -> None:
        path = tmp_path / "other.safetensors"
        save_file({key: torch.zeros(shape, dtype=torch.uint8) for key, shape in key_list(name).items()}, path)
        found = inspect(path)
        assert (found["form"], found["modules"], found["made_for"]) == (form, modules, made_for)
        assert (found["ranks"], found["other_tensors"]) == ([4], [])

    def test_other_variants_are_named(self, tmp_path: Path) -> None:
        path = tmp_path / "loha.safetensors"
        save_file({"lora_unet_mid_to_q.hada_w1_a": torch.ones(2)}, path)
        found = inspect(path)
        assert found["variant"] == "other"
        assert "LoHa" in found["problems"][0]
