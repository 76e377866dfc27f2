"""Tokenizer and chat template of `emoji-llm`: a byte-level BPE that begins every text with <|bos|> and ends every turn
with <|end|>, which is also what stops an answer. Padding has a token of its own, so that no one masks the end with it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .sentences import Dialogue

PAD, BOS, END, SYSTEM, USER, ASSISTANT = SPECIAL = (
    "<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
)  # fmt: skip
CONTEXT = 512
# `generation` marks what a model says, so that `return_assistant_tokens_mask` gives the tokens to learn.
TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
  {%- if message.role not in ["system", "user", "assistant"] -%}
    {{- raise_exception("role is " + message.role + ", must be system, user or assistant") -}}
  {%- endif -%}
  {{- "<|" + message.role + "|>" -}}
  {%- if message.role == "assistant" -%}
    {%- generation -%}{{- message.content + eos_token -}}{%- endgeneration -%}
  {%- else -%}
    {{- message.content + eos_token -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- "<|assistant|>" -}}
{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `size` tokens: any text comes back as it went in, words of `texts` take few tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, SPECIAL.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        chat_template=TEMPLATE,
        model_max_length=CONTEXT,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def render(tokenizer: PreTrainedTokenizerFast, document: str | Dialogue) -> str:
    """A document as the model reads it, special tokens included."""
    if isinstance(document, str):
        return BOS + document + END
    return str(tokenizer.apply_chat_template(document, tokenize=False))


def said_by_assistant(ids: np.ndarray) -> np.ndarray:
    """Which of the tokens (n,) of rendered dialogues the model has to say itself: answers with their ends."""
    opens = np.isin(ids, [SPECIAL.index(token) for token in (PAD, BOS, SYSTEM, USER, ASSISTANT)])
    last = np.maximum.accumulate(np.where(opens, np.arange(len(ids)), 0))
    return (ids[last] == SPECIAL.index(ASSISTANT)) & ~opens
