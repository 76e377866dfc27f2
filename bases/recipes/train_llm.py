"""Train `emoji-llm`, a Llama of 8.4 M parameters that knows what everyday things are, then assemble the base.

    torchrun --nproc-per-node 2 -m bases.recipes.train_llm --node-modules DIR --work DIR --output bases/emoji-llm

Reads Debian's `wordnet-base` and npm's `emojibase-data`. Documents are packed whole into rows of 512 tokens. Plain
sentences and dialogues come first, with the loss on every token: there is too little text to leave the questions out.
The last quarter of the steps sees dialogues only, with the loss on answers and their ends.

A token costs 56 MFLOP forward and backward, and Muon 45 GFLOP a step: a step of 2 x 4 rows takes 4.3 s where two cores
reach 65 GFLOP/s, so 800 steps (3.3 million tokens) are 57 minutes. One Zen 3 core needed 2.8 s for its 4 rows and
0.9 s for all of Muon, which two share.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.llm_quality import measure

from . import wordnet
from .chat import CONTEXT, PAD, SPECIAL, render, said_by_assistant, train_tokenizer
from .llm_card import write_card
from .loop import Trainer, adamw, start_worker
from .muon import Muon
from .sentences import UNSEEN_WORDING, Corpus, Dialogue, to_messages

VOCABULARY = 6144
WIDTH, BLOCKS, HEADS = 256, 8, 8
LESSONS = 0.25  # the share of the steps that sees dialogues only
ROWS = {"broad": 8192, "lessons": 2560}
_FOR_TOKENIZER = 30_000
_MEASURED = 200
_OPEN_ROWS = 24


def build_llm(tokenizer: PreTrainedTokenizerFast, width: int = WIDTH, blocks: int = BLOCKS) -> LlamaForCausalLM:
    """A small Llama whose blocks begin as the identity, with one matrix for both ends of the vocabulary."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=blocks,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
    return model.train()


def pack(documents: Iterator[list[int]], rows: int, length: int = CONTEXT) -> np.ndarray:
    """Rows (rows, length) of whole documents, uint16, padded at the end. Of the rows still open the fullest that has
    room takes a document; when none has, the fullest is done. Documents longer than a row are left out."""
    done: list[list[int]] = []
    opened: list[list[int]] = [[] for _ in range(_OPEN_ROWS)]
    while len(done) < rows:
        ids = next(documents)
        if len(ids) > length:
            continue
        opened.sort(key=len, reverse=True)
        fitting = next((row for row in opened if len(row) + len(ids) <= length), None)
        if fitting is None:
            done.append(opened.pop(0))
            fitting = []
            opened.append(fitting)
        fitting += ids
    return np.array([row + [SPECIAL.index(PAD)] * (length - len(row)) for row in done], np.uint16)


def encoded(
    tokenizer: PreTrainedTokenizerFast, write: Callable[[int], str | Dialogue], portion: int = 1000
) -> Iterator[list[int]]:
    """The ids of documents 0, 1, 2, ... without end."""
    for start in count(0, portion):
        texts = [render(tokenizer, write(number)) for number in range(start, start + portion)]
        yield from tokenizer(texts, add_special_tokens=False)["input_ids"]


def exam(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What the benchmark asks: each thing shown with its true answer, and texts that training never sees."""
    rng = random.Random(1)
    questions = []
    for group, things in (("nouns of the pictures", corpus.world), ("other emoji", corpus.emoji)):
        for thing in things:
            if thing.definition:
                asked = {"name": thing.named(), "verb": thing.verb}
                wordings = ["What {verb} {name}?".format(**asked), UNSEEN_WORDING.format(**asked)]
                questions.append({"group": group, "word": thing.word, "asked": wordings, "answer": thing.statement})
    scenes = [corpus.scene(rng, held_out=True) for _ in range(_MEASURED)]
    dialogues = [to_messages(corpus.picture_questions(scene, rng)) for scene in scenes]
    texts = {
        "definitions of nouns it never saw": [
            render(tokenizer, thing.statement) for thing in corpus.unseen[:_MEASURED]
        ],
        "questions about pictures never described to it": [render(tokenizer, one) for one in dialogues],
    }
    return {"questions": questions, "texts": texts}


def prepare(folder: Path, corpus: Corpus, rows: dict[str, int], vocabulary: int) -> None:
    """Write tokenizer, token rows and exam to `folder`, those that are not there yet."""
    if not (folder / "tokenizer").exists():
        documents = min(_FOR_TOKENIZER, 40 * rows["broad"])
        texts = (text for number in range(documents) for text in _texts(corpus.document(number)))
        train_tokenizer(texts, vocabulary).save_pretrained(folder / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    for name, write in (("broad", corpus.document), ("lessons", corpus.lesson)):
        if not (folder / f"{name}.npy").exists():
            np.save(folder / f"{name}.npy", pack(encoded(tokenizer, write), rows[name]))
    (folder / "exam.json").write_text(
        json.dumps(exam(corpus, tokenizer), ensure_ascii=False, indent=1), encoding="utf-8"
    )


def _texts(document: str | Dialogue) -> list[str]:
    return [document] if isinstance(document, str) else [message["content"] for message in document]


class Objective:
    """The loss of a step, a pure function of (step, rank): first rows of everything, then lessons."""

    def __init__(self, model: LlamaForCausalLM, folder: Path, steps: int, batch: int, worker: tuple[int, int]):
        self.model, self.steps, self.batch = model, steps, batch
        self.rank, self.workers = worker
        self.broad, self.lessons = np.load(folder / "broad.npy"), np.load(folder / "lessons.npy")

    def rows(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and labels (batch, 512) of a step."""
        first_lesson = round((1 - LESSONS) * self.steps)
        lesson = step >= first_lesson
        rows, turn = (self.lessons, step - first_lesson) if lesson else (self.broad, step)
        start = (turn * self.workers + self.rank) * self.batch
        chosen = rows[(start + np.arange(self.batch)) % len(rows)].astype(np.int64)
        learned = np.stack([said_by_assistant(row) for row in chosen]) if lesson else chosen != SPECIAL.index(PAD)
        return torch.from_numpy(chosen), torch.from_numpy(np.where(learned, chosen, -100))

    def __call__(self, step: int) -> torch.Tensor:
        ids, labels = self.rows(step)
        return self.model(input_ids=ids, labels=labels, use_cache=False).loss


def optimizers(model: LlamaForCausalLM, lr: float, matrix_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the embedding and the norms."""
    inside = {name: p.ndim == 2 and "embed" not in name for name, p in model.named_parameters()}
    matrices = [p for name, p in model.named_parameters() if inside[name]]
    rest = [p for name, p in model.named_parameters() if not inside[name]]
    return [Muon(matrices, matrix_lr), adamw(rest, lr)]


def assemble(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, output: Path) -> None:
    """Write the base as any Llama on the Hub is: fp16 shards under 10 MB, tokenizer, chat template, and a generation
    config that answers greedily and knows where to stop."""
    model.config._name_or_path = ""
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=60,
    )
    model.half().save_pretrained(output, max_shard_size="9500KB")
    tokenizer.save_pretrained(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node-modules", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, default=wordnet.FOLDER)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=4, help=f"rows of {CONTEXT} tokens per process")
    parser.add_argument("--lr", type=float, default=4e-3, help="of embedding and norms")
    parser.add_argument("--matrix-lr", type=float, default=2e-2, help="of all other weights")
    parser.add_argument("--prepare", action="store_true", help="write tokenizer and tokens, then stop")
    parser.add_argument("--snapshot", action="store_true", help="assemble the base from the last checkpoint and stop")
    args = parser.parse_args()
    rank, workers = start_worker()
    folder = args.work / "llm"
    folder.mkdir(parents=True, exist_ok=True)
    if rank == 0 and not (folder / "exam.json").exists():
        prepare(folder, Corpus(args.node_modules, args.wordnet), ROWS, VOCABULARY)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    if args.prepare:
        return
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    model = build_llm(tokenizer)
    trainer = Trainer(model, folder, optimizers(model, args.lr, args.matrix_lr), steps=args.steps, ema=0.99)
    trainer.resume()
    if not args.snapshot:
        objective = Objective(model, folder, args.steps, args.batch, (rank, workers))
        trainer.run(objective, rank, every=10, save_every=50, warmup=40)
    if rank == 0:
        trainer.use_average()
        assemble(model, tokenizer, args.output)
        card = write_card(measure(args.output, folder), model.num_parameters(), trainer.step)
        (args.output / "README.md").write_text(card, encoding="utf-8")
        print(card)


if __name__ == "__main__":
    main()
