"""A training step of VoRA, with the teacher's states kept and without; answers at several strengths, batched and not.

    python -m benchmarks.vora_step [--hidden 256] [--layers 6] [--batch 8] [--strengths 7]

Base and teacher have random weights. The share of peak is what the step's matrix products, convolutions and attention
make of the best product of two square matrices at the same precision. Both ways of answering give the same number of
tokens.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, ViTConfig, ViTModel

from benchmarks.timing import alternate, flops, machine, matmul_peak, quiet
from benchmarks.train_step import ours
from pipelines.adapters.file import write_adapter
from pipelines.adapters.lowrank import Layers, LowRank, Whole
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.family import PreviewRequest
from pipelines.preview import PreviewSession
from pipelines.vora import VoraOptions

_SIZES = {"hidden": 256, "layers": 6, "batch": 8, "rank": 32, "size": 128, "patch": 16, "tokens": 16}
_SIZES |= {"strengths": 7, "repeats": 5}
_PICTURES = 16


def make_base(folder: Path, args: argparse.Namespace) -> Path:
    """A Llama of random weights that reads bytes."""
    pieces = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(pieces),
        hidden_size=args.hidden,
        intermediate_size=args.hidden * 8 // 3,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        num_key_value_heads=args.hidden // 64,
        max_position_embeddings=2048,
        eos_token_id=0,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<|end|>").save_pretrained(folder)
    return folder


def make_teacher(folder: Path, args: argparse.Namespace) -> Path:
    config = ViTConfig(
        hidden_size=args.hidden,
        intermediate_size=4 * args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        image_size=args.size,
        patch_size=args.patch,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def make_pictures(folder: Path, side: int) -> Path:
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(_PICTURES):
        pixels = torch.randint(256, (side, side, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"picture number {number}")
    return folder


def run_config(folder: Path, args: argparse.Namespace, options: VoraOptions) -> RunConfig:
    return RunConfig(
        family="vora",
        base=str(folder / "base"),
        data=DataConfig(path=str(folder / "pictures")),
        adapter=AdapterConfig(rank=args.rank, alpha=float(args.rank)),
        train=TrainConfig(
            steps=10_000, batch_size=args.batch, precision="fp32", device="cpu", checkpoint_every=100_000, ema=0.0
        ),
        options=options,
    )


def answering(folder: Path, args: argparse.Namespace, options: VoraOptions) -> dict[str, Callable[[], Any]]:
    """Answers at k strengths of a random adapter: in one pass, and one by one."""
    session = PreviewSession("vora", str(folder / "base"), options, precision="fp32", device="cpu")
    generator, layers = torch.Generator().manual_seed(1), Layers()
    for name, parameter in session.parts.model["llm"].named_parameters():
        if name.endswith("_proj.weight"):
            out, inner = parameter.shape
            thin = [torch.randn(shape, generator=generator) * 0.02 for shape in ((args.rank, inner), (out, args.rank))]
            layers[f"llm.{name.removesuffix('.weight')}"] = LowRank(*thin, 1.0)
    for name, parameter in session.parts.extra["vision"].named_parameters():
        layers[f"vision.{name}"] = Whole(parameter + 0.1 * torch.randn(parameter.shape, generator=generator))
    path = folder / "adapter.safetensors"
    write_adapter(path, layers, form="diffusers", metadata={})
    picture = next((folder / "pictures").glob("*.png")).read_bytes()
    request = PreviewRequest("What is this?", picture=picture, max_tokens=args.tokens)
    values = [(number + 1) / args.strengths for number in range(args.strengths)]

    def batched() -> None:
        list(session.answers(path, request, values))

    def one_by_one() -> None:
        for value in values:
            list(session.answers(path, request, [value]))

    return {"batched": batched, "one by one": one_by_one}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in _SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    quiet()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_base(folder / "base", args)
        teacher = make_teacher(folder / "teacher", args)
        make_pictures(folder / "pictures", args.size)
        plain = VoraOptions(teacher="", size=args.size, patch=args.patch)
        taught = replace(plain, teacher=str(teacher))
        choices = {
            "no teacher": plain,
            "teacher kept": taught,
            "teacher asked": replace(taught, keep_teacher=True),
        }
        steps = {name: ours(run_config(folder, args, options), folder / name) for name, options in choices.items()}
        seconds, peak = alternate(steps, args.repeats), matmul_peak(torch.float32)
        for name, step in steps.items():
            work = flops(step)
            print(
                f"{name:<14}{seconds[name] * 1000:8.0f} ms{work / 1e9:9.2f} GFLOP"
                f"{100 * work / seconds[name] / peak:7.0f} % of peak"
            )
        print(f"a kept teacher: {seconds['teacher asked'] / seconds['teacher kept']:.2f} x the speed of asking")
        found = alternate(answering(folder, args, plain), args.repeats)
        for name, value in found.items():
            print(f"{args.strengths} strengths {name:<12}{value * 1000:8.0f} ms")
        print(f"batched: {found['one by one'] / found['batched']:.2f} x (wanted: 2)")


if __name__ == "__main__":
    main()
