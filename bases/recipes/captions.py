"""The sentences the bases are trained with, and their tokenizer."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from .emoji import TRAINING_STYLES, Noun

LENGTH = 24
_FORMS = (
    "a {noun}, {style}",
    "a {noun}, {style}",
    "{noun}, {style}",
    "{style} {noun}",
    "a picture of a {noun}, {style}",
    "a drawing of a {noun} in {style} style",
    "{noun} emoji, {style}",
)


def caption(noun: Noun, style: str, rng: random.Random) -> str:
    """One way to say a noun in a style; sometimes with tags, sometimes without the style."""
    text = rng.choice(_FORMS).format(noun=noun.word, style=style)
    if noun.tags and rng.random() < 0.25:
        text += ", " + ", ".join(rng.sample(noun.tags, min(len(noun.tags), rng.randint(1, 2))))
    if rng.random() < 0.08:
        text = f"a {noun.word}"
    return text


def all_sentences(nouns: Sequence[Noun], count: int = 20_000) -> list[str]:
    """Many captions, for the tokenizer."""
    rng = random.Random(0)
    return [caption(rng.choice(nouns), rng.choice(TRAINING_STYLES), rng) for _ in range(count)] + [
        f"{noun.word}, openmoji, {', '.join(noun.tags)}" for noun in nouns
    ]


def train_tokenizer(nouns: Sequence[Noun], size: int = 2048) -> CLIPTokenizer:
    """A byte-level BPE in CLIP's format: any text can be encoded, the words of the world in few tokens."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size - 258, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(all_sentences(nouns), trainer)
    state = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in state["merges"]]
    # CLIP's order: bytes, bytes that end a word, merges, then the two special tokens.
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    pieces += [a + b for a, b in merges if a + b not in set(pieces)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges, model_max_length=LENGTH)
