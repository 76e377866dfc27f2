"""The editor of dialogues on the server: what is kept, undone, imported, refused; with pictures and without."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from lora_web.datasets import desk_of, need_of, pictures_of, rows_of
from lora_web.picture_desk import PictureDesk
from lora_web.row_desk import PAGE, RowDesk
from lora_web.talk_desk import TalkDesk
from lora_web.workspace import Limits, Visitor, Workspace
from pipelines.config import DataConfig
from pipelines.data.dialogues import TABLE, import_dialogues, read_dialogues
from pipelines.data.readers import READERS
from pipelines.data.samples import METADATA
from pipelines.errors import ProblemsError
from tests.data_parts import make_folder, make_zip, png
from tests.dialogue_parts import make_dialogues
from tests.web_parts import ROOT

gr = pytest.importorskip("gradio")

EXAMPLE = ROOT / "examples/data/dialogues/plain_words.jsonl"


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return Workspace(tmp_path / "workspace").visitor(None)


@pytest.fixture
def desk(visitor: Visitor, tmp_path: Path) -> RowDesk:
    desk = RowDesk(visitor, visitor.new_dataset())
    desk.add([make_dialogues(tmp_path / "in", 45)])
    return desk


@pytest.fixture
def talk(visitor: Visitor, tmp_path: Path) -> TalkDesk:
    """Two pictures, one with two questions and a caption, and a question without a picture."""
    rows = [
        {"image": "fox.png", "question": "<image>\nWhat is it?", "answer": "A fox."},
        {"image": "fox.png", "question": "Which colour?", "answer": "Red."},
        {"question": "What is a fox?", "answer": "A wild dog."},
        {"image": "owl.png", "question": "What is it?", "answer": "An owl."},
    ]
    files = {"set/fox.png": png(1), "set/cat.png": png(2), "set/cat.txt": "a cat", "llava.json": json.dumps(rows)}
    desk = TalkDesk(visitor, visitor.new_dataset())
    desk.add([make_zip(tmp_path / "set.zip", files)])
    return desk


def row(desk: RowDesk, number: int) -> dict[str, Any]:
    (found,) = [one for one in desk.view({"at": str(number)})["rows"] if one["id"] == str(number)]
    return dict(found)


def asked(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "text": question}, {"role": "assistant", "text": answer}]


def learned(desk: RowDesk) -> list[list[str]]:
    """What the trainer would read."""
    return [[turn.text for turn in sample.turns] for sample in read_dialogues(desk.folder).samples]


def test_a_page_at_a_time_and_search_on_the_server(desk: RowDesk) -> None:
    first = desk.open({})
    assert (len(first["rows"]), first["pages"], first["found"], first["count"]) == (PAGE, 3, 45, 45)
    assert first["rows"][0]["turns"][0]["text"] == "What is fox 0?" and first["rows"][0]["name"] == "faq.jsonl, line 1"
    last = desk.view({"page": 99})
    assert (last["page"], len(last["rows"])) == (2, 5)
    found = desk.view({"query": "RHINOCEROS what"})
    assert [one["id"] for one in found["rows"]] == ["10", "20", "30", "40"]
    assert desk.view({"at": "45"})["page"] == 2
    # A row that a search does not find is shown all the same when it is asked for.
    assert desk.view({"query": "fox", "at": "45"})["query"] == ""


def test_an_edit_is_what_the_trainer_reads_and_the_row_keeps_its_number(desk: RowDesk) -> None:
    version = desk.view({})["version"]
    answer = desk.save({"version": version, "edits": [{"id": "3", "turns": asked("  Was?\r\n", "狐狸\nzwei")}]})
    assert answer == {"version": version + 1, "count": 45, "refused": {}, "added": {}, "missing": []}
    assert row(desk, 3)["turns"] == asked("Was?", "狐狸\nzwei")
    assert learned(desk)[2] == ["Was?", "狐狸\nzwei"] and len(learned(desk)) == 45
    # Who knows an older version is told everything.
    assert len(desk.save({"version": version, "edits": []})["rows"]) == PAGE
    # A later server, without what this one remembers, sees the same.
    copy = RowDesk(desk.visitor, desk.folder.name)
    (copy.folder / TABLE).touch()
    assert row(copy, 3)["turns"] == asked("Was?", "狐狸\nzwei")


def test_several_turns_and_what_the_system_says(desk: RowDesk) -> None:
    turns = [{"role": "system", "text": "Be brief."}, *asked("Hi", "Hello"), *asked("Bye", "Bye")]
    assert not desk.save({"edits": [{"id": "1", "turns": turns}]})["refused"]
    assert row(desk, 1)["turns"] == turns
    turns[0] = {"role": "system", "text": " "}
    assert not desk.save({"edits": [{"id": "1", "turns": turns}]})["refused"]
    assert row(desk, 1)["turns"] == turns[1:]


def test_new_rows_are_given_numbers_and_asking_twice_adds_once(desk: RowDesk) -> None:
    edit = {"id": "new-abc", "turns": asked("New?", "Yes.")}
    assert desk.save({"edits": [edit]})["added"] == {"new-abc": "46"}
    assert desk.save({"edits": [edit]})["added"] == {"new-abc": "46"}
    assert learned(desk)[-1] == ["New?", "Yes."] and len(learned(desk)) == 46
    desk.save({"remove": ["46"]})
    assert desk.save({"edits": [{"id": "new-b", "turns": asked("Newer?", "Yes.")}]})["added"] == {"new-b": "47"}


def test_deleting_can_be_undone_until_the_page_is_opened_again(desk: RowDesk) -> None:
    before = learned(desk)
    desk.save({"remove": ["2", "44"]})
    assert len(learned(desk)) == 43
    assert not desk.save({"restore": ["44", "2"]})["refused"]
    assert learned(desk) == before
    gone = desk.clear({"query": "fox"})
    assert gone["gone"] == ["1", "11", "21", "31", "41"] and gone["count"] == 40
    gone = desk.clear({})
    assert desk.empty and len(gone["gone"]) == 40
    assert not desk.save({"restore": gone["gone"]})["refused"] and len(learned(desk)) == 40
    desk.open({})
    assert list(desk.save({"restore": ["1"]})["refused"]) == ["1"]


def test_what_is_refused_is_told_and_everything_else_is_made(desk: RowDesk) -> None:
    system = {"role": "system", "text": "s"}
    bad: dict[str, Any] = {
        "without words": asked("", "x"),
        "answer without words": asked("x", " \n "),
        "word for word what row 2": row(desk, 2)["turns"],
        "holds binary data": asked("x", "\x00\x01\x02\x03"),
        "names none": asked("<image>\nWhat?", "x"),
        "more than 100000": asked("x", "y" * 100_001),
        "by turns": asked("x", "y")[::-1],
        "must be questions": [*asked("x", "y"), system],
        "at most 200": asked("x", "y") * 101,
        "[{": [{"role": "tool", "text": "x"}, {"role": "assistant", "text": "x"}],
        "None": None,
        "Row 1 has the turns": [{"role": "user", "content": "x"}] * 2,
        "[1": [1, 2],
    }
    for words, turns in bad.items():
        edits = [{"id": "1", "turns": turns}, {"id": "5", "turns": asked(f"good {words}", "yes")}]
        answer = desk.save({"edits": edits})
        assert list(answer["refused"]) == ["1"] and any(words in told for told in answer["refused"]["1"]), words
        assert row(desk, 5)["turns"] == asked(f"good {words}", "yes")
    assert row(desk, 1)["turns"][0]["text"] == "What is fox 0?"


@pytest.mark.parametrize(
    "name", ["0", "-1", "1e3", "٣", "46", "9" * 30, "../1", "new-", "new-A", None, 3, True, ["1"], {}]
)
def test_a_forged_id_changes_nothing(desk: RowDesk, name: Any) -> None:
    before = (desk.folder / TABLE).read_bytes()
    answer = desk.save({"edits": [{"id": name, "turns": asked("Forged?", "Yes.")}, name]})
    assert answer["refused"] and not answer["added"]
    if isinstance(name, str):
        desk.save({"remove": [name], "restore": [name]})
        assert desk.view({"at": name})["page"] == 0
    assert (desk.folder / TABLE).read_bytes() == before


def test_two_pages_at_once_lose_nothing(desk: RowDesk) -> None:
    version = desk.view({})["version"]
    desk.save({"version": version, "edits": [{"id": "1", "turns": asked("one", "1")}]})
    other = desk.save({"version": version, "edits": [{"id": "2", "turns": asked("two", "2")}]})
    assert [one["turns"] for one in other["rows"][:2]] == [asked("one", "1"), asked("two", "2")]
    desk.save({"remove": ["1"]})
    late = desk.save({"version": version, "edits": [{"id": "1", "turns": asked("late", "1")}]})
    assert late["missing"] == ["1"] and "no longer there" in late["refused"]["1"][0]


def test_files_of_every_form_and_what_is_wrong_with_them(visitor: Visitor, tmp_path: Path) -> None:
    good = {"instruction": "Say", "output": "Hello"}
    folder = make_folder(
        tmp_path / "in",
        {
            "a.jsonl": json.dumps(good) + "\n{broken\n" + json.dumps({"instruction": "No answer"}) + "\n",
            "b.csv": "question,answer\nWho?,Me\nSay,Hello\n",
            "c.json": '[{"prompt": "x",\n oops}]',
            "d.exe": "MZ",
        },
    )
    desk = RowDesk(visitor, visitor.new_dataset())
    answer = desk.add([*sorted(folder.iterdir()), make_zip(tmp_path / "e.zip", {"f.json": json.dumps([good])})])
    assert answer["count"] == 2 and answer["come"] == ["1", "2"]
    told = "\n".join(answer["rejected"])
    for sentence in (
        "a.jsonl, line 2 is not JSON",
        "a.jsonl, line 3 has no answer",
        "c.json, line 2 is not JSON",
        "d.exe",
    ):
        assert sentence in told
    # The next page tells it again; adding the same again adds nothing.
    assert desk.open({})["rejected"] == answer["rejected"]
    again = desk.add([folder / "b.csv"])
    assert again["come"] == [] and any("word for word, and stay" in note for note in again["notes"])
    with pytest.raises(ProblemsError, match="line 2 is not JSON"):
        desk.add([folder / "c.json"])
    assert len(learned(desk)) == 2


def test_the_example_makes_way_until_somebody_touched_it(visitor: Visitor, tmp_path: Path) -> None:
    own = make_dialogues(tmp_path / "in", 3)
    desk = RowDesk(visitor, visitor.new_dataset())
    come = desk.add([EXAMPLE], example=True)["come"]
    answer = desk.add([own])
    assert answer["gone"] == come and answer["count"] == 3 and any("made way" in note for note in answer["notes"])
    assert not desk.save({"restore": come, "remove": answer["come"]})["refused"]
    assert desk.add([own])["count"] == len(come) + 3


def test_rows_go_home_in_both_forms(desk: RowDesk, tmp_path: Path) -> None:
    turns = [{"role": "system", "text": "Be brief."}, *asked("Hi", "Hello"), *asked("Bye", "猫")]
    desk.save({"edits": [{"id": "1", "turns": turns}]})
    for form in ("jsonl", "alpaca"):
        name, text = desk.file(form)
        (tmp_path / name).write_text(text, encoding="utf-8")
        again = import_dialogues([tmp_path / name], tmp_path / form)
        assert not again.rejected and again.fingerprint == read_dialogues(desk.folder).fingerprint


def test_limits_hold(tmp_path: Path) -> None:
    few = Workspace(tmp_path / "few", Limits(rows=3)).visitor(None)
    desk = RowDesk(few, few.new_dataset())
    with pytest.raises(ProblemsError, match="at most 3"):
        desk.add([make_dialogues(tmp_path / "in", 4)])
    assert desk.empty
    desk.add([make_dialogues(tmp_path / "in", 3)])
    assert "at most 3" in desk.save({"edits": [{"id": "new-1", "turns": asked("a", "b")}]})["refused"]["new-1"][0]
    small = Workspace(tmp_path / "small", Limits(visitor_bytes=3000)).visitor(None)
    desk = RowDesk(small, small.new_dataset())
    desk.add([make_dialogues(tmp_path / "in", 2)])
    answer = desk.save({"edits": [{"id": "1", "turns": asked("a", "b" * 4000)}, {"id": "2", "turns": asked("a", "c")}]})
    assert list(answer["refused"]) == ["1"] and "at most" in answer["refused"]["1"][0]
    assert row(desk, 2)["turns"] == asked("a", "c")


def test_fifty_thousand_rows_stay_quick(visitor: Visitor, tmp_path: Path) -> None:
    desk = RowDesk(visitor, visitor.new_dataset())
    desk.add([make_dialogues(tmp_path / "in", 50_000)])
    desk.view({"page": 1})
    started = time.process_time()
    desk.view({"page": 2000})
    assert len(desk.view({"query": "moon 77"})["rows"]) > 0
    desk.save({"edits": [{"id": "40000", "turns": asked("a", "b")}]})
    # Not a measurement: reading all of them anew would take several times as long.
    assert time.process_time() - started < 3


def test_text_that_was_imported_by_other_ways_is_there(visitor: Visitor, tmp_path: Path) -> None:
    name = visitor.import_samples([make_dialogues(tmp_path / "in", 3)], "text_llm")
    desk = rows_of(visitor, name, "text_llm")
    assert [one["id"] for one in desk.view({})["rows"]] == ["1", "2", "3"]
    desk.save({"remove": ["2"]})
    assert [one["id"] for one in desk.view({})["rows"]] == ["1", "3"]


class TestWithPictures:
    def test_one_import_fills_both_editors_and_tells_once(self, talk: TalkDesk) -> None:
        pictures, rows = talk.open(), talk.rows.open({})
        assert {one["name"]: one["caption"] for one in pictures["pictures"]} == {
            "set/cat.png": "a cat",
            "set/fox.png": "",
        }
        assert any("owl.png" in line for line in pictures["rejected"]) and not rows["rejected"]
        fox = next(one["id"] for one in pictures["pictures"] if one["name"] == "set/fox.png")
        assert [(one["turns"][0]["text"], one["pictures"]) for one in rows["rows"]] == [
            ("What is it?", [fox]),
            ("Which colour?", [fox]),
            ("What is a fox?", []),
        ]
        found = READERS["pictures with dialogues"].read(talk.folder, DataConfig(captions_from_names=False)).samples
        assert sorted(sample.turns[-1].text for sample in found) == ["A fox.", "A wild dog.", "Red.", "a cat"]

    def test_either_editor_alone_makes_a_dataset(self, visitor: Visitor, tmp_path: Path) -> None:
        reader, none = READERS["pictures with dialogues"], DataConfig(captions_from_names=False)
        talk = TalkDesk(visitor, visitor.new_dataset())
        assert talk.empty
        talk.add([make_folder(tmp_path / "one", {"fox.png": png(1), "fox.txt": "a fox"})])
        assert not (talk.folder / TABLE).exists() and reader.there(talk.folder) and not talk.empty
        assert len(reader.read(talk.folder, none).samples) == 1
        text = TalkDesk(visitor, visitor.new_dataset())
        text.rows.save({"edits": [{"id": "new-1", "turns": asked("Hi", "Hello")}]})
        assert not (text.folder / METADATA).exists() and reader.there(text.folder) and not text.empty
        assert len(reader.read(text.folder, none).samples) == 1

    def test_a_person_asks_about_a_picture_that_is_there(self, talk: TalkDesk) -> None:
        ids = {sample.name: sample.id for sample in talk.samples()}
        edit = {"id": "new-1", "turns": asked("Is it asleep?", "No."), "pictures": [ids["set/cat.png"]]}
        assert talk.rows.save({"edits": [edit]})["added"] == {"new-1": "4"}
        assert row(talk.rows, 4) | {"name": ""} == {**edit, "id": "4", "name": ""}
        changed = talk.rows.save({"edits": [{"id": "4", "turns": asked("", "Still no.")}]})
        assert not changed["refused"] and row(talk.rows, 4)["turns"] == asked("", "Still no.")
        for pictures in (["0" * 16], ["../secret"], [3], "x", [ids["set/cat.png"] + ".png"], {}):
            edit = {"id": "new-2", "turns": asked("Forged?", "Yes."), "pictures": pictures}
            assert "no longer there" in talk.rows.save({"edits": [edit]})["refused"]["new-2"][0]

    def test_questions_come_later_for_pictures_already_there(self, talk: TalkDesk, tmp_path: Path) -> None:
        late = tmp_path / "late.jsonl"
        late.write_text('{"image": "cat.png", "question": "Whose?", "answer": "Mine."}\n')
        answer = talk.rows.add([late])
        cat = next(sample.id for sample in talk.samples() if sample.name == "set/cat.png")
        assert answer["come"] == ["4"] and row(talk.rows, 4)["pictures"] == [cat]
        both = make_folder(
            tmp_path / "both",
            {"owl.png": png(9), "q.json": '[{"image": "owl.png", "question": "What?", "answer": "An owl."}]'},
        )
        assert talk.rows.add(sorted(both.iterdir()))["come"] == ["5"] and len(talk.samples()) == 3

    def test_what_is_said_of_a_picture_goes_and_comes_with_it(self, talk: TalkDesk) -> None:
        fox = next(sample.id for sample in talk.samples() if sample.name == "set/fox.png")
        talk.rows.save({"remove": ["2"]})
        talk.save({"remove": [fox]})
        assert [one["id"] for one in talk.rows.view({})["rows"]] == ["3"]
        samples = READERS["pictures with dialogues"].read(talk.folder, DataConfig(captions_from_names=False)).samples
        assert sorted(sample.turns[-1].text for sample in samples) == ["A wild dog.", "a cat"]
        # A row that was deleted by itself waits for its picture.
        assert "bring the picture back" in talk.rows.save({"restore": ["2"]})["refused"]["2"][0]
        assert not talk.save({"restore": [fox]})["refused"]
        assert [one["id"] for one in talk.rows.view({})["rows"]] == ["1", "3"]
        assert not talk.rows.save({"restore": ["2"]})["refused"]
        assert [one["id"] for one in talk.rows.view({})["rows"]] == ["1", "2", "3"]

    def test_rows_go_home_with_the_names_of_their_pictures(self, talk: TalkDesk) -> None:
        rows = [json.loads(line) for line in talk.rows.file("jsonl")[1].splitlines()]
        assert [one.get("images") for one in rows] == [["set/fox.png"], ["set/fox.png"], None]
        assert len(json.loads(talk.rows.file("alpaca")[1])) == 1


def test_every_family_has_its_desk(visitor: Visitor) -> None:
    name = visitor.new_dataset()
    found = {family: type(desk_of(visitor, name, family)) for family in ("stable_diffusion", "text_llm", "vora")}
    assert found == {"stable_diffusion": PictureDesk, "text_llm": RowDesk, "vora": TalkDesk}
    assert [need_of(family) for family in found] == ["need_pictures", "need_rows", "need_talks"]
    for wrong in (lambda: rows_of(visitor, name, "stable_diffusion"), lambda: pictures_of(visitor, name, "text_llm")):
        with pytest.raises(ProblemsError):
            wrong()
