"""What families of language models share: reading a decoder, dialogues as tokens, batches of rows of many lengths, and
answering. Decoders are those built like Llama (Qwen, Mistral, SmolLM and kin)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bases import Base
from .data.dialogues import Turn
from .errors import LeftOut, ProblemsError
from .family import Answer, PreviewRequest, PreviewResult

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IGNORED = -100
# Stands among tokens where a picture does.
PICTURE = -1
ATTENTION = r"llm\.model\.layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj|o_proj)"
MLP = r"llm\.model\.layers\.\d+\.mlp\.(gate_proj|up_proj|down_proj)"
TEMPLATES = ("auto", "chat", "human_assistant")
_LINEARS = [f"self_attn.{name}_proj" for name in "qkvo"] + [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
# What a head may do beside its matrix; a model that has one of these is not built like Llama.
_MORE_THAN_A_HEAD = ("final_logit_softcapping", "logits_scaling", "logit_scale", "embedding_multiplier")
_AS_IT_IS = {"clean_up_tokenization_spaces": False}
_HALF_A_CHARACTER = "\ufffd"


@dataclass
class LanguageModel:
    """A decoder with its tokenizer, and the template by which a dialogue becomes text. `marker` is what stands for a
    picture in a text, where pictures are read."""

    model: Any
    tokenizer: Any
    template: str
    end: int
    marker: str = ""

    @property
    def context(self) -> int:
        """How many tokens it reads at most."""
        return int(self.model.config.max_position_embeddings)

    @property
    def ends(self) -> frozenset[int]:
        """Every token that ends an answer."""
        said = self.model.generation_config.eos_token_id
        more = said if isinstance(said, list) else [said]
        return frozenset({self.end, self.tokenizer.eos_token_id, *more} - {None})

    def save_pretrained(self, folder: Path, **_: Any) -> None:
        """A model folder with the decoder as it is, its tokenizer and its chat template."""
        # Whoever generates with it shall stop where its answers were taught to end.
        self.model.generation_config.eos_token_id = sorted(self.ends)
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def told(self, turns: Sequence[Turn], asking: bool = False) -> str:
        """The dialogue as the model reads it; `asking`: up to where its answer begins. Raises LeftOut when the template
        cannot say it."""
        import jinja2

        if self.template == "chat":
            messages = [{"role": turn.role, "content": turn.text} for turn in turns]
            try:
                return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asking))
            except (jinja2.TemplateError, ValueError, TypeError, KeyError) as error:
                raise LeftOut(f"the chat template of the base refuses it: {_first_line(error)}") from error
        names = {"user": "Human: {}\n\n", "assistant": "Assistant: {}" + self.tokenizer.eos_token + "\n\n"}
        whole = "".join(names.get(turn.role, "{}\n\n").format(turn.text) for turn in turns)
        return _beginning(self.tokenizer) + whole + ("Assistant:" if asking else "")

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """The tokens of a dialogue up to where the next answer begins. Raises ProblemsError."""
        return self._tokens(self.told(turns, True))[0]

    def _tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The tokens of a text and where in it each stands; PICTURE where it has the marker."""
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        begin = 0
        for number, piece in enumerate(text.split(self.marker) if self.marker else [text]):
            if number:
                ids.append(PICTURE)
                places.append((begin, begin + len(self.marker)))
                begin += len(self.marker)
            encoded = self.tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
            ids += encoded.input_ids
            places += [(begin + start, begin + stop) for start, stop in encoded.offset_mapping]
            begin += len(piece)
        return ids, places

    def read(self, turns: Sequence[Turn], everything: bool) -> tuple[list[int], list[int]]:
        """The tokens of a dialogue, and the label of each: itself where it is learned, else IGNORED.

        Learned are the answers, each with the token that ends it, or `everything`. Raises LeftOut for a dialogue that
        the template cannot say.
        """
        whole = self.told(turns)
        (ids, places), ends = self._tokens(whole), self.ends
        learned = [everything] * len(ids)
        for begin, stop in self._answers(turns, whole):
            inside = [i for i, (start, _) in enumerate(places) if begin <= start < stop]
            following = inside[-1] + 1 if inside else len(ids)
            ending = next((i for i in range(following, len(ids)) if ids[i] in ends), None)
            for i in [*inside, *(range(following, ending + 1) if ending is not None else ())]:
                learned[i] = True
        # What a template writes after the last end, a line break mostly, comes too late to be said.
        last = max((i for i, wanted in enumerate(learned) if wanted and ids[i] in ends), default=len(ids) - 1)
        pairs = zip(ids, learned, strict=True)
        return ids[: last + 1], [token if wanted else IGNORED for token, wanted in pairs][: last + 1]

    def _answers(self, turns: Sequence[Turn], whole: str) -> Iterator[tuple[int, int]]:
        """Where in the text each answer begins and ends."""
        done = 0
        for i, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            before = self.told(turns[:i], True)
            # Most templates only ever add to what they have said; some take back what they said of earlier turns.
            told = whole.startswith(before)
            asked = 0 if told or not i else max(0, whole.find(turns[i - 1].text, done)) + len(turns[i - 1].text)
            found = whole.find(turn.text, len(before) if told else max(done, asked))
            if found < 0:
                raise LeftOut("the chat template of the base changes the words of the answer")
            done = found + len(turn.text)
            yield len(before) if told else found, done


def read_language_model(base: Base, template: str, device: torch.device, dtype: torch.dtype) -> LanguageModel:
    """A decoder from a folder or the Hub, frozen, in eval mode; on the `meta` device its shapes only. `template` is one
    of TEMPLATES. Raises ProblemsError when it is no such decoder, or has no such template."""
    import torch
    import transformers
    from safetensors import SafetensorError

    if base.path is not None and base.path.is_file():
        raise ProblemsError(f"base {base.name} is a single file; language models are read from folders and Hub ids")
    if base.path is not None and not (base.path / "config.json").exists():
        raise ProblemsError(f"base {base.name} has no config.json, so it is no language model; choose another base")
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(base.source)
        _check_kind(base, config)
        tokenizer = transformers.AutoTokenizer.from_pretrained(base.source)
        # Masks of our own are boolean, which only this attention reads rightly.
        how: dict[str, Any] = {"attn_implementation": "sdpa"}
        if device.type == "meta":
            with torch.device("meta"):
                model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, **how)
        else:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                base.source, dtype=dtype, use_safetensors=True, **how
            ).to(device)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError, SafetensorError) as error:
        if isinstance(error, ProblemsError):
            raise
        raise ProblemsError(f"base {base.name} cannot be loaded: {_first_line(error)}") from error
    _check_layers(base, model)
    if template == "auto":
        template = "chat" if tokenizer.chat_template else "human_assistant"
    found = LanguageModel(model.requires_grad_(False).eval(), tokenizer, template, -1)
    found.end = _end(base, found)
    return found


def is_language_model(base: Base) -> bool:
    """Whether the config of a base says that it is a decoder of text."""
    try:
        kinds = base.config("")["architectures"]
        return any(str(kind).endswith("ForCausalLM") for kind in kinds)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_kind(base: Base, config: Any) -> None:
    if config.is_encoder_decoder or not hasattr(config, "max_position_embeddings"):
        raise ProblemsError(f"base {base.name} is a {config.model_type}, must be a decoder like Llama, Qwen or Mistral")
    odd = [name for name in _MORE_THAN_A_HEAD if getattr(config, name, None) not in (None, 1, 1.0)]
    if odd:
        raise ProblemsError(
            f"base {base.name} has {', '.join(odd)}, which decoders like Llama have not; choose another"
        )


def _check_layers(base: Base, model: Any) -> None:
    try:
        for name in _LINEARS:
            model.get_submodule(f"model.layers.0.{name}")
    except AttributeError:
        raise ProblemsError(
            f"base {base.name} is a {type(model).__name__} without layers like {_LINEARS[0]}; "
            "choose a decoder like Llama, Qwen, Mistral or SmolLM"
        ) from None


def _end(base: Base, language: LanguageModel) -> int:
    """The token by which the template ends an answer. Raises ProblemsError when it has none."""
    tokenizer = language.tokenizer
    if not tokenizer.is_fast:
        raise ProblemsError(f"base {base.name} has a tokenizer without tokenizer.json, which is needed; convert it")
    if tokenizer.eos_token_id is None:
        raise ProblemsError(f"base {base.name} has a tokenizer without an end token (eos_token); choose another base")
    if language.template == "human_assistant":
        return int(tokenizer.eos_token_id)
    if not tokenizer.chat_template:
        raise ProblemsError(
            f"base {base.name} has no chat template, which options.template=chat needs; "
            "set options.template=human_assistant, or choose the base's Instruct version"
        )
    marker = "zyx"
    told = language.told([Turn("user", "abc"), Turn("assistant", marker)])
    after = tokenizer(told[told.rfind(marker) + len(marker) :], add_special_tokens=False).input_ids
    special = [token for token in after if token in tokenizer.added_tokens_decoder or token in language.ends]
    if not special:
        raise ProblemsError(
            f"base {base.name} has a chat template that does not end answers with a token of its own, so that no model "
            "could learn to stop; set options.template=human_assistant"
        )
    return int(special[0])


def _beginning(tokenizer: Any) -> str:
    """What a tokenizer puts in front of a text by itself."""
    first = tokenizer("a").input_ids[:1]
    return str(tokenizer.bos_token) if tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id] else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def answer_loss(model: Any, labels: Tensor, **inputs: Any) -> Tensor:
    """Mean negative log-likelihood of every learned token. The head runs where there is one and nowhere else: with a
    large vocabulary it is a good part of a step. `inputs` go to the decoder."""
    from torch.nn.functional import cross_entropy

    if labels.is_meta:
        # Without a mask transformers looks at the positions, which have no values here.
        inputs.setdefault("attention_mask", segment_mask(labels.new_zeros(labels.shape)))
    hidden = model.model(**inputs, use_cache=False).last_hidden_state[:, :-1]
    labels = labels[:, 1:]
    if hidden.is_meta:
        # Nor can anything be picked out: count all.
        hidden, labels = hidden.flatten(0, 1), labels.flatten().clamp_min(0)
    else:
        learned = labels != IGNORED
        hidden, labels = hidden[learned], labels[learned]
    return cross_entropy(model.lm_head(hidden).float(), labels)


def row_losses(model: Any, hidden: Tensor, labels: Tensor) -> Tensor:
    """Of every row (B,) the mean negative log-likelihood of its learned tokens, from the decoder's last states."""
    from torch.nn.functional import cross_entropy

    hidden, labels = hidden[:, :-1], labels[:, 1:]
    if hidden.is_meta:
        return cross_entropy(model.lm_head(hidden).float().transpose(1, 2), labels.clamp_min(0), reduction="none").mean(
            1
        )
    learned = labels != IGNORED
    each = cross_entropy(model.lm_head(hidden[learned]).float(), labels[learned], reduction="none")
    return each.new_zeros(labels.shape).masked_scatter(learned, each).sum(1) / learned.sum(1).clamp_min(1)


def learned_tokens(tensors: Mapping[str, Tensor]) -> float:
    """How many tokens of a row are learned: those that `answer_loss` takes the mean of."""
    return float((tensors["labels"][1:] != IGNORED).sum())


def segment_mask(segments: Tensor) -> Tensor:
    """(B, 1, T, T), true where a token may look: back, within its own segment."""
    import torch

    length = segments.shape[1]
    same = segments.unsqueeze(2) == segments.unsqueeze(1)
    back = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return (same & back).unsqueeze(1)


class Answering:
    """Rows of answers to one prompt, one token at a time. `first` are the inputs of the decoder for the prompt, in
    `copies` rows; `count` are its tokens."""

    def __init__(self, language: LanguageModel, request: PreviewRequest, first: Mapping[str, Any], count: int):
        import torch

        if count >= language.context:
            raise ProblemsError(
                f"the prompt has {count} tokens, and this base reads at most {language.context} with the answer; "
                "shorten it"
            )
        self.language, self.temperature = language, request.temperature
        self.most = min(request.max_tokens, language.context - count)
        self.luck = torch.Generator().manual_seed(request.seed)
        self.inputs, self.cache = dict(first), None
        self.said: list[list[int]] = [[] for _ in range(request.copies)]
        self.answers = [Answer() for _ in range(request.copies)]

    def results(self) -> Iterator[PreviewResult]:
        """The answers after each token, until all have ended or may not go on. Must be exhausted in one thread."""
        for _ in range(self.most):
            self._step()
            yield PreviewResult(answers=tuple(self.answers))
            if all(answer.ended for answer in self.answers):
                return

    def _step(self) -> None:
        import torch

        # A mode that is left between two steps does not leak to whoever asks for them.
        with torch.inference_mode():
            out = self.language.model(
                **self.inputs, past_key_values=self.cache, use_cache=True, logits_to_keep=1, return_dict=True
            )
            self.cache = out.past_key_values
            chosen, chance = self._choose(out.logits[:, -1].float())
            self.inputs = {"input_ids": chosen.unsqueeze(1)}
        for row, (token, probability) in enumerate(zip(chosen.tolist(), chance.tolist(), strict=True)):
            if not self.answers[row].ended:
                self.answers[row] = self._longer(row, token, probability)

    def _choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The next token of each row, and the probability the model gave it."""
        import torch

        probability = logits.softmax(-1)
        if self.temperature:
            # All rows have the same luck: where they differ, the models do.
            luck = torch.rand(1, generator=self.luck).to(logits.device)
            share = (logits / self.temperature).softmax(-1).cumsum(-1)
            chosen = (share < luck * share[:, -1:]).sum(-1).clamp_max(logits.shape[-1] - 1)
        else:
            chosen = logits.argmax(-1)
        return chosen, probability.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)

    def _longer(self, row: int, token: int, probability: float) -> Answer:
        before = self.answers[row]
        if token in self.language.ends:
            return dataclasses.replace(before, ended=True)
        self.said[row].append(token)
        text = str(self.language.tokenizer.decode(self.said[row], skip_special_tokens=True, **_AS_IT_IS))
        # A character may take several tokens; until it is whole its first ones say nothing.
        text = text.rstrip(_HALF_A_CHARACTER)
        if not text.startswith(before.text):
            text = before.text
        return Answer(text, (*before.tokens, (text[len(before.text) :], round(probability, 6))), False)
