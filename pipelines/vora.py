"""Family `vora`: a language model learns to see (Vision as LoRA, Wang et al. 2025, arXiv 2503.20680).

A vision embedding puts the patches of a picture among its words, LoRA on its first blocks makes sense of them, and a
vision transformer may teach each of these blocks; when training is over it is not needed any more.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from . import llm_parts as llm
from . import llm_rows
from . import vision_parts as vision
from .bases import TEACHERS, Base
from .config import knob
from .data.dialogues import PICTURE, Turn
from .errors import LeftOut, ProblemsError
from .family import DialogueItem, Family, Parts, PreviewRequest, PreviewResult, Target
from .randomness import derive

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn

    from .data.readers import EncodedSample
    from .nets.vision_embedding import VisionEmbedding
    from .randomness import Randomness

_GROUPS = (
    Target(llm.ATTENTION, "attention"),
    Target(llm.MLP, "MLP"),
    Target(r"vision\..*", "vision embedding"),
)
_QUESTION = "What is this?"
# Options that change nothing in what is encoded.
_OF_TRAINING = ("distillation", "images_alone", "mixed", "keep_teacher")


@dataclass(frozen=True)
class VoraOptions:
    """What only this family has."""

    teacher: str = knob(
        TEACHERS[0],
        "A vision transformer whose blocks it learns from besides the answers: the bundled emoji-vit, which knows "
        "drawings of emoji, a folder or a Hub id. Empty: from the answers alone.",
        advanced=False,
        model=True,
    )
    distillation: float = knob(1.0, "How much the teacher counts beside the answers.", low=0, high=100)
    blocks: int = knob(
        0,
        "How many blocks, from the first, get adapters. 0: as many as the teacher has, without one all.",
        low=0,
        high=512,
    )
    size: int = knob(
        64, "Pictures are read at this side, the whole picture on a black square.", low=16, high=2048, unit="px"
    )
    patch: int = knob(16, "One token for so many pixels a side: smaller sees more and takes longer.", low=2, high=64)
    max_length: int = knob(
        1024, "Longer dialogues, with their pictures, are cut there.", low=8, high=131_072, unit="tokens"
    )
    images_alone: float = knob(
        0.0,
        "In this share of the rows the adapter learns to work at image tokens alone, so that it is of use there too "
        "and text without a picture may stay the base's.",
        low=0,
        high=1,
    )
    mixed: bool = knob(
        True,
        "Dialogues without a picture stand in batches with pictures: steadier. Off: in their own, which is faster.",
    )
    keep_teacher: bool = knob(
        False, "Ask the teacher in every step instead of keeping what it said of each picture: slower, less memory."
    )
    template: str = knob(
        "auto",
        "How question and answer are told apart. chat: by the base's own chat template; human_assistant: as "
        "“Human: …” and “Assistant: …”; auto: chat where the base has a template.",
        choices=llm.TEMPLATES,
    )


@dataclass
class Seeing:
    """A language model and the vision embedding beside it, as one base."""

    language: llm.LanguageModel
    vision: VisionEmbedding

    def save_pretrained(self, folder: Path, **_: Any) -> None:
        """A model folder that any program reads as a language model, and this family as one that sees."""
        self.language.save_pretrained(folder)
        vision.write_vision_embedding(self.vision, folder)


class Vora(Family):
    """LoRA on every linear layer of the first blocks of a language model, and a vision embedding trained whole."""

    name: ClassVar[str] = "vora"
    title: ClassVar[str] = "VoRA"
    sample_type: ClassVar[str] = "picture + dialogue"
    reads: ClassVar[str] = "pictures with dialogues"
    answers: ClassVar[bool] = True
    draws: ClassVar[int] = 1
    forms: ClassVar[tuple[str, ...]] = ("diffusers", "merged")
    options_class: ClassVar[type[Any]] = VoraOptions

    def load(self, base: Base, device: torch.device, dtype: torch.dtype) -> Parts:
        options = self.options
        if options.size % options.patch:
            raise ProblemsError(f"options.size is {options.size}, must be a multiple of options.patch, {options.patch}")
        language = llm.read_language_model(base, options.template, device, dtype)
        language.marker = PICTURE
        words = language.model.get_input_embeddings().weight
        net = vision.read_vision_embedding(base, (options.size, options.patch), words, device)
        length = min(options.max_length, language.context)
        if net.tokens >= length:
            raise ProblemsError(
                f"a picture takes {net.tokens} tokens, and rows have at most {length}, of {language.context} that this "
                "base reads; raise options.max_length or options.patch, or lower options.size"
            )
        return Parts(
            model={"llm": language.model, "vision": net},
            extra={"vision": net},
            device=device,
            dtype=dtype,
            rest={"pipeline": Seeing(language, net), "length": length},
        )

    def knows(self, base: Base) -> bool:
        return llm.is_language_model(base)

    def targets(self, parts: Parts) -> list[Target]:
        first = "(" + "|".join(map(str, range(self._blocks(parts)))) + ")"
        return [Target(each.pattern.replace(r"\d+", first), each.group) for each in _GROUPS[:2]]

    def groups(self, parts: Parts) -> list[Target]:
        return list(_GROUPS)

    @property
    def _taught(self) -> bool:
        return bool(self.options.teacher) and self.options.distillation > 0

    def _blocks(self, parts: Parts) -> int:
        there = len(parts.model["llm"].model.layers)
        wanted = self.options.blocks or (self._shape(parts).blocks if self._taught else there)
        return min(wanted, there)

    def _shape(self, parts: Parts) -> vision.TeacherShape:
        if "shape" not in parts.rest:
            parts.rest["shape"] = vision.teacher_shape(vision.find_teacher(self.options.teacher))
        found: vision.TeacherShape = parts.rest["shape"]
        return found

    def aids(self, parts: Parts) -> dict[str, nn.Module]:
        from .nets.vision_embedding import DistillHeads

        if not self._taught:
            return {}
        hidden = parts.model["llm"].config.hidden_size
        heads = DistillHeads(self._blocks(parts), hidden, self._shape(parts).width).to(parts.device)
        if parts.device.type != "meta":
            heads.start(derive("distillation heads"))
        parts.rest["heads"] = heads
        return {"heads": heads}

    def cache_key(self, base: Base) -> str:
        if not self._taught or self.options.keep_teacher:
            return ""
        told = {name: value for name, value in vars(self.options).items() if name not in _OF_TRAINING}
        return json.dumps([self.name, base.fingerprint, vision.find_teacher(self.options.teacher).fingerprint, told])

    def encode(self, parts: Parts, item: DialogueItem) -> dict[str, Tensor]:
        import torch

        language, length = parts.rest["pipeline"].language, parts.rest["length"]
        ids, labels = language.read(item.turns, False)
        ids, labels, image = _spread(ids, labels, parts.model["vision"].tokens)
        if max(image, default=-1) + 1 != len(item.pictures):
            raise LeftOut(f"speaks of {max(image, default=-1) + 1} pictures and has {len(item.pictures)}")
        encoded = {"ids": ids[:length], "labels": labels[:length], "image": image[:length]}
        tensors = {name: torch.tensor(values) for name, values in encoded.items()}
        if not llm.learned_tokens(tensors):
            raise LeftOut(f"the question and its pictures alone have {length} tokens, so no word would be learned")
        tensors["pixels"] = _pixels(item.pictures, parts.model["vision"].size)
        if self._taught and not self.options.keep_teacher:
            tensors["taught"] = self._lesson(parts, tensors["pixels"]).to(torch.bfloat16)
        return tensors

    def _lesson(self, parts: Parts, pixels: Tensor) -> Tensor:
        """What the teacher says of pictures (N, 3, S, S), for each of our blocks: (N, blocks, tokens, width)."""
        import torch

        from .objectives.distillation import layer_map

        net, shape, blocks = parts.model["vision"], self._shape(parts), self._blocks(parts)
        if parts.device.type == "meta" or not len(pixels):
            return torch.empty(len(pixels), blocks, net.tokens, shape.width, device=parts.device)
        if "teacher" not in parts.rest:
            found = vision.find_teacher(self.options.teacher)
            parts.rest["teacher"] = vision.Teacher(found, (net.size, net.size // net.grid), parts.device, parts.dtype)
        told: Tensor = parts.rest["teacher"].states(_as_floats(pixels))[:, layer_map(blocks, shape.blocks)]
        return told

    def arrange(
        self, parts: Parts, samples: Sequence[EncodedSample], batch_size: int
    ) -> tuple[Sequence[EncodedSample], tuple[str, ...]]:
        length, language = parts.rest["length"], parts.rest["pipeline"].language
        told = llm_rows.notes(language, self.options.template, [sample.tensors["ids"] for sample in samples], length)
        return _arranged(samples, batch_size, self.options.mixed), told

    def release(self, parts: Parts) -> None:
        if not self.options.keep_teacher:
            parts.rest.pop("teacher", None)

    def loss(self, parts: Parts, batch: dict[str, Tensor], draw: Randomness) -> Tensor:
        """The mean over rows of what each has: the mean loss of its answers' tokens, and the mean over its picture's
        tokens of how far they are from the teacher. Without gradients, where it is measured and not learned from, it is
        that of the answers alone."""
        import torch

        from .adapters.marks import marked

        model = parts.model["llm"]
        taught = "heads" in parts.rest and torch.is_grad_enabled()
        with marked(self._working(batch["image"] >= 0, draw)):
            out = model.model(**_inputs(parts, batch), use_cache=False, output_hidden_states=taught)
        answers = llm.row_losses(model, out.last_hidden_state, batch["labels"]).mean()
        if not taught or not batch["pixels"].shape[1]:
            parts.figures = {"answers": answers.detach()}
            return answers
        apart = self._apart(parts, out.hidden_states[1:], batch)
        parts.figures = {"answers": answers.detach(), "distillation": apart.detach().mean()}
        parts.figures |= {f"block {number}": each for number, each in enumerate(apart.detach(), 1)}
        # A row without a picture has nothing to be apart from.
        share = (batch["image"] >= 0).any(1).float().mean()
        return answers + self.options.distillation * share * apart.mean()

    @property
    def marks_tokens(self) -> bool:
        return bool(self.options.images_alone > 0)

    def _working(self, image: Tensor, draw: Randomness) -> Tensor:
        """The tokens (B, T) at which the adapter is to work: those of images in some rows, in the others all. Without
        an image there is nothing that it could work at alone."""
        if not self.marks_tokens:
            return image
        alone = (draw.uniform("images alone") < self.options.images_alone).to(image.device)
        return image | ~(alone & image.any(1))[:, None]

    def _apart(self, parts: Parts, states: Sequence[Tensor], batch: dict[str, Tensor]) -> Tensor:
        """How far each block is from what the teacher says there (blocks,): the mean over rows with pictures."""
        import torch

        from .nets.spliced import at, places
        from .objectives.distillation import cosine_loss

        image, pixels, heads = batch["image"], batch["pixels"], parts.rest["heads"]
        found, there = places(image, pixels.shape[1] * parts.model["vision"].tokens)
        taught = batch.get("taught")
        if taught is None:
            taught = self._lesson(parts, pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        said = heads([at(each, found) for each in states[: len(heads)]])
        rows = [cosine_loss(each, taught[:, :, i].flatten(1, 2), there) for i, each in enumerate(said)]
        return torch.stack(rows).sum(1) / there.any(1).sum().clamp_min(1)

    def stream(self, parts: Parts, request: PreviewRequest) -> Iterator[PreviewResult]:
        import torch

        from .adapters.marks import marked
        from .data.pictures import open_picture

        asked = request.prompt.replace(PICTURE, " ").strip()
        if not asked and not request.picture:
            raise ProblemsError("the prompt is empty and there is no picture; ask something, or show one")
        pictures = [open_picture(request.picture, "the picture")] if request.picture else []
        language, net = parts.rest["pipeline"].language, parts.model["vision"]
        turn = Turn("user", "\n".join([PICTURE] * len(pictures) + [asked or _QUESTION]))
        prompt = language.prompt([turn])
        ids, _, image = _spread(prompt, prompt, net.tokens)
        values = {"ids": torch.tensor(ids), "image": torch.tensor(image), "pixels": _pixels(pictures, net.size)}
        batch = {name: torch.stack([value] * request.copies).to(parts.device) for name, value in values.items()}
        with torch.inference_mode():
            first = _inputs(parts, batch)
        results = llm.Answering(language, request, first, len(ids)).results()
        # After the first step only words come.
        with marked(batch["image"] >= 0):
            result = next(results)
        yield result
        yield from results

    def preview(self, parts: Parts, request: PreviewRequest) -> PreviewResult:
        *_, last = self.stream(parts, request)
        return last


def _spread(ids: Sequence[int], labels: Sequence[int], tokens: int) -> tuple[list[int], list[int], list[int]]:
    """Ids, labels, and the picture of each token, with as many places for each picture as it has tokens."""
    from .nets.spliced import WORD

    spread: tuple[list[int], list[int], list[int]] = ([], [], [])
    seen = 0
    for token, label in zip(ids, labels, strict=True):
        picture = token == llm.PICTURE
        for column, value in zip(spread, (0, llm.IGNORED, seen) if picture else (token, label, WORD), strict=True):
            column.extend([value] * (tokens if picture else 1))
        seen += picture
    return spread


def _pixels(pictures: Sequence[Image], size: int) -> Tensor:
    """The whole of each picture on a black square (N, 3, size, size), uint8."""
    import numpy as np
    import torch
    from PIL import ImageOps
    from PIL.Image import Resampling

    squares = [ImageOps.pad(picture, (size, size), Resampling.LANCZOS, color="black") for picture in pictures]
    rows = [torch.from_numpy(np.array(square)).permute(2, 0, 1) for square in squares]
    return torch.stack(rows) if rows else torch.zeros(0, 3, size, size, dtype=torch.uint8)


def _as_floats(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1


def _inputs(parts: Parts, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the decoder is given for rows of words and pictures."""
    from .nets.spliced import attention_mask, see, splice

    if not batch["pixels"].shape[1]:
        # Padding stands on the right, where no word looks.
        return {"input_ids": batch["ids"]}
    words = parts.model["llm"].get_input_embeddings()(batch["ids"])
    vectors = see(parts.model["vision"], _as_floats(batch["pixels"]))
    mask = attention_mask(batch["image"], words.dtype)
    return {"inputs_embeds": splice(words, batch["image"], vectors), "attention_mask": mask}


def _arranged(samples: Sequence[EncodedSample], batch_size: int, mixed: bool) -> list[EncodedSample]:
    """Rows of a few lengths, each with room for as many pictures as the others of its length have. With `mixed`, rows
    without a picture are spread over those with one, in places long enough for them."""
    from .nets.spliced import PADDING

    padding = {"ids": 0, "labels": llm.IGNORED, "image": PADDING}
    whole = {sample.id: sample for sample in samples}
    words = [dataclasses.replace(one, tensors={name: one.tensors[name] for name in padding}) for one in samples]
    seeing = [row for row in words if len(whole[row.id].tensors["pixels"])]
    others = [row for row in words if not len(whole[row.id].tensors["pixels"])]
    rows = llm_rows.buckets(seeing, batch_size, padding) if seeing else []
    if mixed and rows:
        longest = rows[-1].size[0]
        fitting = [row for row in others if len(row.tensors["ids"]) <= longest]
        others = [row for row in others if len(row.tensors["ids"]) > longest]
        lengths = [rows[number * len(rows) // len(fitting)].size[0] for number in range(len(fitting))]
        # Theirs is the place that falls to them, or where that is too short the longest.
        rows += [
            llm_rows.padded(row, length if len(row.tensors["ids"]) <= length else longest, padding)
            for row, length in zip(fitting, lengths, strict=True)
        ]
    rows = [*rows, *(llm_rows.buckets(others, batch_size, padding) if others else ())]
    room: dict[tuple[int, int], int] = {}
    for row in rows:
        room[row.size] = max(room.get(row.size, 0), len(whole[row.id].tensors["pixels"]))

    def seen(row: EncodedSample, tensors: dict[str, Tensor] | None) -> Any:
        # The words stand where they stand, however the picture is turned.
        return tensors and row.tensors | _heavy(tensors, room[row.size])

    return [
        dataclasses.replace(row, tensors=seen(row, whole[row.id].tensors), mirrored=seen(row, whole[row.id].mirrored))
        for row in rows
    ]


def _heavy(tensors: dict[str, Tensor], room: int) -> dict[str, Tensor]:
    """What a row has for each of its pictures, with zeros where it has fewer than there is room for."""
    import torch

    found: dict[str, Tensor] = {}
    for name in ("pixels", "taught"):
        if name not in tensors:
            continue
        value = tensors[name]
        # Of what is not there one zero is kept, however large it would be.
        empty = torch.zeros((), dtype=value.dtype).expand(room - len(value), *value.shape[1:])
        found[name] = torch.cat([value, empty]) if len(value) else empty
    return found
