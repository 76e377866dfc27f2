"""What can be known before a run starts: the quick checks of pictures, captions, settings, base and disk, each with its
fix, and the sentences for what `measure` finds. Needs no torch.

An "error" is sure to end the run and blocks it; a "warning" makes it worse; a "fact" is good to know.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bases import HUB, distilled, downloaded, find_base, license_of, native_resolution
from .config import RunConfig
from .data.batches import split_validation
from .data.captions import words_of_name
from .data.dialogue_looks import asked_again, tokens, unended
from .data.dialogues import Dialogue
from .data.looks import twins
from .data.plain import some
from .data.readers import READERS
from .data.samples import Learned, Sample, read_dataset, stored_dataset
from .errors import ProblemsError
from .registry import family_class

if TYPE_CHECKING:
    from .measure import Measured

SENTENCES = {
    "told": "{sentence}",
    "pictures": "{count} pictures, each seen about {passes}×",
    "few": "There are only {count} pictures; 10 or more teach an adapter what they have in common",
    "small": "{count} of {all} pictures are smaller than the training size and will be enlarged ({names}); "
    "use larger ones",
    "twins": "{count} of {all} pictures look like another one ({names}); take them out: what they show counts twice",
    "boxless": "{count} of {all} pictures have no boxes ({names}); this family learns from boxes and their captions",
    "silent": "{count} of {all} pictures have no caption ({names}); describe them, or give one caption for all",
    "long": "{count} captions have more than {limit} words ({names}); what comes later is not read",
    "trigger": "The trigger word is put in front of {count} of {all} captions; use it in prompts",
    "common_word": "Every caption has “{word}”; use it in prompts",
    "no_trigger": "No word is in every caption and there is no trigger word: the adapter will change every picture, "
    "which is right for a style; for a subject, choose a rare word",
    "dialogues": "{count} dialogues, each seen about {passes}×",
    "pictures with dialogues": "{count} dialogues, about pictures or without, each seen about {passes}×",
    "asked_again": "{count} of {all} dialogues ask what another one asks and answer something else ({names}); the "
    "model will learn to say either",
    "cut": "{count} of {all} dialogues are likely longer than {limit} tokens ({names}); what comes later is not read",
    "unended": "{count} of {all} answers stop in the middle of a sentence ({names}); if they were cut off, so will be "
    "what the model says",
    "unspoken": "{count} of {all} pictures have neither caption nor question ({names}); nothing is learned from them",
    "even": "Alpha is {alpha}; this family is meant for the rank itself, {wanted}",
    "few_dialogues": "There are only {count} dialogues; 50 or more teach a manner of answering",
    "alpha": "Alpha is {alpha}; for language models twice the rank is usual, {wanted}",
    "rank_high": "Most begin with a rank of 8 to 16; {rank} is for fields far from what the base knows",
    "rank_low": "There are {count} rows; beyond 50,000 a rank of {wanted} or more is advised",
    "rslora": "With a rank of {rank}, rsLoRA keeps the update from shrinking as the rank grows",
    "no_validation": "Nothing is held out, so no perplexity will be told",
    "validation": "Only {count} of {all} samples is held out for validation; its loss will jump about",
    "passes": "Each sample is seen only about {passes}×; {steps} steps would show each {wanted}×",
    "batch": "A batch of {batch} is larger than the set: the same sample stands in it several times",
    "preset": "The settings are those of another base: training size {got} px where this base draws {native} px",
    "rate": "A learning rate of {got} is high for a base of this size; its pictures may fall apart",
    "distilled": "“{word}” bases are distilled to draw in a few steps; training a LoRA on one is unwise, as it forgets "
    "that. Train on the base it was made from: the adapter works on both",
    "license": "License of the base: {license}",
    "download": "The base is not on this machine; it will be downloaded first ({gigabytes} GB)",
    "download_unknown": "The base is not on this machine; it will be downloaded first",
    "disk": "The disk has {free} free and the run needs about {needed}; free some room",
    "memory": "Memory: about {needed}, of {free} free ({device}, {precision})",
    "memory_tight": "The run needs about {needed} of memory and {free} are free; close other programs, or use a "
    "smaller batch",
    "memory_short": "The run needs about {needed} of memory and this machine has {total}; use a smaller batch, a "
    "smaller training size or a smaller base",
    "time": "Time: about {time} on this machine, measured ({steps} steps of {low} to {high} s)",
}

# What one click can do; each fix is told by its kind.
FIXES = {
    "captions_from_names": "Use file names as captions",
    "validation": "Hold out {percent} %",
    "steps": "Train {steps} steps",
    "batch": "Use a batch of {batch}",
    "halve": "Halve the batch, twice the batches",
    "checkpointing": "Compute activations twice",
    "preset": "Use the settings for this base",
    "rate": "Use a learning rate of {rate}",
    "alpha": "Set alpha to {alpha}",
    "length": "Read up to {length} tokens",
    "rank": "Use a rank of {rank}",
    "rslora": "Use rsLoRA",
}
_FEW, _WORDS = 5, 55
# Fewest passes and wanted ones: a language model knows most of what it reads, and repeats what it reads too often.
_PASSES = {"pictures": (8, 20), "dialogues": (1, 3), "pictures with dialogues": (8, 20)}
# Beyond so many tokens a step takes more memory than most machines have to spare.
_LONGEST = 4096
_FEW_DIALOGUES, _MANY_ROWS, _RANK_FOR_MANY, _USUAL_RANK, _HIGH_RANK = 50, 50_000, 32, 16, 64
_ENLARGED = 1.1
_LARGE, _HIGH_RATE, _RATE = 512, 5e-4, 1e-4
_ROOM = 64 << 20


@dataclass(frozen=True)
class Fix:
    """Settings that put something right. `parts` fill the blanks of the sentence `FIXES[kind]`."""

    kind: str
    settings: Mapping[str, Any]
    parts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return FIXES[self.kind].format(**self.parts)


@dataclass(frozen=True)
class Finding:
    """One thing found. `parts` fill the blanks of the sentence `SENTENCES[kind]`; sizes and times come as numbers."""

    level: str
    kind: str
    parts: Mapping[str, Any]
    fix: Fix | None = None

    def __str__(self) -> str:
        return SENTENCES[self.kind].format(**spoken(self.parts))


def spoken(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts as a sentence says them: bytes (`free`, `needed`, `total`) and seconds (`time`) with their units."""
    told: dict[str, Any] = {
        name: size(value) if name in ("free", "needed", "total") else value for name, value in parts.items()
    }
    if "time" in told:
        minutes = told["time"] / 60
        told["time"] = f"{told['time']:.0f} s" if minutes < 2 else f"{minutes:.0f} min"
    return told


def size(count: int) -> str:
    """Bytes as a person says them."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def errors(findings: Sequence[Finding]) -> list[str]:
    """The sentences of what blocks a run."""
    return [str(finding) for finding in findings if finding.level == "error"]


def check(config: RunConfig, dataset: Path, room: Path) -> list[Finding]:
    """The quick checks of a run of a valid config on an imported dataset, whose files go to the disk of `room`."""
    kind = family_class(config.family).reads
    try:
        samples = READERS[kind].read(dataset, config.data).samples
        stored = read_dataset(dataset, captions_from_names=False).samples if kind == "pictures" else ()
    except ProblemsError as error:
        return _told(error)
    every = [*_settings(config, "pictures" if kind == "pictures" else "dialogues", samples), *_base(config)]
    if kind == "pictures":
        every += [*_pictures(config, samples), *_captions(config, samples, stored), *_disk(config, samples, room)]
    elif kind == "dialogues":
        every += [*_dialogues(config, samples), *_advice(config, len(samples))]
    else:
        every += [*_dialogues(config, samples), *_unspoken(config, samples, dataset), *_even(config)]
    order = ("error", "warning", "fact")
    return sorted(every, key=lambda finding: order.index(finding.level))


def _told(error: ProblemsError) -> list[Finding]:
    return [Finding("error", "told", {"sentence": sentence}) for sentence in error.problems]


def _base(config: RunConfig) -> list[Finding]:
    try:
        base = find_base(config.base)
    except ProblemsError as error:
        return _told(error)
    found = []
    word = distilled(config.base)
    if word:
        found.append(Finding("warning", "distilled", {"word": word}))
    if base.path is None and not downloaded(base.source):
        known = HUB.get(config.base)
        parts: dict[str, Any] = {"gigabytes": known.gigabytes} if known else {}
        found.append(Finding("warning", "download" if known else "download_unknown", parts))
    license = license_of(config.base)
    if license:
        found.append(Finding("fact", "license", {"license": license}))
    return found


def _pictures(config: RunConfig, samples: Sequence[Sample]) -> list[Finding]:
    found = []
    if len(samples) < _FEW:
        found.append(Finding("warning", "few", {"count": len(samples)}))
    area = config.data.resolution**2
    small = [sample.name for sample in samples if sample.width * sample.height * _ENLARGED**2 < area]
    if small:
        found.append(Finding("warning", "small", {"count": len(small), "all": len(samples), "names": some(small, 3)}))
    bare = [sample.name for sample in samples if not sample.regions]
    if bare and family_class(config.family).reads_regions:
        names = some(bare, 3)
        found.append(Finding("warning", "boxless", {"count": len(bare), "all": len(samples), "names": names}))
    alike = twins({sample.id: sample.look for sample in samples})
    if alike:
        names = some([sample.name for sample in samples if sample.id in alike], 3)
        found.append(Finding("warning", "twins", {"count": len(alike), "all": len(samples), "names": names}))
    return found


def _captions(config: RunConfig, samples: Sequence[Sample], stored: Sequence[Sample]) -> list[Finding]:
    found, count, trigger = [], len(samples), config.data.trigger_word.strip()
    own = [sample.caption for sample in stored]
    silent = [] if config.data.caption.strip() else [s for s, text in zip(stored, own, strict=True) if not text]
    if config.data.captions_from_names:
        silent = [sample for sample in silent if not words_of_name(sample.name)]
    if silent:
        named = any(words_of_name(sample.name) for sample in silent)
        fix = Fix("captions_from_names", {"data.captions_from_names": True}) if named else None
        names = some([sample.name for sample in silent], 3)
        found.append(Finding("warning", "silent", {"count": len(silent), "all": count, "names": names}, fix))
    long = [sample.name for sample in samples if len(sample.caption.split()) > _WORDS]
    if long:
        found.append(Finding("warning", "long", {"count": len(long), "limit": _WORDS, "names": some(long, 3)}))
    common = common_words([sample.caption for sample in samples])
    if trigger:
        added = sum(trigger.lower() not in text.lower() for text in own)
        found.append(Finding("fact", "trigger", {"count": added, "all": count}))
    elif common and count > 1:
        found.append(Finding("fact", "common_word", {"word": " ".join(common)}))
    elif count > 1:
        found.append(Finding("fact", "no_trigger", {}))
    return found


def common_words(captions: Sequence[str]) -> list[str]:
    """The words that stand in every caption, in the order of the first; articles and such are left out."""
    small = {"a", "an", "the", "of", "in", "on", "with", "and", "by", "at"}
    split = [[word.strip(",.;:!?()").lower() for word in caption.split()] for caption in captions]
    shared = set.intersection(*map(set, split)) if split else set()
    return [word for word in dict.fromkeys(split[0] if split else ()) if word and word in shared - small]


def _dialogues(config: RunConfig, samples: Sequence[Dialogue]) -> list[Finding]:
    """What is odd in the words of questions and answers."""
    found, limit = [], config.options.max_length
    sizes = {sample.name: tokens(sample) for sample in samples}
    long = [name for name, count in sizes.items() if count > limit]
    if long:
        wanted = 1 << max(sizes.values()).bit_length()
        fix = Fix("length", {"options.max_length": wanted}, {"length": wanted}) if wanted <= _LONGEST else None
        parts = {"count": len(long), "all": len(samples), "limit": limit, "names": some(long, 3)}
        found.append(Finding("warning", "cut", parts, fix))
    for kind, odd in (("unended", unended(samples)), ("asked_again", asked_again(samples))):
        if odd:
            parts = {"count": len(odd), "all": len(samples), "names": some([sample.name for sample in odd], 3)}
            found.append(Finding("warning" if kind == "unended" else "fact", kind, parts))
    return found


def _unspoken(config: RunConfig, samples: Sequence[Dialogue], dataset: Path) -> list[Finding]:
    """Pictures that no dialogue speaks of."""
    spoken_of = {path for sample in samples for path in sample.pictures}
    stored = stored_dataset(dataset).samples
    silent = [sample.name for sample in stored if sample.path not in spoken_of]
    if not silent:
        return []
    fix = None
    if not config.data.captions_from_names and any(map(words_of_name, silent)):
        fix = Fix("captions_from_names", {"data.captions_from_names": True})
    parts = {"count": len(silent), "all": len(stored), "names": some(silent, 3)}
    return [Finding("warning", "unspoken", parts, fix)]


def _advice(config: RunConfig, count: int) -> list[Finding]:
    """What people advise for language models. None of it is done without being asked for."""
    adapter, found = config.adapter, []
    if count < _FEW_DIALOGUES:
        found.append(Finding("warning", "few_dialogues", {"count": count}))
    if not config.data.validation_percent and count > 1:
        fix = Fix("validation", {"data.validation_percent": 10.0}, {"percent": 10})
        found.append(Finding("fact", "no_validation", {}, fix))
    if count > _MANY_ROWS and adapter.rank < _RANK_FOR_MANY:
        fix = Fix("rank", {"adapter.rank": _RANK_FOR_MANY}, {"rank": _RANK_FOR_MANY})
        found.append(Finding("fact", "rank_low", {"count": count, "wanted": _RANK_FOR_MANY}, fix))
    elif count <= _MANY_ROWS and adapter.rank > _USUAL_RANK:
        fix = Fix("rank", {"adapter.rank": _USUAL_RANK}, {"rank": _USUAL_RANK})
        found.append(Finding("fact", "rank_high", {"rank": adapter.rank}, fix))
    if adapter.rank >= _HIGH_RANK and adapter.variant == "lora":
        found.append(Finding("fact", "rslora", {"rank": adapter.rank}, Fix("rslora", {"adapter.variant": "rslora"})))
    wanted = 2.0 * adapter.rank
    if adapter.variant == "lora" and adapter.alpha != wanted:
        fix = Fix("alpha", {"adapter.alpha": wanted}, {"alpha": f"{wanted:g}"})
        found.append(Finding("fact", "alpha", {"alpha": f"{adapter.alpha:g}", "wanted": f"{wanted:g}"}, fix))
    return found


def _even(config: RunConfig) -> list[Finding]:
    """What learns to see is scaled by 1."""
    adapter, rank = config.adapter, float(config.adapter.rank)
    if adapter.variant != "lora" or adapter.alpha == rank:
        return []
    fix = Fix("alpha", {"adapter.alpha": rank}, {"alpha": f"{rank:g}"})
    return [Finding("fact", "even", {"alpha": f"{adapter.alpha:g}", "wanted": f"{rank:g}"}, fix)]


def _settings(config: RunConfig, kind: str, samples: Sequence[Learned]) -> list[Finding]:
    """How the run suits the samples; `kind` is what people call them."""
    train, found = config.train, []
    learned, held = split_validation([s.id for s in samples], config.data.validation_percent, train.seed)
    if len(held) == 1 and len(samples) >= _FEW:
        percent = min(50, math.ceil(300 / len(samples)))
        fix = Fix("validation", {"data.validation_percent": float(percent)}, {"percent": percent})
        fix_or_none = fix if percent > config.data.validation_percent else None
        found.append(Finding("warning", "validation", {"count": 1, "all": len(samples)}, fix_or_none))
    batch, count = train.batch_size * train.accumulation, len(learned)
    passes = train.steps * batch / count
    parts: dict[str, Any] = {"count": count, "passes": max(1, round(passes))}
    found.append(Finding("fact", kind, parts))
    fewest, wanted = _PASSES[kind]
    if passes < fewest:
        steps = math.ceil(wanted * count / batch)
        fix = Fix("steps", {"train.steps": steps}, {"steps": steps})
        told = {"passes": f"{passes:.2g}", "steps": steps, "wanted": wanted}
        found.append(Finding("warning", "passes", told, fix))
    if train.batch_size > count:
        fix = Fix("batch", {"train.batch_size": count}, {"batch": count})
        found.append(Finding("warning", "batch", {"batch": train.batch_size}, fix))
    native = native_resolution(config.base)
    if native and not 0.7 <= config.data.resolution / native <= 1.5:
        from . import presets

        values = presets.values(config.family, config.base, ["balanced"])
        parts = {"got": config.data.resolution, "native": native}
        found.append(Finding("warning", "preset", parts, Fix("preset", values)))
    elif native and native >= _LARGE and train.learning_rate > _HIGH_RATE:
        fix = Fix("rate", {"train.learning_rate": _RATE}, {"rate": f"{_RATE:g}"})
        found.append(Finding("warning", "rate", {"got": f"{train.learning_rate:g}"}, fix))
    return found


def _disk(config: RunConfig, samples: Sequence[Sample], room: Path) -> list[Finding]:
    """Pictures are copied in, encoded once (mean and deviation of 8 numbers per 8 x 8 pixels, and the caption), and
    the adapter is kept a few times; a worker refuses to start with less than 64 MiB."""
    pictures = sum(sample.path.stat().st_size for sample in samples)
    encoded = len(samples) * (config.data.resolution**2 + 300_000) * (2 if config.data.flip else 1)
    needed, free = pictures + encoded + _ROOM, shutil.disk_usage(room).free
    return [Finding("error", "disk", {"free": free, "needed": needed})] if free < needed else []


def judge(config: RunConfig, measured: Measured, samples: int) -> list[Finding]:
    """What a measurement says of a run over so many samples: does it fit, and how long will it take."""
    if measured.problems:
        return [Finding("error", "told", {"sentence": sentence}) for sentence in measured.problems]
    train, found = config.train, []
    parts: dict[str, Any] = {"needed": measured.needed, "free": measured.free, "total": measured.total}
    if measured.needed > 0.95 * measured.free:
        halve = {"train.batch_size": train.batch_size // 2, "train.accumulation": train.accumulation * 2}
        fix = Fix("halve", halve) if train.batch_size > 1 else None
        if fix is None and not train.gradient_checkpointing:
            fix = Fix("checkpointing", {"train.gradient_checkpointing": True})
        short = measured.needed > measured.total
        kind = "memory_short" if short else "memory_tight"
        found.append(Finding("error" if short else "warning", kind, parts, fix))
    else:
        parts |= {"device": measured.device, "precision": measured.precision}
        found.append(Finding("fact", "memory", parts))
    if measured.steps:
        low, high = min(measured.steps), max(measured.steps)
        time = measured.load + measured.encode * samples + train.steps * sum(measured.steps) / len(measured.steps)
        parts = {"time": time, "steps": train.steps, "low": f"{low:.2f}", "high": f"{high:.2f}"}
        found.append(Finding("fact", "time", parts))
    return found
