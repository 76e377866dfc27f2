"""Tokens a second of text LoRA: ours against Hugging Face Trainer with PEFT, on the same rows of many lengths.

    python -m benchmarks.text_lora [--hidden 768] [--layers 12] [--batch 8] [--steps 4]

The base is a Llama of random weights (about 100 M parameters by default). Theirs pads each batch to its longest row and
runs the head at every position, as its collator and models do; ours sorts rows into buckets, or packs them, and runs
the head where something is learned. Only tokens that are not padding count. Both take turns in one process.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from benchmarks.timing import machine, quiet
from pipelines.bases import find_base
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.data.encode import encode_dataset
from pipelines.devices import pick_dtype
from pipelines.events import Step
from pipelines.registry import create
from pipelines.text_llm import TextOptions
from pipelines.train import train

_LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_CHAT = (
    "{% for m in messages %}w{{ m.role }} {{ m.content }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}wassistant {% endif %}"
)
_SIZES = {"hidden": 768, "layers": 12, "vocabulary": 32_000, "batch": 8, "rows": 512, "longest": 512}
_SIZES |= {"steps": 4, "repeats": 5}
_NAMES = (("input_ids", "ids"), ("labels", "labels"))
# One action does some steps and gives how many tokens they had, and their losses.
Action = Callable[[], tuple[int, list[float]]]


def make_base(folder: Path, args: argparse.Namespace) -> Path:
    """A Llama of random weights whose words are numbers."""
    words = ["<|end|>", "wuser", "wassistant", *(f"w{i}" for i in range(args.vocabulary - 3))]
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<|end|>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = _CHAT
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=args.vocabulary,
        hidden_size=args.hidden,
        intermediate_size=args.hidden * 8 // 3,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        num_key_value_heads=max(1, args.hidden // 192),
        max_position_embeddings=2048,
        eos_token_id=0,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_rows(path: Path, count: int, longest: int) -> Path:
    """Questions and answers whose lengths are as uneven as those of instruction sets: most are short, some long."""
    luck = random.Random(0)

    def some(most: int) -> str:
        return " ".join(f"w{luck.randrange(200)}" for _ in range(int(most ** luck.random()) + 3))

    rows = [{"instruction": some(longest // 4), "output": some(longest // 2)} for _ in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_config(base: Path, data: Path, args: argparse.Namespace, packing: bool, precision: str) -> RunConfig:
    return RunConfig(
        family="text_llm",
        base=str(base),
        data=DataConfig(path=str(data)),
        adapter=AdapterConfig(rank=8, alpha=16.0),
        train=TrainConfig(
            steps=10_000,
            batch_size=args.batch if not packing else max(1, args.batch // 4),
            learning_rate=args.rate,
            schedule="constant",
            warmup=0,
            ema=0.0,
            precision=precision,
            device="cpu",
            checkpoint_every=100_000,
        ),
        options=TextOptions(packing=packing, max_length=args.longest),
    )


def ours(config: RunConfig, folder: Path, steps: int) -> Action:
    """Some steps of the real loop."""
    family = create(config.family, config.options)
    base = find_base(config.base)
    # The same plan as the loop's, to know what each step holds.
    parts = family.load(base, torch.device("meta"), torch.float32)
    data = encode_dataset(family, parts, base, config, (folder, folder / "cache"))
    events: Iterator[Any] = train(config, folder)
    next(events)

    def act() -> tuple[int, list[float]]:
        tokens, losses = 0, []
        for _ in range(steps):
            event = next(events)
            assert isinstance(event, Step), event
            _, rows = data.batch(config.train, event.step - 1, 0, 1)
            # A row ends with the token that ends its last answer, which is learned; what follows is padding.
            learned = rows["labels"] != -100
            tokens += int((learned * torch.arange(1, learned.shape[1] + 1)).max(1).values.sum())
            losses.append(event.loss)
        return tokens, losses

    return act


def theirs(config: RunConfig, folder: Path, steps: int, bf16: bool) -> Action:
    """Some steps of Trainer: its data loader, training step, clipping, optimizer."""
    family = create(config.family, config.options)
    base = find_base(config.base)
    parts = family.load(base, torch.device("meta"), torch.float32)
    data = encode_dataset(family, parts, base, config, (folder, folder / "cache"))
    rows = [{name: sample.tensors[key].tolist() for name, key in _NAMES} for sample in data.train]
    model = LlamaForCausalLM.from_pretrained(base.source, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=_LINEARS, task_type="CAUSAL_LM"))
    arguments = TrainingArguments(
        output_dir=str(folder / "theirs"),
        per_device_train_batch_size=config.train.batch_size,
        learning_rate=config.train.learning_rate,
        lr_scheduler_type="constant",
        bf16=bf16,
        use_cpu=True,
        report_to=[],
        max_steps=10_000,
    )
    collator = DataCollatorForSeq2Seq(parts.rest["pipeline"].tokenizer, padding=True)
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator)
    trainer.create_optimizer_and_scheduler(10_000)
    # What Trainer.train would set before its first step.
    trainer.current_gradient_accumulation_steps = 1
    model.train()

    def batches() -> Iterator[Any]:
        while True:
            yield from trainer.get_train_dataloader()

    stream = batches()

    def act() -> tuple[int, list[float]]:
        tokens, losses = 0, []
        for _ in range(steps):
            batch = next(stream)
            tokens += int(batch["attention_mask"].sum())
            loss = trainer.training_step(model, batch)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            trainer.optimizer.step()
            trainer.optimizer.zero_grad()
            losses.append(float(loss))
        return tokens, losses

    return act


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in _SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=5e-4)
    args = parser.parse_args()
    quiet()
    default = pick_dtype("auto", torch.device("cpu"))
    native = default == torch.bfloat16
    print(f"{machine()}; our default precision here: {str(default).removeprefix('torch.')}")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        base, data = make_base(work / "base", args), make_rows(work / "rows.jsonl", args.rows, args.longest)
        actions: dict[str, Action] = {}
        for precision in ("fp32", *(["bf16"] if native else [])):
            for kind, packing in (("buckets", False), ("packing", True)):
                config = run_config(base, data, args, packing, precision)
                actions[f"ours, {kind}, {precision}"] = ours(config, work / f"{kind}-{precision}", args.steps)
            config = run_config(base, data, args, False, precision)
            folder = work / f"theirs-{precision}"
            actions[f"theirs, {precision}"] = theirs(config, folder, args.steps, precision == "bf16")
        speeds: dict[str, list[float]] = {name: [] for name in actions}
        curves: dict[str, list[float]] = {name: [] for name in actions}
        for turn in range(args.repeats + 1):
            for name, act in actions.items():
                started = time.perf_counter()
                tokens, losses = act()
                curves[name] += losses
                if turn:
                    speeds[name].append(tokens / (time.perf_counter() - started))
        median = {name: statistics.median(found) for name, found in speeds.items()}
        for name, found in median.items():
            last = curves[name][-args.steps :]
            print(f"{name:<24}{found:9.0f} tokens/s   loss {curves[name][0]:.3f} -> {statistics.mean(last):.3f}")
        for precision in ("fp32", *(["bf16"] if native else [])):
            ratio = median[f"ours, buckets, {precision}"] / median[f"theirs, {precision}"]
            print(f"same precision ({precision}):        {ratio:.2f}x")
        best = "bf16" if native else "fp32"
        print(f"defaults against its defaults: {median[f'ours, buckets, {best}'] / median['theirs, fp32']:.2f}x")


if __name__ == "__main__":
    main()
