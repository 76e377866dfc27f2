"""How good the bundled language model is: does it know what the things it was told about are, does it stop by itself,
and how well does it read text that it never saw.

python -m benchmarks.llm_quality --work DIR [--base bases/emoji-llm] [--answers answers.txt]

`DIR` is the folder the recipe worked in; its `llm/exam.json` holds the questions with their true answers.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

FOLDER = Path(__file__).parents[1] / "bases" / "emoji-llm"
LIMIT = 60  # tokens of an answer
_BATCH = 32
_COMMON = re.compile(
    r"the|and|that|with|which|any|various|has|have|having|its|for|from|who|one|are|was|used|"
    r"usually|into|other|than|more|very|being|but|not|his|her|their|over|such|can|may"
)


@dataclass(frozen=True)
class Reply:
    """What the model said, and whether it stopped by itself."""

    text: str
    ended: bool


def content_words(text: str, word: str = "") -> set[str]:
    """The words of a sentence that carry its meaning, without the word that is defined."""
    asked = set(re.findall(r"[a-z]+", word.lower()))
    return {one for one in re.findall(r"[a-z]{3,}", text.lower()) if not _COMMON.fullmatch(one) and one not in asked}


def is_sensible(reply: str, truth: str, word: str) -> bool:
    """Whether a reply has at least half of the content words of the true answer."""
    wanted = content_words(truth, word)
    return 2 * len(wanted & content_words(reply, word)) >= len(wanted)


class Model:
    """A base with its tokenizer, asked greedily in fp32."""

    def __init__(self, base: Path):
        self.tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()

    @torch.inference_mode()
    def ask(self, questions: Sequence[str]) -> list[Reply]:
        """One reply to each question, none knowing of the others."""
        replies = []
        for start in range(0, len(questions), _BATCH):
            messages = [[{"role": "user", "content": question}] for question in questions[start : start + _BATCH]]
            inputs = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
            )
            ids = self.model.generate(**inputs, max_new_tokens=LIMIT, do_sample=False)[
                :, inputs["input_ids"].shape[1] :
            ]
            ended = (ids == self.tokenizer.eos_token_id).any(1).tolist()
            texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
            replies += [Reply(text.strip(), end) for text, end in zip(texts, ended, strict=True)]
        return replies

    @torch.inference_mode()
    def perplexity(self, texts: Sequence[str]) -> float:
        """Per token over rendered texts, all tokens but the first counted alike."""
        total, tokens = 0.0, 0
        for text in texts:
            ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
            total += self.model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
            tokens += ids.shape[1] - 1
        return math.exp(total / tokens)


def measure(base: Path, folder: Path, answers: Path | None = None) -> dict[str, Any]:
    """Shares in [0, 1] per group of things and way of asking, and the perplexity of each kind of text held out."""
    exam = json.loads((folder / "exam.json").read_text(encoding="utf-8"))
    model = Model(base)
    asked: dict[str, dict[str, float]] = {}
    lines = []
    for group in dict.fromkeys(one["group"] for one in exam["questions"]):
        things = [one for one in exam["questions"] if one["group"] == group]
        for place, way in enumerate(("as in training", "in words never used there")):
            replies = model.ask([one["asked"][place] for one in things])
            pairs = list(zip(replies, things, strict=True))
            asked[f"{group}, asked {way}"] = {
                "exact": sum(reply.text == one["answer"] for reply, one in pairs) / len(pairs),
                "sensible": sum(is_sensible(reply.text, one["answer"], one["word"]) for reply, one in pairs)
                / len(pairs),
                "stops": sum(reply.ended for reply in replies) / len(pairs),
            }
            lines += [f"{one['asked'][place]}\n  {reply.text}\n  {one['answer']}" for reply, one in pairs]
    if answers:
        answers.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"asked": asked, "perplexity": {name: model.perplexity(texts) for name, texts in exam["texts"].items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=FOLDER)
    parser.add_argument("--answers", type=Path, help="also write every question, reply and true answer")
    args = parser.parse_args()
    scores = measure(args.base, args.work / "llm", args.answers)
    for name, shares in scores["asked"].items():
        print(name)
        print("  " + "  ".join(f"{key} {share:6.1%}" for key, share in shares.items()))
    for name, value in scores["perplexity"].items():
        print(f"perplexity of {name}: {value:.1f}")


if __name__ == "__main__":
    main()
