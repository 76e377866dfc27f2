"""RunConfig and its parts: the one object from button to bytes.

Every field is declared with `knob(...)`, whose metadata carries help, unit and bounds. Validation, the page's form,
the command line's `--set` and the documentation are derived from it, so a new knob is one line.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .bases import bundled_base
from .errors import Problem, ProblemsError, shown

FORMAT_VERSION = 1
MAX_TEXT = 2000


def knob(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str = "",
    advanced: bool = True,
    label: str = "",
    length: int = MAX_TEXT,
    model: bool = False,
    reads: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with what a person needs to set it.

    `low` and `high` are inclusive; `choices` are the only values allowed; `length` bounds a text's characters;
    `advanced` fields are folded away on the page; a `model` is named as a base is; `reads` are the kinds of samples it
    is for, as families name them, empty: all.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "low": low,
            "high": high,
            "choices": choices,
            "unit": unit,
            "advanced": advanced,
            "label": label,
            "length": length,
            "model": model,
            "reads": reads,
        },
    )


_PICTURES = ("pictures",)
_CAPTIONED = (*_PICTURES, "pictures with dialogues")


@dataclass(frozen=True)
class DataConfig:
    """Where the samples are and how they are read."""

    path: str = knob("", "Folder, zip file or list of files with the training samples.", advanced=False)
    resolution: int = knob(
        128,
        "Side of a square training picture; others get the same area.",
        low=64,
        high=2048,
        unit="px",
        reads=_PICTURES,
    )
    buckets: bool = knob(
        True, "Group pictures by aspect ratio instead of cropping all of them to squares.", reads=_PICTURES
    )
    caption: str = knob("", "One caption for every sample that has none of its own.", advanced=False, reads=_CAPTIONED)
    trigger_word: str = knob(
        "",
        "A word put in front of every caption; use it in prompts to call the adapter.",
        advanced=False,
        length=100,
        reads=_CAPTIONED,
    )
    captions_from_names: bool = knob(
        True, "A sample without a caption takes the words of its file name.", reads=_CAPTIONED
    )
    flip: bool = knob(False, "Also train on mirrored pictures. Not for faces or lettering.", reads=_CAPTIONED)
    validation_percent: float = knob(
        0.0, "Share of samples held out to measure validation loss.", low=0, high=50, unit="%"
    )


@dataclass(frozen=True)
class AdapterConfig:
    """What kind of adapter is attached. Scale is alpha / rank (rsLoRA: alpha / sqrt(rank))."""

    variant: str = knob("lora", "How the update is parameterized.", choices=("lora", "rslora"))
    rank: int = knob(
        8, "Width of the update: more can learn more and makes a larger file.", low=1, high=512, advanced=False
    )
    alpha: float = knob(8.0, "Scale of the update; alpha = rank is neutral.", low=0.001, high=4096)
    dropout: float = knob(0.0, "Share of the adapter's inputs dropped while training.", low=0, high=0.9)


@dataclass(frozen=True)
class TrainConfig:
    """How long and how the adapter is trained."""

    steps: int = knob(200, "Optimizer steps.", low=1, high=1_000_000, advanced=False)
    batch_size: int = knob(4, "Samples in a batch, over all processes.", low=1, high=1024, advanced=False)
    accumulation: int = knob(1, "Batches whose gradients are added up before each step.", low=1, high=256)
    learning_rate: float = knob(3e-3, "Peak step size of the optimizer.", low=1e-8, high=1.0, advanced=False)
    schedule: str = knob(
        "cosine", "How the learning rate falls after warm-up.", choices=("constant", "linear", "cosine")
    )
    warmup: int = knob(10, "Steps over which the learning rate rises from zero.", low=0, high=100_000, unit="steps")
    weight_decay: float = knob(0.0, "AdamW weight decay.", low=0, high=1)
    clip_norm: float = knob(1.0, "Gradients longer than this are shortened to it; 0 turns it off.", low=0, high=1000)
    ema: float = knob(
        0.95,
        "Decay of the moving average that is saved in place of the last weights; 0 turns it off.",
        low=0,
        high=0.99999,
    )
    seed: int = knob(0, "Same seed, same data, same settings: same adapter.", low=0, high=2**32 - 1)
    precision: str = knob(
        "auto",
        "Number format of the frozen base. auto: bf16 where the device computes it natively, else fp32.",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    device: str = knob("auto", "auto: the first GPU, else the CPU.", choices=("auto", "cpu", "cuda", "mps"))
    gradient_checkpointing: bool = knob(False, "Compute activations twice to hold fewer of them: slower, less memory.")
    checkpoint_every: int = knob(50, "Steps between checkpoints.", low=1, high=100_000, unit="steps")
    keep_checkpoints: int = knob(2, "How many checkpoints are kept.", low=1, high=100)
    validate_every: int = knob(50, "Steps between validation losses.", low=1, high=100_000, unit="steps")
    preview_every: int = knob(
        0, "Steps between preview pictures while training; 0 turns them off.", low=0, high=100_000, unit="steps"
    )
    preview_prompt: str = knob("", "Prompt of those preview pictures; empty: the first caption.")


@dataclass(frozen=True)
class RunConfig:
    """All that a run is: the same config and samples give the same adapter."""

    family: str = knob("stable_diffusion", "Which family of models.", length=64)
    base: str = knob(
        "", "Name of a bundled base, a folder, a single-file checkpoint, or a Hub id. Empty: the family's bundled base."
    )
    data: DataConfig = field(default_factory=DataConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    options: Any = None

    def __post_init__(self) -> None:
        if self.options is None:
            from .registry import options_class

            object.__setattr__(self, "options", options_class(self.family)())
        if self.base == "":
            object.__setattr__(self, "base", bundled_base(self.family))

    def problems(self) -> list[str]:
        """Every problem in every field, as sentences that begin with the dotted name of the field."""
        from .registry import FAMILIES, options_class

        found = _problems(self, "")
        if isinstance(self.family, str) and self.family not in FAMILIES:
            found.append(_no_family(self.family))
        elif isinstance(self.family, str) and not isinstance(self.options, options_class(self.family)):
            found.append(f"options is {shown(self.options)}, must be {options_class(self.family).__name__}")
        if self.base == "":
            found.append(f"base is empty, must name one: family {shown(self.family)} has none that is bundled")
        if not found:
            if not self.data.path:
                found.append("data.path is empty, must name a folder, zip file or picture")
            if self.data.resolution % 8:
                found.append(Problem("multiple", name="data.resolution", got=self.data.resolution, limit=8))
        return found

    def validate(self) -> RunConfig:
        """Return self, or raise ProblemsError with every problem at once."""
        found = self.problems()
        if found:
            raise ProblemsError(found)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"version": FORMAT_VERSION, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_dict(values: Any) -> RunConfig:
        """The inverse of `to_dict`; unknown names and wrong types are problems, missing ones take defaults."""
        from .registry import FAMILIES, options_class

        if not isinstance(values, dict):
            raise ProblemsError(f"the run config is {type(values).__name__}, must be a JSON object")
        values = dict(values)
        version = values.pop("version", FORMAT_VERSION)
        found: list[str] = []
        if version != FORMAT_VERSION:
            found.append(f"version is {shown(version)}, this program reads {FORMAT_VERSION}")
        family = values.get("family", "stable_diffusion")
        if not isinstance(family, str) or family not in FAMILIES:
            raise ProblemsError([*found, _no_family(family)])
        parts = {"data": DataConfig, "adapter": AdapterConfig, "train": TrainConfig, "options": options_class(family)}
        arguments: dict[str, Any] = {}
        for name, value in values.items():
            if name in parts:
                arguments[name] = _build(parts[name], value, name, found)
            elif name in ("family", "base"):
                arguments[name] = value
            else:
                found.append(Problem("unknown", name=name, known=f"settings are family, base, {', '.join(parts)}"))
        config = RunConfig(**arguments)
        found.extend(_problems(config, ""))
        if found:
            raise ProblemsError(found)
        return config

    @staticmethod
    def load(path: str | Path) -> RunConfig:
        """Read a run.json."""
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ProblemsError(f"{path.name} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ProblemsError(f"{path.name} is not JSON: {error}") from error
        return RunConfig.from_dict(values)


def with_settings(config: RunConfig, settings: dict[str, str]) -> RunConfig:
    """Apply `--set train.steps=200` style settings; text is read as the type of the field."""
    values = config.to_dict()
    found: list[str] = []
    for dotted, text in settings.items():
        part, _, name = dotted.rpartition(".")
        owner = values.get(part) if part else values
        if not isinstance(owner, dict) or name not in owner or name == "version":
            found.append(Problem("unknown", name=dotted, known="settings look like train.steps or adapter.rank"))
            continue
        owner[name] = _read_text(text, owner[name])
    try:
        changed = RunConfig.from_dict(values)
    except ProblemsError as error:
        raise ProblemsError([*found, *error.problems]) from None
    if found:
        raise ProblemsError(found)
    return changed


def with_values(config: RunConfig, values: typing.Mapping[str, Any]) -> RunConfig:
    """The config with these dotted settings in it, whose values have their types already."""
    tree = config.to_dict()
    for dotted, value in values.items():
        part, _, name = dotted.rpartition(".")
        (tree[part] if part else tree)[name] = value
    return RunConfig.from_dict(tree)


def settings_of(config: RunConfig) -> dict[str, str]:
    """What is not at its default, as text: the inverse of `with_settings` over `RunConfig(family=config.family)`."""
    plain, values = leaves(RunConfig(family=config.family)), leaves(config)
    return {name: _to_text(value) for name, value in values.items() if value != plain[name]}


def leaves(config: RunConfig) -> dict[str, Any]:
    """Every setting by its dotted name, in order of declaration."""
    found: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        found |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return found


def command_line(config: RunConfig, output: str) -> str:
    """The line that starts this run in a POSIX shell."""
    chosen = {"family": config.family, "base": config.base, "data.path": config.data.path} | settings_of(config)
    words = ["python", "-m", "pipelines", "train"]
    for option, name in (("--family", "family"), ("--base", "base"), ("--data", "data.path")):
        # In one word: the value may begin with a dash.
        words.append(f"{option}={chosen.pop(name)}")
    words.append(f"--output={output}")
    for name, text in chosen.items():
        words += ["--set", f"{name}={text}"]
    return shlex.join(words)


def _to_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_text(text: str, like: Any) -> Any:
    if isinstance(like, bool):
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower(), text)
    # Text for a whole number may hold a fraction: the field's own problem says so better than this could.
    for kind in {int: (int, float), float: (float,)}.get(type(like), ()):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _no_family(family: Any) -> Problem:
    from .registry import FAMILIES

    return Problem("choice", name="family", got=shown(family), choices=", ".join(FAMILIES))


def _build(kind: Any, value: Any, name: str, found: list[str]) -> Any:
    if not isinstance(value, dict):
        found.append(f"{name} is {type(value).__name__}, must be a JSON object")
        return kind()
    known = {f.name for f in dataclasses.fields(kind)}
    has = f"{name} has {', '.join(sorted(known))}"
    found.extend(Problem("unknown", name=f"{name}.{key}", known=has) for key in value if key not in known)
    return kind(**{key: item for key, item in value.items() if key in known})


def _problems(part: Any, prefix: str) -> list[str]:
    types = typing.get_type_hints(type(part))
    found: list[str] = []
    for spec in dataclasses.fields(part):
        value, name, kind = getattr(part, spec.name), prefix + spec.name, types[spec.name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and not isinstance(value, kind):
            found.append(f"{name} is {shown(value)}, must be {kind.__name__}")
        elif dataclasses.is_dataclass(value):
            found.extend(_problems(value, name + "."))
        else:
            problem = field_problem(name, value, kind, spec.metadata)
            if problem:
                found.append(problem)
    return found


def field_problem(name: str, value: Any, kind: Any, rules: typing.Mapping[str, Any]) -> Problem | None:
    """What is wrong with one value, as a sentence, or None."""
    if kind is bool:
        return None if isinstance(value, bool) else Problem("bool", name=name, got=shown(value))
    if kind in (int, float):
        return _number_problem(name, value, kind, rules)
    if kind is str:
        if not isinstance(value, str):
            return Problem("text", name=name, got=shown(value))
        if rules.get("choices") and value not in rules["choices"]:
            return Problem("choice", name=name, got=shown(value), choices=", ".join(rules["choices"]))
        if len(value) > rules.get("length", MAX_TEXT):
            return Problem("length", name=name, got=len(value), limit=rules["length"])
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            return Problem("plain", name=name)
    return None


def _number_problem(name: str, value: Any, kind: Any, rules: typing.Mapping[str, Any]) -> Problem | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (kind is int and not isinstance(value, int)):
        return Problem("whole" if kind is int else "number", name=name, got=shown(value))
    if isinstance(value, float) and not math.isfinite(value):
        return Problem("finite", name=name, got=shown(value))
    low, high, unit = rules.get("low"), rules.get("high"), rules.get("unit") or ""
    unit = f" {unit}" if unit else ""
    if low is not None and value < low:
        return Problem("low", name=name, got=shown(value), limit=f"{low:g}{unit}")
    if high is not None and value > high:
        return Problem("high", name=name, got=shown(value), limit=f"{high:.12g}{unit}")
    return None
