"""The contract of a family: five verbs, each an arrow of upload -> samples -> tensors -> loss -> adapter -> preview."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from .config import field_problem, knob
from .data.regions import Region, read_regions
from .errors import ProblemsError, shown

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn

    from .bases import Base
    from .data.dialogues import Turn
    from .data.readers import EncodedSample
    from .randomness import Randomness


@dataclass(frozen=True)
class Target:
    """Layers that get an adapter: a regular expression over full module names (`unet.down_blocks...`), and the
    group under which a person sets their strength."""

    pattern: str
    group: str


@dataclass(frozen=True)
class Item:
    """A picture as the model will see it: `pixels` float [-1, 1] (3, H, W), already fitted to its bucket.

    `original` is the (height, width) the picture had; `corner` the (top, left) of the crop in the resized picture;
    `regions` are where `pixels` show them.
    """

    id: str
    caption: str
    pixels: Tensor
    original: tuple[int, int]
    corner: tuple[int, int] = (0, 0)
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class DialogueItem:
    """A dialogue and the pictures it speaks of, upright, mode RGB; the last turn is an answer."""

    id: str
    turns: tuple[Turn, ...]
    pictures: tuple[Image, ...] = ()


@dataclass
class Parts:
    """A loaded base. `model` maps component names to modules (`{"unet": ..., "text_encoder": ...}`); adapters are
    attached to these. `extra` maps full names to those of their submodules that are trained whole and saved with the
    adapter. `rest` is the family's own (tokenizer, scheduler, pipeline). In `figures` a loss may note what it is made
    of, numbers by name; the run tells them with the step."""

    model: dict[str, nn.Module]
    device: torch.device
    dtype: torch.dtype
    extra: dict[str, nn.Module] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class PreviewRequest:
    """What to show. `copies` identical rows are computed in one pass: the row index is the fastest-varying part of
    every batch dimension the model sees, so that whoever attached adapters may give each row its own strength.

    `regions`, a tuple of Region, and the two knobs of the layout are for families that read boxes; `max_tokens` and
    `temperature` are for those that answer, and `picture`, the bytes of a picture file, for those of them that see."""

    prompt: str = knob("", "What to show.", length=1000)
    negative_prompt: str = knob("", "What to keep away from.", length=1000)
    seed: int = knob(0, "Same seed, same noise.", low=0, high=2**32 - 1)
    steps: int = knob(25, "Denoising steps.", low=1, high=200)
    guidance: float = knob(5.0, "How strictly the prompt is followed; 1 and less: no guidance.", low=0, high=50)
    width: int = knob(0, "0: the base's own.", low=0, high=2048, unit="px")
    height: int = knob(0, "0: the base's own.", low=0, high=2048, unit="px")
    copies: int = knob(1, "Rows computed at once.", low=1, high=64)
    regions: tuple[Region, ...] = knob((), "What to show where.")
    layout_scale: float = knob(1.0, "How much the boxes count; 0: not at all.", low=0, high=4)
    layout_until: float = knob(100.0, "Share of the steps with boxes, from the first.", low=0, high=100, unit="%")
    max_tokens: int = knob(128, "An answer is cut off after so many tokens.", low=1, high=4096)
    temperature: float = knob(0.0, "0: always the likeliest word; more: freer.", low=0, high=5)
    picture: bytes = knob(b"", "The picture that is asked about.")

    def validate(self) -> PreviewRequest:
        """Return self, or raise ProblemsError with every problem at once."""
        kinds = {"str": str, "int": int, "float": float}
        found = [
            field_problem(spec.name, getattr(self, spec.name), kinds[str(spec.type)], spec.metadata)
            for spec in fields(self)
            if spec.type in kinds
        ]
        problems = [*filter(None, found), *_region_problems(self.regions)]
        if not isinstance(self.picture, bytes):
            problems.append(f"picture is {shown(self.picture)}, must be the bytes of a picture file")
        if problems:
            raise ProblemsError(problems)
        return self


def _region_problems(regions: object) -> tuple[str, ...]:
    if not isinstance(regions, tuple) or not all(isinstance(region, Region) for region in regions):
        return (f"regions are {shown(regions)}, must be a tuple of Region",)
    try:
        read_regions([region.to_dict() for region in regions], "regions")
    except ProblemsError as error:
        return error.problems
    return ()


@dataclass(frozen=True)
class Answer:
    """What a language model said so far. `tokens` are its pieces, which make up the text, each with the probability it
    was given; `ended`: the model stopped by itself."""

    text: str = ""
    tokens: tuple[tuple[str, float], ...] = ()
    ended: bool = False

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Answer:
        """The inverse of `dataclasses.asdict`, also after a way through JSON."""
        tokens = tuple((str(piece), float(probability)) for piece, probability in values["tokens"])
        return Answer(str(values["text"]), tokens, bool(values["ended"]))


@dataclass(frozen=True)
class PreviewResult:
    """One entry per copy; families that draw fill `images`, those that answer `answers`."""

    images: tuple[Image, ...] = ()
    answers: tuple[Answer, ...] = ()


class Family(ABC):
    """One kind of model that adapters attach to. Never mentions strength; never imports another family.

    `reads` names a reader of samples (data/readers.py); `answers`: a preview is text and not a picture; `draws`: over
    how many draws of noise a validation loss is averaged, 1 where the loss has no noise; `forms`: how its adapters are
    exported, the usual form first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    sample_type: ClassVar[str]
    reads: ClassVar[str] = "pictures"
    reads_regions: ClassVar[bool] = False
    answers: ClassVar[bool] = False
    draws: ClassVar[int] = 4
    forms: ClassVar[tuple[str, ...]] = ("diffusers", "kohya", "peft", "a1111", "merged")
    options_class: ClassVar[type[Any]]

    def __init__(self, options: Any):
        self.options = options

    @abstractmethod
    def load(self, base: Base, device: torch.device, dtype: torch.dtype) -> Parts:
        """Load a base, frozen, in eval mode. Raises ProblemsError when it is not a base of this family."""

    def multiple(self, base: Base) -> int | None:
        """What both sides of a training picture are a multiple of, read from the files of the base without loading
        it; None when they do not say."""
        return None

    def knows(self, base: Base) -> bool:
        """Whether the files of a base say that it is one of this family's kind."""
        return bool(self.multiple(base))

    @abstractmethod
    def targets(self, parts: Parts) -> list[Target]:
        """Where adapters go, given the options."""

    def groups(self, parts: Parts) -> list[Target]:
        """All targets of the family, whatever the options: they name the groups of an adapter made elsewhere."""
        return self.targets(parts)

    def aids(self, parts: Parts) -> dict[str, nn.Module]:
        """Modules that learn with an adapter and are thrown away when it is finished, by name: always the same ones at
        the start of a run."""
        return {}

    @abstractmethod
    def encode(self, parts: Parts, item: Any) -> dict[str, Tensor]:
        """Everything about an item (of the kind that `reads` names) that does not change while training; without batch
        dimension. Run once, cached. Raises LeftOut for one that nothing can be learned from."""

    def arrange(
        self, parts: Parts, samples: Sequence[EncodedSample], batch_size: int
    ) -> tuple[Sequence[EncodedSample], tuple[str, ...]]:
        """The rows that batches are made of, and what a person should know of them. Rows of the same `size` stand in a
        batch together, so their tensors must have the same shapes."""
        return samples, ()

    def weight(self, tensors: Mapping[str, Tensor]) -> float:
        """How much an encoded sample counts in a mean of losses."""
        return 1.0

    def release(self, parts: Parts) -> None:
        """Let go of what only `encode` and `preview` need; called before training steps. Either may bring it back."""
        return

    @property
    def marks_tokens(self) -> bool:
        """Whether `loss` says, by `marked`, at which tokens the adapter is to work while it learns; else at all."""
        return False

    @abstractmethod
    def loss(self, parts: Parts, batch: dict[str, Tensor], draw: Randomness) -> Tensor:
        """Mean loss over a batch of encoded samples, each as heavy as its `weight`; every random choice comes from
        `draw`, one row per sample."""

    @abstractmethod
    def preview(self, parts: Parts, request: PreviewRequest) -> PreviewResult:
        """Compute the request's copies in one pass."""

    def stream(self, parts: Parts, request: PreviewRequest) -> Iterator[PreviewResult]:
        """The same as it comes into being; the last result is that of `preview`."""
        yield self.preview(parts, request)

    @abstractmethod
    def cache_key(self, base: Base) -> str:
        """A string that changes whenever `encode` would give something else for the same sample; empty when encoding
        is so quick that nothing need be kept."""
