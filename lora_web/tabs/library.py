"""The library: every adapter of a visitor as a card; the chosen one can be tried, renamed, taken home, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from pipelines.bases import BUNDLED
from pipelines.errors import ProblemsError

from .. import sentences
from ..cards import TITLE_LENGTH, picture_of_uri, set_cover
from ..entries import Entry, answers
from ..library import Library
from ..panels import QUICK, SLOW, confirmed
from ..panels.answers import Answers
from ..panels.layout import Layout
from ..panels.strength import FAULTS, Strength
from ..shelf import cards_for, layer_tables, particulars, shelf
from ..site import Site
from ..text import say, spoken
from ..workspace import Visitor

# Pickles are let in to be told what is wrong with them.
_FILE_TYPES = [".safetensors", ".zip", ".pt", ".pth", ".ckpt", ".bin"]
_SHOWN_PICTURE = """(who) => {
  const picture = document.querySelector('#library-ladder img[data-part="adapter"]');
  return [who, (picture && picture.getAttribute("src")) || ""];
}"""


def title() -> str:
    return say("library")


class LibraryTab:
    """A handler gets the browser's state first and believes none of it (`Site.who`)."""

    def __init__(self, site: Site):
        self.site, self.library = site, Library(site)

    def build(self, who: gr.BrowserState, demo: gr.Blocks) -> None:
        """Lay out the tab and connect it. The cards are read when the tab is opened."""
        self.who = who
        opened = Context.block
        assert isinstance(opened, gr.Tab)
        gr.Markdown(say("library.intro"))
        with gr.Row(equal_height=False):
            with gr.Column(scale=6, min_width=320):
                self.shelf = shelf()
                self._lay_out_import()
            with gr.Column(scale=5, min_width=320, visible=False, elem_id="library-detail") as self.detail:
                self._lay_out_detail()
        # Everything that changes with the chosen adapter.
        self.chosen = [self.detail, self.name, self.facts, self.layers, self.drawing, self.asking, self.cover]
        self.chosen += [self.strength.shown, *self.strength.outputs, self.answers.shown, *self.answers.outputs]
        assert self.strength.layout
        self.chosen += [*self.answers.parts, *self.strength.layout.outputs]
        self._connect(opened)

    def _lay_out_import(self) -> None:
        bases = [(base.title, base.name) for base in BUNDLED.values()]
        with gr.Accordion(say("library.import"), open=True, elem_id="library-import"):
            self.files = gr.File(
                label=say("library.files"),
                file_count="multiple",
                file_types=_FILE_TYPES,
                height=120,
                elem_id="library-files",
            )
            with gr.Row(equal_height=False):
                self.base = gr.Dropdown(
                    [(say("library.as_said"), ""), *bases],
                    value="",
                    label=say("library.base"),
                    info=say("library.base_help"),
                    allow_custom_value=True,
                    scale=4,
                    elem_id="library-base",
                )
                self.bring = gr.Button(say("library.bring"), scale=1, min_width=100, elem_id="library-bring")
            self.told = gr.HTML("", elem_id="library-problems")

    def _lay_out_detail(self) -> None:
        with gr.Row(equal_height=False):
            self.name = gr.Textbox(
                label=say("library.title"), max_lines=1, max_length=TITLE_LENGTH, scale=5, elem_id="library-title"
            )
            self.rename = gr.Button(say("library.rename"), scale=1, min_width=100, elem_id="library-rename")
        self.wrong = gr.HTML("", elem_id="library-wrong", elem_classes="problems-here")
        self.facts = gr.HTML("", apply_default_css=False, elem_id="library-facts")
        with gr.Accordion(say("library.layers"), open=False, elem_id="library-layers") as self.fold:
            self.layers = gr.HTML("", apply_default_css=False, min_height=40)
        gr.Markdown(f"## {say('library.try')}")
        with gr.Column() as self.drawing:
            self.strength = Strength(self.site, self.who, self.source, self.others, prefix="library-", boxes=True)
        with gr.Column(visible=False) as self.asking:
            self.answers = Answers(
                self.site, self.who, self.source, self.others, prefix="library-words-", pictures=True
            )
        with gr.Row():
            self.cover = gr.Button(say("library.cover"), min_width=150, elem_id="library-cover")
            self.delete = gr.Button(say("library.delete"), variant="stop", min_width=100, elem_id="library-delete")

    def _connect(self, opened: gr.Tab) -> None:
        who, brought = self.who, [self.who, self.told, self.files, self.shelf, *self.chosen]
        self.strength.connect()
        self.answers.connect()
        opened.select(spoken(self.look), [who], [who, self.shelf, *self.chosen], **QUICK)
        self.shelf.choose(
            spoken(self.choose), [who], [who, self.shelf, *self.chosen], trigger_mode="always_last", **QUICK
        )
        gr.on(
            [self.files.upload, self.bring.click],
            spoken(self.take_in),
            [who, self.files, self.base],
            brought,
            show_progress_on=self.told,
            **SLOW,
        )
        changed = [self.wrong, self.shelf]
        gr.on([self.rename.click, self.name.submit], spoken(self.retitle), [who, self.name], changed, **QUICK)
        self.cover.click(spoken(self.take_cover), [who, self.wrong], changed, js=_SHOWN_PICTURE, **QUICK)
        self.fold.expand(spoken(self.show_layers), [who], [self.layers], **SLOW)
        removed = [who, self.wrong, self.shelf, *self.chosen]
        self.delete.click(spoken(self.throw_away), [who], removed, **confirmed("library.delete_sure"))

    def look(self, state: Any) -> list[Any]:
        """The tab was opened: every card, and the adapter that was chosen last."""
        visitor, who = self.site.who(state)
        return [who, self._cards(visitor, who), *self._detail(visitor, who)]

    def choose(self, state: Any, event: gr.EventData) -> list[Any]:
        """A card was clicked."""
        visitor, who = self.site.who(state)
        asked = event._data.get("id") if isinstance(event._data, dict) else None
        if self.library.card(visitor, asked):
            who["adapter"] = asked
        return [who, self._cards(visitor, who), *self._detail(visitor, who)]

    def take_in(self, state: Any, files: Any, base: Any) -> list[Any]:
        """Import files; those that cannot be used stay in the field, with what is wrong with them."""
        visitor, who = self.site.who(state)
        # Gradio has checked this as well; a path from outside must never get further than here.
        paths = [Path(str(name)).resolve() for name in files or []]
        paths = [path for path in paths if path.is_relative_to(self.site.served) and path.is_file()]
        problems, titles, left = [] if paths else [say("library.no_files")], [], []
        for path in paths:
            try:
                who["adapter"] = self.library.take_in(visitor, path, base.strip() if isinstance(base, str) else "")
                titles.append(self.library.entry(visitor, who["adapter"]).title)
            except ProblemsError as error:
                problems.extend(error.problems)
                left.append(str(path))
            except FAULTS as error:
                problems.append(say("library.unstored", name=path.name, reason=error or type(error).__name__))
                left.append(str(path))
        told = sentences.good(say("library.taken", titles=", ".join(titles))) if titles else ""
        cards = [self._cards(visitor, who), *self._detail(visitor, who)] if titles else [gr.skip()] * self._count
        return [who, told + sentences.problems(problems), left or None, *cards]

    def retitle(self, state: Any, text: Any) -> list[Any]:
        """Another title for the chosen adapter."""
        return self._changed(state, lambda visitor, name: self.library.rename(visitor, name, text))

    def take_cover(self, state: Any, picture: Any) -> list[Any]:
        """The picture that the ladder shows becomes the cover."""

        def change(visitor: Visitor, name: Any) -> None:
            set_cover(self.library.entry(visitor, name).path, picture_of_uri(picture))

        return self._changed(state, change)

    def show_layers(self, state: Any) -> str:
        """The layers of the chosen adapter: groups, ranks, norms."""
        visitor, who = self.site.who(state)
        try:
            return layer_tables(self.library.layers(visitor, who.get("adapter")))
        except ProblemsError as error:
            return sentences.problems(error.problems)
        except FAULTS as error:
            return sentences.problems([say("failed_preview", reason=error or type(error).__name__)])

    def throw_away(self, state: Any) -> list[Any]:
        """Delete the chosen adapter. A person who said no sends nothing: nothing changes."""
        if not state:
            return [gr.skip()] * (2 + self._count)
        visitor, who = self.site.who(state)
        said = ""
        try:
            self.library.delete(visitor, who.pop("adapter", None))
        except ProblemsError as error:
            said = sentences.problems(error.problems)
        return [who, said, self._cards(visitor, who), *self._detail(visitor, who)]

    def source(self, state: Any) -> Entry:
        """The chosen adapter. Raises ProblemsError when there is none."""
        visitor, who = self.site.who(state)
        if not who.get("adapter"):
            raise ProblemsError(say("library.choose"))
        return self.library.entry(visitor, who["adapter"])

    def others(self, state: Any) -> Iterator[tuple[str, Entry]]:
        """What the chosen adapter can be compared with: the other adapters of its base."""
        visitor, _ = self.site.who(state)
        own = self.source(state)
        for card in self.library.cards(visitor):
            if card.entry.path != own.path and (card.entry.family, card.entry.base) == (own.family, own.base):
                yield f"{card.entry.title} ({card.id[:4]})", card.entry

    @property
    def _count(self) -> int:
        return 1 + len(self.chosen)

    def _changed(self, state: Any, change: Any) -> list[Any]:
        visitor, who = self.site.who(state)
        try:
            change(visitor, who.get("adapter"))
        except ProblemsError as error:
            return [sentences.problems(error.problems), gr.skip()]
        return ["", self._cards(visitor, who)]

    def _cards(self, visitor: Visitor, who: dict[str, Any]) -> dict[str, Any]:
        return cards_for(self.library.cards(visitor), who.get("adapter"))

    def _detail(self, visitor: Visitor, who: dict[str, Any]) -> list[Any]:
        """Updates of `chosen`."""
        card = self.library.card(visitor, who.get("adapter"))
        entry = card.entry if card else None
        usable, speaks = card is not None and not card.facts.get("problems"), entry is not None and answers(entry)
        return [
            gr.Column(visible=card is not None),
            card.entry.title if card else "",
            particulars(card) if card else "",
            "",
            gr.Column(visible=not speaks),
            gr.Column(visible=speaks),
            gr.Button(visible=not speaks),
            None,
            *self.strength.view(usable),
            None,
            *self.answers.view(usable),
            *self.answers.narrow(entry),
            *Layout.view(entry),
        ]


def build(site: Site, who: gr.BrowserState, demo: gr.Blocks) -> None:
    """The tab in the language spoken now."""
    LibraryTab(site).build(who, demo)
