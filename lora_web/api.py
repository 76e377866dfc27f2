"""The endpoints for programs: `gradio_client` calls them by name, with a visitor token from `hello`.

Types of parameters and returns are read from the signatures, so this file's annotations are real objects.
"""

import dataclasses
import functools
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.bases import BUNDLED
from pipelines.config import DataConfig, RunConfig
from pipelines.data.pictures import open_picture
from pipelines.data.readers import READERS
from pipelines.data.regions import Region, read_regions
from pipelines.data.samples import Sample
from pipelines.errors import ProblemsError, shown
from pipelines.family import PreviewRequest
from pipelines.registry import FAMILIES, family_class

from .entries import answers, of_run, sees
from .previews import as_float, checked, export_for_browser
from .runs import Status
from .site import Site
from .slots import FIRST
from .text import say
from .workspace import Visitor, is_token

_STRENGTHS = 16
# What may be asked of a preview, and what only of families that read boxes; what of an answer, and what only about
# pictures.
_SETTINGS = ("negative_prompt", "seed", "steps", "guidance", "width", "height")
_LAYOUT = ("regions", "layout_scale", "layout_until")
_ANSWER = ("max_tokens", "temperature", "seed")
_MARKED = "image_tokens_only"
_QUICK: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "api"}
_SLOW: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "compute"}


def connect(site: Site) -> None:
    """Add the endpoints to the page that is being built. All others of its handlers are private."""
    api = Api(site)
    quick = (api.hello, api.validate_dataset, api.start, api.status, api.stop, api.resume, api.forget)
    slow = (api.estimate, api.preview, api.answer, api.export)
    verbs: dict[Callable[..., Any], dict[str, Any]] = {**dict.fromkeys(quick, _QUICK), **dict.fromkeys(slow, _SLOW)}
    for verb, settings in verbs.items():
        _publish(verb, settings)


def _publish(verb: Callable[..., Any], settings: dict[str, Any]) -> None:
    description = " ".join((verb.__doc__ or "").split())
    gr.api(_told(verb), api_name=verb.__name__, api_description=description, **settings)


def _told(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The endpoint, with everything that goes wrong told as sentences, one per line."""

    @functools.wraps(verb)
    def answer(*values: Any) -> Any:
        try:
            return verb(*values)
        except ProblemsError as error:
            told = "\n".join(error.problems)
        except (RuntimeError, OSError, MemoryError) as error:
            told = say("api_failed", reason=error or type(error).__name__)
        raise gr.Error(told, print_exception=False)

    return answer


class Api:
    """One method per endpoint; its docstring is what a caller reads."""

    def __init__(self, site: Site):
        self.site = site

    def hello(self, visitor: str = "") -> dict[str, Any]:
        """Get a visitor token, which every other call wants first; whoever has it sees the same datasets and runs.
        Give a token of your own (32 hexadecimal digits) to come back. Also tells what this server offers and its
        limits, where 0 in run_minutes, keep_hours and the hourly ones means none."""
        known = self._visitor(visitor) if visitor else self.site.workspace.visitor(None)
        return {
            "visitor": known.token,
            "families": list(FAMILIES),
            "kinds": [_kind(name) for name in FAMILIES],
            "bases": [
                {"name": base.name, "family": family, "title": base.title, "resolution": base.resolution}
                for base in BUNDLED.values()
                for family in base.families
            ],
            "formats": list(dict.fromkeys(form for name in FAMILIES for form in family_class(name).forms)),
            "limits": dataclasses.asdict(known.limits),
        }

    def validate_dataset(self, visitor: str, files: list[Any], family: str = FIRST) -> dict[str, Any]:
        """Read uploaded files into a new dataset of the kind a family learns from: pictures with captions (.txt beside
        them), dialogues (JSON, JSONL, CSV), or both; zip files of those as well. Returns its id, its samples as they
        will be trained on (name, caption, width, height; or name, turns, pictures), and sentences about what was left
        out or is worth knowing. Upload with gradio_client.handle_file."""
        person, reader = self._visitor(visitor), READERS[family_class(family).reads]
        dataset = person.import_samples(self._uploads(files), family)
        folder = person.dataset(dataset)
        assert folder
        found = reader.read(folder, DataConfig())
        return {
            "dataset": dataset,
            "samples": [_sample(sample) for sample in found.samples],
            "rejected": list(found.rejected),
            "notes": list(found.notes),
        }

    def estimate(self, visitor: str, settings: dict[str, Any] | None = None) -> dict[str, int]:
        """Count the bytes a run with these settings needs in memory, its trainable parameters, and the floating point
        operations of a step, before it starts. Settings are those of a run.json."""
        self._visitor(visitor)
        config = _config(settings)
        self.site.check(config)
        from pipelines.memory import estimate

        found = estimate(config)
        return {**dataclasses.asdict(found), "total": found.total}

    def start(self, visitor: str, dataset: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """Train on a dataset; returns the run's id and status at once, while it waits for its turn. Settings are those
        of a run.json, such as {"adapter": {"rank": 8}, "train": {"steps": 200}}; what is left out has its default."""
        person = self._visitor(visitor)
        folder = person.dataset(dataset)
        if folder is None:
            raise ProblemsError(say("api_no_dataset", name=shown(dataset)))
        config = _config(settings)
        if not READERS[family_class(config.family).reads].there(folder):
            raise ProblemsError(say("api_other_kind", family=config.family, kind=family_class(config.family).reads))
        return self.status(visitor, self.site.start(person, config, folder))

    def status(self, visitor: str, run: str) -> dict[str, Any]:
        """Tell how a run goes: state (queued, running, finished, stopped, failed or interrupted), step, steps, loss,
        seconds left, how many runs are ahead, whether there is an adapter yet, and problems as sentences."""
        _, folder = self._run(visitor, run)
        return {"run": folder.name, **_summary(self.site.supervisor.status(folder))}

    def stop(self, visitor: str, run: str) -> dict[str, Any]:
        """Stop a run after its current step and keep what it learned; returns its status."""
        _, folder = self._run(visitor, run)
        self.site.supervisor.stop(folder)
        return self.status(visitor, run)

    def resume(self, visitor: str, run: str) -> dict[str, Any]:
        """Go on with a run that was stopped, interrupted or failed, from its newest checkpoint; returns its status."""
        person, folder = self._run(visitor, run)
        self.site.resume(person, folder)
        return self.status(visitor, run)

    def preview(
        self, visitor: str, run: str, prompt: str, strengths: list[float], settings: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Make one picture per strength of a run's adapter, all of the same seed; strength 0 is the base. Settings may
        be negative_prompt, seed, steps, guidance, width and height; for families that read boxes also layout_scale,
        layout_until and regions, a list such as [{"box": [0, 0, 0.5, 1], "caption": "a fox"}] with left, top, right and
        bottom as shares of the picture. Returns PNG files; gradio_client downloads them."""
        person, folder = self._run(visitor, run)
        entry = of_run(folder)
        if answers(entry):
            raise ProblemsError(say("api_answers", family=entry.family))
        request = _request(prompt, settings, entry.family)
        person.limits.check_side(max(request.width, request.height))
        _check_strengths(strengths)
        ladder = self.site.previews.session(entry).ladder(entry.path, request, strengths)
        target = self._served(folder)
        files: list[dict[str, Any]] = []
        for image in ladder.images:
            image.save(target / f"{len(files)}.png")
            files.append(_file(target / f"{len(files)}.png"))
        return files

    def answer(
        self,
        visitor: str,
        run: str,
        question: str,
        strengths: list[float],
        settings: dict[str, Any] | None = None,
        picture: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Ask a run of a family that answers in words, once per strength; strength 0 is the base. Settings may be
        max_tokens, temperature and seed; for families that see also image_tokens_only, at which words are read as the
        base reads them. The picture the question is about is uploaded with gradio_client.handle_file. Returns for each
        strength its text, its tokens with the probability the model gave each, and whether it ended by itself."""
        _, folder = self._run(visitor, run)
        entry = of_run(folder)
        if not answers(entry):
            raise ProblemsError(say("api_draws", family=entry.family))
        problems: list[str] = []
        seen = self._picture(picture, sees(entry), problems)
        request, on_marked = _question(question, settings, sees(entry), seen, problems)
        _check_strengths(strengths)
        said = self.site.previews.session(entry).answers(entry.path, request, strengths, on_marked=on_marked)
        *_, found = said
        return [
            {
                "strength": strength,
                "text": answer.text,
                "tokens": [{"text": piece, "probability": chance} for piece, chance in answer.tokens],
                "ended": answer.ended,
            }
            for strength, answer in zip(strengths, found, strict=True)
        ]

    def export(self, visitor: str, run: str, form: str = "") -> dict[str, Any]:
        """Write a run's adapter in a form other tools read, one of those that /hello tells for its family (the first of
        them if none is named), read it back to prove it, and return it as a file (of a folder, a zip file), which
        gradio_client downloads."""
        _, folder = self._run(visitor, run)
        return _file(export_for_browser(of_run(folder), form, self.site.served))

    def forget(self, visitor: str) -> dict[str, bool]:
        """Stop the runs of a visitor and delete everything of theirs on this server."""
        self.site.forget(self._visitor(visitor))
        return {"forgotten": True}

    def _visitor(self, token: Any) -> Visitor:
        if not is_token(token):
            raise ProblemsError(say("api_no_visitor", name=shown(token)))
        return self.site.who({"visitor": token})[0]

    def _run(self, visitor: Any, name: Any) -> tuple[Visitor, Path]:
        person = self._visitor(visitor)
        folder = person.run(name)
        if folder is None:
            raise ProblemsError(say("api_no_run", name=shown(name)))
        return person, folder

    def _picture(self, picture: Any, seeing: bool, problems: list[str]) -> bytes:
        """The bytes of an uploaded picture; what is wrong with it goes to `problems`."""
        if picture is None:
            return b""
        if not seeing:
            problems.append(say("api_blind"))
            return b""
        try:
            (path,) = self._uploads([picture])
            open_picture(path, "picture")
        except ProblemsError as error:
            problems.extend(error.problems)
            return b""
        return path.read_bytes()

    def _uploads(self, files: Any) -> Sequence[Path]:
        """Paths of uploaded files. A path from outside never gets further than here."""
        names = [file.get("path") if isinstance(file, dict) else file for file in files or []]
        paths = [Path(name).resolve() for name in names if isinstance(name, str) and "\0" not in name]
        if not paths or len(paths) < len(names) or not all(map(self._is_upload, paths)):
            raise ProblemsError(say("api_not_uploaded"))
        return paths

    def _is_upload(self, path: Path) -> bool:
        return path.is_relative_to(self.site.served) and path.is_file()

    def _served(self, run: Path) -> Path:
        target = self.site.served / run.name / f"pictures-{secrets.token_hex(8)}"
        target.mkdir(parents=True)
        return target


def _kind(name: str) -> dict[str, Any]:
    """What a caller should know of a family: what it learns from, and whether it answers in words or draws."""
    found = family_class(name)
    return {
        "family": name,
        "title": found.title,
        "reads": found.reads,
        "answers": found.answers,
        "formats": list(found.forms),
    }


def _sample(sample: Any) -> dict[str, Any]:
    """A picture with its caption, or a dialogue, as a caller sees it."""
    if isinstance(sample, Sample):
        return {"name": sample.name, "caption": sample.caption, "width": sample.width, "height": sample.height}
    turns = [{"role": turn.role, "text": turn.text} for turn in sample.turns]
    return {"name": sample.name, "turns": turns, "pictures": len(sample.pictures)}


def _config(settings: Any) -> RunConfig:
    """The run config of a caller's settings, on the dataset of the run folder. Raises ProblemsError."""
    settings = {} if settings is None else settings
    if isinstance(settings, dict) and isinstance(settings.get("data", {}), dict):
        settings = {**settings, "data": {**settings.get("data", {}), "path": "dataset"}}
    return RunConfig.from_dict(settings).validate()


def _request(prompt: Any, settings: Any, family: str) -> PreviewRequest:
    """The preview request of a caller. Raises ProblemsError."""
    settings = {} if settings is None else settings
    if not isinstance(settings, dict) or not set(settings) <= {*_SETTINGS, *_LAYOUT}:
        raise ProblemsError(say("api_preview_settings", names=", ".join((*_SETTINGS, *_LAYOUT))))
    layout = [name for name in _LAYOUT if name in settings]
    if layout and not family_class(family).reads_regions:
        raise ProblemsError(say("api_no_boxes", names=", ".join(layout), family=family))
    problems: list[str] = []
    regions: tuple[Region, ...] = ()
    try:
        regions = read_regions(settings.get("regions", []), "regions")
    except ProblemsError as error:
        problems.extend(error.problems)
    return checked(PreviewRequest(prompt, **{**settings, "regions": regions}), problems)


def _question(
    question: Any, settings: Any, seeing: bool, picture: bytes, problems: Sequence[str]
) -> tuple[PreviewRequest, bool]:
    """What a caller asks, and whether strengths count for the tokens of pictures alone; `problems` are those of the
    picture. Raises ProblemsError with all there are."""
    settings, known = {} if settings is None else settings, (*_ANSWER, *([_MARKED] if seeing else []))
    if not isinstance(settings, dict) or not set(settings) <= set(known):
        raise ProblemsError(say("api_preview_settings", names=", ".join(known)))
    values = {name: settings[name] for name in _ANSWER if name in settings}
    if "temperature" in values:
        values["temperature"] = as_float(values["temperature"])
    on_marked = settings.get(_MARKED, False)
    if not isinstance(on_marked, bool):
        problems = [*problems, say("api_yes_or_no", name=_MARKED)]
    request = PreviewRequest(question, picture=picture, **values)
    return checked(request, problems, empty="" if picture else "need_question"), bool(on_marked)


def _check_strengths(values: Any) -> None:
    """Raise ProblemsError for anything but a list of a few numbers."""
    kinds = {type(value) for value in values} if isinstance(values, list) else set()
    if not kinds or not kinds <= {int, float} or len(values) > _STRENGTHS:
        raise ProblemsError(say("api_strengths", limit=_STRENGTHS))


def _summary(found: Status) -> dict[str, Any]:
    return {
        "state": found.state,
        "step": found.step,
        "steps": found.steps,
        "loss": found.curve[-1][2] if found.curve else None,
        "seconds_left": found.seconds_left,
        "ahead": found.ahead,
        "adapter": found.adapter is not None,
        "problems": list(found.problems),
    }


def _file(path: Path) -> dict[str, Any]:
    return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
