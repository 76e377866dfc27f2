"""Asking an adapter on the page, on the server's side: real runs of tiny language models, and what strangers send."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from lora_web import previews, progress, questions, scripts
from lora_web.answers import answers
from lora_web.entries import Entry, checkpoints_of, of_run
from lora_web.library import Library
from lora_web.panels.answers import Answers, forms
from lora_web.previews import Previews, export_for_browser
from lora_web.questions import FIELDS, Question, read_question
from lora_web.site import Site
from lora_web.tabs.library import LibraryTab
from lora_web.workspace import Workspace
from pipelines import worker
from pipelines.config import RunConfig
from pipelines.curve import samples_of
from pipelines.errors import ProblemsError
from pipelines.events import Previewed
from pipelines.train import train
from tests.dialogue_parts import make_dialogues, text_config
from tests.vora_parts import make_pictures, picture_bytes, vora_config
from tests.web_parts import wait_for

gr = pytest.importorskip("gradio")
PAGE = gr.Request(session_hash="a page")
SPAN = "−1 … 1"
GOOD = {"prompt": "What is fox 1?", "span": SPAN, "adapter": "", "max_tokens": 6, "temperature": 0, "seed": 0}


@dataclass
class Desk:
    """A panel that asks the adapter of one run."""

    site: Site
    panel: Answers
    entry: Entry

    def said(self, **changes: Any) -> list[dict[str, Any]]:
        """The messages of one question; nothing may go wrong."""
        values = self.values(**changes)
        self.panel.recall(PAGE, {}, *values)
        told = list(self.panel.ask(PAGE, {}, *values))
        assert [problem for _, problem in told if problem] == []
        return [json.loads(message) for message, _ in told]

    def refused(self, **changes: Any) -> str:
        (message, problems), *_ = self.panel.ask(PAGE, {}, *self.values(**changes))
        assert json.loads(message) == {"kind": "wait", "text": ""}
        return html.unescape(problems)

    def moved(self, ask: str, **sent: Any) -> list[dict[str, Any]]:
        """The messages after the slider rested (`exact`), or a group was moved (`again`)."""
        return [json.loads(message) for message, _ in getattr(self.panel, ask)(PAGE, {}, gr.EventData(None, sent))]

    @staticmethod
    def values(**changes: Any) -> list[Any]:
        found = {**GOOD, **changes}
        return [found.get(name) for name in FIELDS]


def desk(site: Site, config: RunConfig, pictures: bool) -> Desk:
    visitor, _ = site.who(None)
    run = visitor.runs_folder() / ("a" * 32)
    worker.start(config, run)
    list(train(config, run))
    entry = of_run(run)
    with gr.Blocks():
        panel = Answers(
            site, gr.BrowserState({}), lambda _: entry, lambda _: checkpoints_of(run), prefix="t-", pictures=pictures
        )
        panel.connect()
    return Desk(site, panel, entry)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Any:
    patch, root = pytest.MonkeyPatch(), tmp_path_factory.mktemp("answers") / "workspace"
    patch.setenv("GRADIO_TEMP_DIR", str(root.resolve() / "served"))
    site = Site(Workspace(root))
    site.served.mkdir()
    yield site
    site.supervisor.close()
    patch.undo()


@pytest.fixture(scope="module")
def text(site: Site, tiny_base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Desk:
    data = make_dialogues(tmp_path_factory.mktemp("faq"), 10)
    config = text_config(tiny_base("llm"), data.parent, steps=6, learning_rate=0.05, warmup=0, preview_every=3)
    config = replace(config, data=replace(config.data, validation_percent=20))
    return desk(site, config, False)


@pytest.fixture(scope="module")
def seeing(site: Site, tiny_base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Desk:
    data = make_pictures(tmp_path_factory.mktemp("colours"))
    return desk(site, vora_config(tiny_base("llm"), data, learning_rate=0.05, warmup=0), True)


def words(message: dict[str, Any], strength: float) -> str:
    answer = message["answers"][message["strengths"].index(strength)]
    return "".join(piece for piece, _ in answer["tokens"])


def test_the_base_speaks_first_then_all_strengths_and_the_last_is_kept(text: Desk) -> None:
    told = text.said()
    assert told[0]["kind"] == "wait" and "Loading" in told[0]["text"]
    growing = [message for message in told if message["kind"] == "answers"]
    assert [message["done"] for message in growing[-2:]] == [True, True] and not growing[0]["done"]
    first, last = growing[0], growing[-1]
    assert words(first, 0) and not any(words(first, each) for each in first["strengths"] if each)
    assert last["strengths"] == [i / 4 for i in range(-4, 5)] and last["zero"]["different"] == 0
    assert words(last, 0) != words(last, 1) and last["groups"] == ["MLP", "attention"]
    assert all(0 < chance <= 1 for answer in last["answers"] for _, chance in answer["tokens"])

    session = text.site.previews.session(text.entry)
    asked = Question(read_question(GOOD, text.entry, text.site.served).request, SPAN)
    *_, found = session.answers(text.entry.path, asked.request, asked.strengths)
    assert [words(last, each) for each in asked.strengths] == [answer.text for answer in found]
    # What was answered once comes at once, and needs no model.
    fresh = Previews(text.site.workspace.ladders)
    known = questions.recall(fresh, text.entry, asked)
    assert known == {name: value for name, value in last.items() if name != "zero"}
    assert not fresh.ready(text.entry)
    kept, problems = text.panel.recall(PAGE, {}, *text.values())
    assert json.loads(kept) == known and not problems
    assert [message["kind"] for message in text.said()] == ["answers", "answers"]
    waits, _ = text.panel.recall(PAGE, {}, *text.values(prompt="What is new?"))
    assert json.loads(waits)["kind"] == "wait" and json.loads(waits)["text"]


def test_between_two_strengths_the_exact_answer_is_said(text: Desk) -> None:
    (*_, last) = text.said()
    asked = json.loads(json.dumps(last["asked"]))
    told = text.moved("exact", asked=asked, strength=0.55)
    assert {message["of"] for message in told} == {last["of"]} and told[-1]["done"] and told[-1]["strength"] == 0.55
    session = text.site.previews.session(text.entry)
    request = read_question(GOOD, text.entry, text.site.served).request
    *_, (alone,) = session.answers(text.entry.path, request, (0.55,))
    assert "".join(piece for piece, _ in told[-1]["answer"]["tokens"]) == alone.text
    # A group of layers at another multiple is another question; as trained it is the same.
    moved = text.moved("again", asked={**asked, "balance": {"MLP": 0}})[-1]
    assert moved["of"] != last["of"] and moved["about"] == last["about"]
    assert words(moved, 0) == words(last, 0) and words(moved, 1) != words(last, 1)
    assert text.moved("again", asked=asked)[-1] == last


def test_a_checkpoint_can_be_asked_instead(text: Desk) -> None:
    names = [value for _, value in text.panel.offer({}, "").choices]
    assert names[0] == "" and "step 1" in names
    (*_, last), (*_, early) = text.said(), text.said(adapter="step 1")
    assert words(early, 0) == words(last, 0) and words(early, 1) != words(last, 1)
    assert "is not here any more" in text.refused(adapter="step 99")


def test_everything_that_is_wrong_is_told_at_once(text: Desk, seeing: Desk) -> None:
    said = text.refused(prompt="x" * 1001, seed=-1, max_tokens=0, temperature=math.nan)
    assert all(name in said for name in ("prompt", "seed is -1", "max_tokens is 0", "temperature is nan"))
    assert "question is empty" in text.refused(prompt="  ")
    said = seeing.refused(picture={"path": "/etc/hostname"}, seed=-1)
    assert "no longer on the server" in said and "seed is -1" in said
    file = seeing.site.served / "notes.png"
    file.write_text("no picture")
    assert "is text, not a picture" in seeing.refused(picture={"path": str(file)})


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "x",
        [],
        {},
        {"asked": None},
        {"asked": {**GOOD, "span": "0 … 9"}, "strength": 0.5},
        {"asked": {**GOOD, "span": ["0 … 2"]}, "strength": 0.5},
        {"asked": {**GOOD, "balance": {"MLP": math.nan}}, "strength": 0.5},
        {"asked": {**GOOD, "balance": "all"}, "strength": 0.5},
        {"asked": {**GOOD, "adapter": {"path": "/etc/passwd"}}, "strength": 0.5},
        {"asked": {**GOOD, "prompt": {"path": "/etc/passwd"}}, "strength": 0.5},
        {"asked": {**GOOD, "picture": "/etc/passwd\0"}, "strength": 0.5},
        {"asked": {**GOOD, "picture": ["/etc/passwd"]}, "strength": 0.5},
        {"asked": GOOD, "strength": 7},
        {"asked": GOOD, "strength": True},
        {"asked": GOOD, "strength": math.nan},
        {"asked": GOOD, "strength": "1"},
    ],
    ids=str,
)
def test_what_no_page_would_send_is_refused_in_sentences(seeing: Desk, bad: Any) -> None:
    (message, problems), *_ = seeing.panel.exact(PAGE, {}, gr.EventData(None, bad))
    assert json.loads(message) == {"kind": "wait", "text": ""} and "problems" in problems


def test_a_page_that_is_closed_keeps_nothing_locked(text: Desk) -> None:
    said = begun(text, "What is long?")
    said.close()
    session = text.site.previews.session(text.entry)
    wait_for(lambda: session._lock.acquire(blocking=False), "the base to be free")
    session._lock.release()
    assert text.said()[-1]["done"]


def test_what_is_not_wanted_any_more_ends(text: Desk) -> None:
    for ask in (lambda: text.panel.hush(PAGE), lambda: text.panel.recall(PAGE, {}, *text.values(prompt="Else?"))):
        said = begun(text, "What is dropped?")
        text.panel.recall(gr.Request(session_hash="another page"), {}, *text.values())
        assert json.loads(next(said)[0])["kind"] == "answers"
        ask()
        *_, (message, _) = said
        assert json.loads(message) == {"kind": "wait", "text": ""}
    (*_, last) = text.said(prompt="What is dropped?")
    assert last["done"] and last["zero"]["different"] == 0


def begun(text: Desk, question: str) -> Any:
    """The updates of a long answer, after its first words."""
    values = text.values(prompt=question, max_tokens=64)
    text.panel.recall(PAGE, {}, *values)
    said = text.panel.ask(PAGE, {}, *values)
    while json.loads(next(said)[0])["kind"] != "answers":
        pass
    return said


def test_a_picture_is_asked_about_and_words_alone_stay_the_bases(seeing: Desk) -> None:
    question, shown = seeing.panel.suggest({})
    assert question and Path(shown["path"]).is_relative_to(seeing.site.served)
    (*_, about) = seeing.said(prompt=question, picture=shown)
    assert about["groups"] == ["MLP", "attention", "vision embedding"] and about["zero"]["different"] == 0
    blue = seeing.site.served / "blue.png"
    blue.write_bytes(picture_bytes("blue"))
    (*_, other) = seeing.said(prompt="", picture={"path": str(blue)})
    assert other["of"] != about["of"] and other["asked"]["picture"] == str(blue)
    (*_, alone), (*_, marked) = seeing.said(), seeing.said(on_marked="marked")
    assert len({words(marked, each) for each in marked["strengths"]}) == 1
    assert words(marked, 1) == words(marked, 0) == words(alone, 0) and words(alone, 1) != words(alone, 0)
    again = read_question(json.loads(json.dumps(marked["asked"])), seeing.entry, seeing.site.served)
    assert again.on_marked and again.plain() == marked["asked"]


def test_what_was_held_out_is_suggested(text: Desk) -> None:
    run = text.entry.home
    samples = samples_of(text.site.previews.session(text.entry), run, RunConfig.load(run / "run.json"))
    (question,) = text.panel.suggest({})
    assert question in [sample.caption for sample in samples.validation]


def test_each_family_offers_its_own_forms(text: Desk, seeing: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (forms(False), forms(True)) == (["peft", "merged"], ["diffusers", "merged"])
    for each, shown in ((text, ["peft", "merged"]), (seeing, ["diffusers", "merged"])):
        assert [form for form, button in each.panel.downloads.items() if button.visible] == shown
    served = text.site.served
    with zipfile.ZipFile(export_for_browser(text.entry, "", served)) as archive:
        assert sorted(archive.namelist()) == ["adapter_config.json", "adapter_model.safetensors"]
    with zipfile.ZipFile(export_for_browser(seeing.entry, "merged", served)) as archive:
        assert {"config.json", "model.safetensors", "vision_embedding/config.json"} <= set(archive.namelist())
    assert export_for_browser(seeing.entry, "", served).suffix == ".safetensors"
    with pytest.raises(ProblemsError, match="must be one of peft, merged"):
        export_for_browser(text.entry, "kohya", served)
    monkeypatch.setattr(previews, "_MERGED_LIMIT", 1000)
    link, problems = text.panel.download("merged", {})
    assert link is None and "python -m pipelines export RUN_DIR --format merged" in problems
    assert text.panel.download("peft", {})[0]["name"].endswith(".zip")


def test_the_answers_of_a_run_while_it_trains_are_told_by_step(text: Desk) -> None:
    run = text.entry.home
    paths = sorted((run / "previews").glob("*.txt"))
    assert [path.name for path in paths] == ["step-000003-0.txt", "step-000006-0.txt"]
    paths[-1].write_text("<b>the last</b>")
    found = {
        step: Previewed(step, (path.relative_to(run).as_posix(),), "What?")
        for step, path in zip((3, 6), paths, strict=True)
    }
    told = progress.strip(run, found)
    assert told.count("What?") == 1 and "&lt;b&gt;the last" in told
    assert re.findall(r'data-preview="(\d+)"', told) == ["3", "6"]
    assert progress.strip(run, {3: Previewed(3, ("../../../../etc/hostname.txt",), "What?")}) == ""


class TestLibrary:
    """What answers is imported, tried and taken home there as well."""

    @staticmethod
    def brought(each: Desk, path: Path, base: str = "") -> Entry:
        """What became of a file that another visitor brought."""
        library, (visitor, _) = Library(each.site), each.site.who(None)
        entry = library.entry(visitor, library.take_in(visitor, path, base))
        (card,) = library.cards(visitor)
        assert card.entry == entry and card.facts["problems"] == [] and library.layers(visitor, card.id)
        return entry

    @staticmethod
    def answer(each: Desk, entry: Entry) -> str:
        request = read_question(GOOD, entry, each.site.served).request
        *_, (found,) = each.site.previews.session(entry).answers(entry.path, request, (1,))
        return found.text

    def test_a_peft_folder_comes_back_as_it_went(self, text: Desk, tmp_path: Path) -> None:
        sent = export_for_browser(text.entry, "peft", text.site.served)
        entry = self.brought(text, sent, text.entry.base)
        assert (entry.family, entry.options) == ("text_llm", text.entry.options)
        assert self.answer(text, entry) == self.answer(text, text.entry)
        # As another program would have written it: without a word about our settings.
        foreign = tmp_path / "foreign"
        shutil.unpack_archive(sent, foreign)
        save_file(load_file(foreign / "adapter_model.safetensors"), foreign / "adapter_model.safetensors")
        packed = shutil.make_archive(str(tmp_path / "foreign"), "zip", foreign)
        theirs = self.brought(text, Path(packed), text.entry.base)
        assert theirs.family == "text_llm" and self.answer(text, theirs) == self.answer(text, text.entry)
        assert export_for_browser(theirs, "peft", text.site.served).suffix == ".zip"

    def test_one_that_sees_keeps_how_it_sees(self, seeing: Desk) -> None:
        sent = export_for_browser(seeing.entry, "diffusers", seeing.site.served)
        entry = self.brought(seeing, sent, seeing.entry.base)
        assert (entry.family, entry.options) == ("vora", seeing.entry.options)
        assert self.answer(seeing, entry) == self.answer(seeing, seeing.entry)

    def test_it_is_asked_and_not_drawn(self, text: Desk, seeing: Desk) -> None:
        shelf = LibraryTab(text.site)
        with gr.Blocks() as demo, gr.Tabs(), gr.Tab():
            shelf.build(gr.BrowserState({}), demo)
        for each, pictures in ((text, False), (seeing, True)):
            state = {"visitor": each.entry.home.parents[1].name, "adapter": each.entry.home.name}
            updates = dict(zip(map(id, shelf.chosen), shelf.look(state)[2:], strict=True))
            found = [updates[id(part)].visible for part in (shelf.drawing, shelf.cover, shelf.asking)]
            assert found == [False, False, True]
            assert [updates[id(part)].visible for part in shelf.answers.parts[:3]] == [pictures] * 3
            offered = [form for form, button in shelf.answers.downloads.items() if updates[id(button)].visible]
            assert sorted(offered) == sorted(forms(pictures))


def test_the_component_has_a_sentence_for_all_it_says() -> None:
    """The script names its sentences; one that is missing would show as "undefined"."""
    script, page = scripts.text("strengths", "answers"), str(answers("answers").html_template)
    said = json.loads(html.unescape(re.findall(r"data-words='([^']*)'", page)[0]))
    assert set(re.findall(r"words\.(\w+)", script)) <= set(said)
    parts = set(re.findall(r'data-part="([\w-]+)"', page))
    assert set(re.findall(r'\$\("([\w-]+)"\)', script)) <= parts
