"""Which bases exist and where they are: bundled ones first, then folders, single files and Hub ids."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ProblemsError

BUNDLED_FOLDER = Path(__file__).resolve().parent.parent / "bases"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Files that can run code when they are opened.
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_SAMPLE = 1 << 20
_LARGE_SIDE, _LARGE_WIDTH = 512, 512


@dataclass(frozen=True)
class Bundled:
    """A base that ships with the project. `resolution` is 0 for one that draws nothing."""

    name: str
    families: tuple[str, ...]
    title: str
    license: str
    resolution: int


BUNDLED = {
    base.name: base
    for base in (
        Bundled("emoji-sd", ("stable_diffusion",), "Emoji (128 px, runs on any laptop)", "CC BY 4.0", 128),
        Bundled("emoji-mmdit", ("mmdit_layout",), "Emoji scenes (128 px, runs on any laptop)", "CC BY 4.0", 128),
        Bundled("emoji-llm", ("text_llm", "vora"), "Emoji talk (8 M, runs on any laptop)", "WordNet 3.0", 0),
    )
}
# Vision transformers that ship with the project: what a language model may learn to see from.
TEACHERS = ("emoji-vit",)


def bundled_base(family: str) -> str:
    """The name of the base that ships for a family; empty when there is none."""
    return next((base.name for base in BUNDLED.values() if family in base.families), "")


@dataclass(frozen=True)
class Known:
    """A base on the Hub that people train on, so that the page can name it before it is downloaded."""

    name: str
    families: tuple[str, ...]
    license: str
    resolution: int
    gigabytes: float


# Sizes are those of the half precision safetensors files that a run downloads.
HUB = {
    base.name: base
    for base in (
        Known("stable-diffusion-v1-5/stable-diffusion-v1-5", ("stable_diffusion",), "CreativeML Open RAIL-M", 512, 2.7),
        Known("stabilityai/stable-diffusion-xl-base-1.0", ("stable_diffusion",), "CreativeML Open RAIL++-M", 1024, 6.9),
        Known("HuggingFaceTB/SmolLM2-135M-Instruct", ("text_llm", "vora"), "Apache 2.0", 0, 0.3),
        Known("Qwen/Qwen2.5-0.5B-Instruct", ("text_llm", "vora"), "Apache 2.0", 0, 1.0),
    )
}
# Words in the names of models distilled to draw in a few steps. The plain training loss undoes the distillation: the
# adapter learns the pictures and the base forgets how to draw them in four steps.
_DISTILLED = re.compile(r"(?i)(?<![a-z])(turbo|lightning|hyper|lcm|schnell)(?![a-z])")


def distilled(name: str) -> str | None:
    """The word that tells that a base is distilled for few steps, on which training a LoRA is unwise."""
    found = _DISTILLED.search(name)
    return found.group(1) if found else None


def license_of(name: str) -> str | None:
    """The license of a base, where this program knows it."""
    known = BUNDLED.get(name) or HUB.get(name)
    return known.license if known else None


def native_resolution(name: str) -> int | None:
    """The side in pixels of the pictures a base was made for: from our list or its config files, else None."""
    known = BUNDLED.get(name) or HUB.get(name)
    if known:
        return known.resolution
    folder = Path(name).expanduser()
    base = Base(name, str(folder))
    try:
        net = base.config("transformer" if (folder / "transformer").is_dir() else "unet")
        return int(net["sample_size"]) * int(2 ** (len(base.config("vae")["block_out_channels"]) - 1))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_large(name: str) -> bool:
    """Whether a base was trained at length on a large net: it is moved by smaller steps."""
    side = native_resolution(name)
    if name in HUB or side:
        return name in HUB or (side or 0) >= _LARGE_SIDE
    try:
        return int(Base(name, str(Path(name).expanduser())).config("")["hidden_size"]) >= _LARGE_WIDTH
    except (OSError, ValueError, KeyError, TypeError):
        return False


@dataclass(frozen=True)
class Base:
    """A base model: what a person called it, and the local path or Hub id that loads it."""

    name: str
    source: str

    @property
    def path(self) -> Path | None:
        """The local folder or file, or None for a Hub id that is not downloaded yet."""
        path = Path(self.source)
        return path if path.exists() else None

    def config(self, part: str) -> Any:
        """The config.json of a part of a model folder, read without loading the part. Raises OSError and ValueError
        where there is none that can be read: in a single file, or before a download."""
        return json.loads((Path(self.source) / part / "config.json").read_text(encoding="utf-8"))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every weight and config file (of files over 2 MiB: their size, first and last MiB, which hold
        the tensor table and make reading gigabytes unnecessary). A Hub id gives the hash of its name."""
        path = self.path
        if path is None:
            return hashlib.sha256(self.source.encode()).hexdigest()
        digest = hashlib.sha256()
        files = (
            [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in (".safetensors", ".json"))
        )
        for file in files:
            size = file.stat().st_size
            digest.update(f"{file.relative_to(path).as_posix()}:{size}:".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(_SAMPLE))
                if size > _SAMPLE:
                    stream.seek(max(_SAMPLE, size - _SAMPLE))
                    digest.update(stream.read())
        return digest.hexdigest()


def weight_of(base: Base) -> int | None:
    """The bytes of the weights of a base: of its files here, or where none is, of what is known of it; else None."""
    path = base.path or downloaded(base.source)
    if path is None:
        return int(HUB[base.name].gigabytes * 1e9) if base.name in HUB else None
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*.safetensors")))


def downloaded(hub_id: str) -> Path | None:
    """Where the files of a Hub id are, if it was downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(hub_id, index) for index in ("model_index.json", "config.json"))
    return next((Path(path).parent for path in found if isinstance(path, str)), None)


def is_there(name: str) -> bool:
    """Whether the files of a bundled base are: a pipeline's index, or a language model's config."""
    return any((BUNDLED_FOLDER / name / index).exists() for index in ("model_index.json", "config.json"))


def find_base(name: str) -> Base:
    """The base a person named: a bundled name, a folder, a `.safetensors` file or a Hub id (`owner/name`).

    Raises ProblemsError when it is none of these, or a pickle.
    """
    if name in BUNDLED:
        folder = BUNDLED_FOLDER / name
        if not is_there(name):
            raise ProblemsError(
                f"base {name} is listed but its weights are missing from {folder.name}/; reinstall the project"
            )
        return Base(name, str(folder))
    path = Path(name).expanduser()
    if path.suffix.lower() in PICKLES:
        raise ProblemsError(f"base {path.name} is a pickle file, which can run code; convert it to .safetensors first")
    if path.is_dir() or path.is_file():
        return Base(name, str(path.resolve()))
    if HUB_ID.fullmatch(name):
        return Base(name, name)
    known = ", ".join(BUNDLED)
    raise ProblemsError(
        f"base is {name!r}, must be a bundled name ({known}), a folder, a .safetensors file or a Hub id like owner/name"
    )


def pipeline_class(base: Base, allowed: tuple[str, ...]) -> str | None:
    """The diffusers pipeline class a base folder declares, checked against `allowed`; None for files and Hub ids."""
    path = base.path
    if path is None or path.is_file():
        return None
    index = path / "model_index.json"
    if not index.exists():
        raise ProblemsError(
            f"base {base.name} has no model_index.json, so it is not a diffusers model folder; "
            f"expected {' or '.join(allowed)}"
        )
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProblemsError(
            f"base {base.name}: model_index.json is damaged ({error}); download the model again"
        ) from error
    if found not in allowed:
        raise ProblemsError(
            f"base {base.name} is a {found}, expected {' or '.join(allowed)}; choose another base or family"
        )
    return str(found)
