"""Family `text_llm`: LoRA on the attention and MLP of a decoder like Llama, which learns from questions and answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from . import llm_parts as llm
from . import llm_rows
from .bases import Base
from .config import knob
from .data.dialogues import Turn
from .errors import LeftOut, ProblemsError
from .family import DialogueItem, Family, Parts, PreviewRequest, PreviewResult, Target

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .data.readers import EncodedSample
    from .randomness import Randomness

TARGETS = (Target(llm.ATTENTION, "attention"), Target(llm.MLP, "MLP"))
_SCOPES = {"attention": TARGETS[:1], "mlp": TARGETS[1:], "all": TARGETS}
_PADDING = {"ids": 0, "labels": llm.IGNORED, "positions": 0, "segments": -1}


@dataclass(frozen=True)
class TextOptions:
    """What only this family has."""

    scope: str = knob(
        "all",
        "What learns. attention: what each word looks at; mlp: what the model knows; all: both.",
        choices=tuple(_SCOPES),
        advanced=False,
    )
    template: str = knob(
        "auto",
        "How question and answer are told apart. chat: by the base's own chat template; human_assistant: as "
        "“Human: …” and “Assistant: …”; auto: chat where the base has a template.",
        choices=llm.TEMPLATES,
        advanced=False,
    )
    learn: str = knob(
        "answers",
        "What is learned of a dialogue. answers: what the assistant says; all: the questions as well.",
        choices=("answers", "all"),
    )
    max_length: int = knob(512, "Longer dialogues are cut there.", low=8, high=131_072, unit="tokens", advanced=False)
    min_length: int = knob(
        1, "Dialogues whose answers are shorter in all are left out.", low=1, high=10_000, unit="characters"
    )
    packing: bool = knob(
        False, "Put several dialogues into one row, none of which reads another: faster where most are short."
    )


class TextLLM(Family):
    """The attention and MLP of a language model learn to answer as the dialogues do, and to stop."""

    name: ClassVar[str] = "text_llm"
    title: ClassVar[str] = "Language model"
    sample_type: ClassVar[str] = "instruction, (input), output"
    reads: ClassVar[str] = "dialogues"
    answers: ClassVar[bool] = True
    draws: ClassVar[int] = 1
    forms: ClassVar[tuple[str, ...]] = ("peft", "merged")
    options_class: ClassVar[type[Any]] = TextOptions

    def load(self, base: Base, device: torch.device, dtype: torch.dtype) -> Parts:
        language = llm.read_language_model(base, self.options.template, device, dtype)
        length = min(self.options.max_length, language.context)
        rest = {"pipeline": language, "length": length, "task": "CAUSAL_LM"}
        return Parts({"llm": language.model}, device, dtype, rest=rest)

    def knows(self, base: Base) -> bool:
        return llm.is_language_model(base)

    def targets(self, parts: Parts) -> list[Target]:
        return list(_SCOPES[self.options.scope])

    def groups(self, parts: Parts) -> list[Target]:
        return list(TARGETS)

    def cache_key(self, base: Base) -> str:
        return ""

    def encode(self, parts: Parts, item: DialogueItem) -> dict[str, Tensor]:
        import torch

        least = self.options.min_length
        if sum(len(turn.text) for turn in item.turns if turn.role == "assistant") < least:
            raise LeftOut(f"the answers have fewer than {least} characters (options.min_length)")
        length = parts.rest["length"]
        ids, labels = (row[:length] for row in parts.rest["pipeline"].read(item.turns, self.options.learn == "all"))
        encoded = {"ids": torch.tensor(ids), "labels": torch.tensor(labels)}
        if not llm.learned_tokens(encoded):
            raise LeftOut(f"the question alone has {length} tokens, so no word of the answer would be learned")
        return encoded

    def arrange(
        self, parts: Parts, samples: Sequence[EncodedSample], batch_size: int
    ) -> tuple[Sequence[EncodedSample], tuple[str, ...]]:
        length, language = parts.rest["length"], parts.rest["pipeline"]
        told = llm_rows.notes(language, self.options.template, [sample.tensors["ids"] for sample in samples], length)
        rows = llm_rows.pack(samples, length) if self.options.packing else samples
        return llm_rows.buckets(rows, batch_size, _PADDING), told

    def weight(self, tensors: Mapping[str, Tensor]) -> float:
        return llm.learned_tokens(tensors)

    def loss(self, parts: Parts, batch: dict[str, Tensor], draw: Randomness) -> Tensor:
        inputs = {"input_ids": batch["ids"]}
        # Rows are padded on the right, where no token of theirs looks: they need no mask. Packed ones do.
        if "segments" in batch:
            inputs["attention_mask"] = llm.segment_mask(batch["segments"])
            inputs["position_ids"] = batch["positions"]
        return llm.answer_loss(parts.model["llm"], batch["labels"], **inputs)

    def stream(self, parts: Parts, request: PreviewRequest) -> Iterator[PreviewResult]:
        import torch

        if not request.prompt.strip():
            raise ProblemsError("the prompt is empty, must be a question or an instruction")
        language = parts.rest["pipeline"]
        ids = language.prompt([Turn("user", request.prompt.strip())])
        rows = torch.tensor([ids] * request.copies, device=parts.device)
        yield from llm.Answering(language, request, {"input_ids": rows}, len(ids)).results()

    def preview(self, parts: Parts, request: PreviewRequest) -> PreviewResult:
        *_, last = self.stream(parts, request)
        return last
