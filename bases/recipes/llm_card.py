"""The model card of `emoji-llm`, with the figures just measured."""

from __future__ import annotations

from collections.abc import Mapping

_CARD = """\
---
license: other
license_name: wordnet-3.0
library_name: transformers
pipeline_tag: text-generation
language: en
---
# emoji-llm

A small language model that knows what everyday things are: what LoRA Web trains text adapters on, and grows VoRA
from, when there is no GPU and no network. A stock `LlamaForCausalLM` of {parameters:.1f} M parameters (8 blocks,
width 256, one matrix for both ends of a vocabulary of 6,144 byte-level tokens, context 512), fp16, with a chat
template.

It answers `What is a fox?`, `What kind of thing is a fox?`, `Is a fox an animal?`, `Which emoji shows a fox?`, and
questions about a picture that the asker describes. Of a picture that nobody described it says that there is none.

## How good it is

Figures of `python -m benchmarks.llm_quality`, greedy answers, shares in percent. "Sensible": at least half of the
content words of the true definition. "Stops": ends by itself within 60 tokens.

| asked about | exact | sensible | stops |
|---|---|---|---|
{asked}

| text never seen in training | perplexity per token |
|---|---|
{perplexity}

It had {steps} steps of its recipe. Of nouns it was never told about it makes definitions up; its English is that of a
dictionary. It is a thing to train on, not a source of knowledge.

## Made from

WordNet 3.0 (glosses, kinds and example sentences; unkind words left out), some 85 definitions of our own where
WordNet's is not in plain words, and names and tags of emoji from emojibase. Recipe: `bases/recipes/`.

## License

WordNet 3.0 Copyright 2006 by Princeton University; its license allows use and change for any purpose and wants its
notice kept. emojibase is MIT, Copyright (c) 2017-2019 Miles Johnson. Both texts are in `THIRD_PARTY.md`.
"""


def write_card(scores: Mapping[str, Mapping], parameters: int, steps: int) -> str:
    """The card as Markdown; `scores` as `benchmarks.llm_quality.measure` gives them."""
    asked = "\n".join(
        f"| {name} | " + " | ".join(f"{100 * shares[key]:.0f}" for key in ("exact", "sensible", "stops")) + " |"
        for name, shares in scores["asked"].items()
    )
    perplexity = "\n".join(f"| {name} | {value:.1f} |" for name, value in scores["perplexity"].items())
    return _CARD.format(parameters=parameters / 1e6, steps=steps, asked=asked, perplexity=perplexity)
