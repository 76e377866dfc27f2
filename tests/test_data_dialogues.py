"""Dialogues from files of every form that circulates, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import DataConfig
from pipelines.data.dialogues import (
    MAX_TURN,
    TABLE,
    Dialogue,
    Turn,
    import_dialogues,
    read_dialogues,
    read_turns,
    remember_table,
    stored_dialogues,
)
from pipelines.data.picture_dialogues import ASKS, import_picture_dialogues, read_picture_dialogues
from pipelines.data.readers import READERS
from pipelines.data.recent import Recent, stamp
from pipelines.data.samples import METADATA
from pipelines.data.sources import ImportLimits
from pipelines.errors import ProblemsError
from tests.data_parts import make_folder, png

ASKED = (Turn("user", "What is a fox?"), Turn("assistant", "A wild dog with a bushy tail."))
QUESTION, ANSWER = ASKED[0].text, ASKED[1].text
ROWS: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": QUESTION, "input": "", "output": ANSWER},
    "sharegpt": {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
    "openai": {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]},
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": ANSWER},
        ]
    },
    "pair": {"Question": QUESTION, "Answer": ANSWER},
    "completion": {"prompt": QUESTION, "completion": f" {ANSWER}\r\n"},
    "plain text": {"text": f"Human: {QUESTION}\nAssistant: {ANSWER}"},
    "guanaco": {"text": f"### Human: {QUESTION}### Assistant: {ANSWER}"},
}


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def turns(dataset: Any) -> list[tuple[Turn, ...]]:
    return [sample.turns for sample in dataset.samples]


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_every_form_of_a_row_is_read(row: dict[str, Any]) -> None:
    assert read_turns(row) == ASKED


def test_system_input_history_and_several_turns() -> None:
    row = {
        "instruction": "Translate",
        "input": "狐狸",
        "output": "fox",
        "system": "Be brief.",
        "history": [["Hi", "Hello"]],
    }
    assert [turn.text for turn in read_turns(row)] == ["Be brief.", "Hi", "Hello", "Translate\n狐狸", "fox"]
    talk = [("gpt", "Welcome!"), ("human", "Hi"), ("human", "there"), ("gpt", "Hello"), ("human", "Bye")]
    found = read_turns({"conversations": [{"from": who, "value": said} for who, said in talk]})
    assert found == (Turn("user", "Hi\nthere"), Turn("assistant", "Hello"))


def test_json_jsonl_csv_and_zip_give_the_same(tmp_path: Path) -> None:
    alpaca = ROWS["alpaca"]
    table = f"instruction,input,output\n{QUESTION},,{ANSWER}\n"
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner/faq.json", json.dumps({"data": [alpaca]}))
    given = {
        "list.json": json.dumps([alpaca]),
        "one.json": json.dumps(alpaca),
        "lines.json": f"{json.dumps(alpaca)}\n{json.dumps(alpaca)}\n",
        "lines.jsonl": f"\ufeff{json.dumps(alpaca)}\r\n\n",
        "table.csv": table,
    }
    for name, content in given.items():
        assert turns(import_dialogues([write(tmp_path / name, content)], tmp_path / f"of-{name}")) == [ASKED], name
    assert turns(import_dialogues([archive], tmp_path / "of-zip")) == [ASKED]
    together = import_dialogues([tmp_path / "list.json", tmp_path / "table.csv", archive], tmp_path / "all")
    assert turns(together) == [ASKED] and "2 rows are word for word" in together.notes[0]
    assert together.samples[0].name == "inner/faq.json, row 1"


def test_chinese_stays_as_it_is_and_reading_back_gives_the_same(tmp_path: Path) -> None:
    rows = [{"instruction": "狐狸是什么？", "output": "一种野生的犬科动物。\n尾巴蓬松。"}, ROWS["openai"]]
    dataset = import_dialogues([write(tmp_path / "问答.json", json.dumps(rows, ensure_ascii=False))], tmp_path / "out")
    again = read_dialogues(tmp_path / "out")
    assert again == dataset and again.fingerprint == dataset.fingerprint
    assert dataset.samples[0].turns[1].text.endswith("\n尾巴蓬松。") and dataset.samples[0].name == "问答.json, row 1"
    assert "狐狸" in (tmp_path / "out" / TABLE).read_text(encoding="utf-8")


def test_the_same_dialogues_in_any_order_have_the_same_fingerprint(tmp_path: Path) -> None:
    rows = [ROWS["alpaca"], {"prompt": "Hi", "completion": "Hello"}]
    one = import_dialogues([write(tmp_path / "a.json", json.dumps(rows))], tmp_path / "one")
    two = import_dialogues([write(tmp_path / "b.json", json.dumps(rows[::-1]))], tmp_path / "two")
    assert one.fingerprint == two.fingerprint


BAD_ROWS = {
    "has no answer": {"instruction": "Say something", "output": ""},
    "has no question": {"output": "An answer"},
    "holds binary data": {"instruction": "Say", "output": "\x01\x02\x03\x04junk\ufffd\ufffd"},
    "has a turn of 'function_call'": {"conversations": [{"from": "function_call", "value": "f()"}]},
    "not an object": "just words",
    "must be a list": {"messages": "hello"},
    "where text was expected": {"instruction": {"a": 1}, "output": "b"},
    "speaks of a picture": {"instruction": "<image>\nWhat is it?", "output": "A fox"},
    "more than 100,000 characters": {"instruction": "Say", "output": "a" * (MAX_TURN + 1)},
}


@pytest.mark.parametrize("words", BAD_ROWS)
def test_a_bad_row_is_named_and_left_out(words: str, tmp_path: Path) -> None:
    file = write(tmp_path / "faq.json", json.dumps([ROWS["alpaca"], BAD_ROWS[words]]))
    dataset = import_dialogues([file], tmp_path / "out")
    assert turns(dataset) == [ASKED]
    (told,) = dataset.rejected
    assert told.startswith("faq.json, row 2 ") and words in told


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    rows = [ROWS["alpaca"], *({"instruction": f"Question {i}"} for i in range(30))]
    dataset = import_dialogues([write(tmp_path / "faq.json", json.dumps(rows))], tmp_path / "out")
    assert len(dataset.rejected) == 6 and "25 more rows" in dataset.rejected[-1]
    assert read_dialogues(tmp_path / "out").rejected == dataset.rejected


def test_broken_files_are_told_with_the_line(tmp_path: Path) -> None:
    good = json.dumps(ROWS["alpaca"])
    broken = {
        "a.jsonl": (f"{good}\n{{broken\n", "a.jsonl, line 2 is not JSON"),
        "b.json": ('[{"instruction": "x",\n oops}]', "b.json, line 2 is not JSON"),
        "c.json": ('"words"', "must be a list of rows"),
        "d.csv": ("colour,size\nred,3\n", "d.csv has the columns colour, size"),
        "e.jsonl": (b"\xff\xfe\x00binary", "not text in UTF-8"),
        "f.txt": ("Hello", "give dialogues as JSON, JSONL or CSV"),
        "g.json": ("[" * 100_000, "g.json is not JSON"),
    }
    for name, (content, words) in broken.items():
        dataset = import_dialogues([write(tmp_path / name, content)], tmp_path / f"of-{name}")
        assert len(dataset.rejected) == 1 and words in dataset.rejected[0], dataset.rejected
        with pytest.raises(ProblemsError) as caught:
            if not dataset.samples:
                read_dialogues(tmp_path / f"of-{name}")
            raise ProblemsError("No dialogue")
        assert caught.value.problems[0].startswith("No dialogue")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = write(tmp_path / "large.jsonl", json.dumps(ROWS["alpaca"]) + "\n" + " " * 3000)
    dataset = import_dialogues([file], tmp_path / "out", limits=ImportLimits(table_bytes=2000))
    assert not dataset.samples and "more than 1.953 KB" in dataset.rejected[0]


def test_a_forged_table_gives_sentences(tmp_path: Path) -> None:
    write(tmp_path / TABLE, 'junk\n[1]\n{"name": 3}\n{"name": "a", "messages": [{"role": "user", "content": "x"}]}\n')
    with pytest.raises(ProblemsError) as caught:
        read_dialogues(tmp_path)
    assert len(caught.value.problems) == 5
    with pytest.raises(ProblemsError, match="import the dialogues first"):
        read_dialogues(tmp_path / "nowhere")


def test_a_dialogue_tells_its_question() -> None:
    assert Dialogue("id", "name", (Turn("system", "Be brief."), *ASKED)).question == QUESTION


def test_the_longest_stand_for_all(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi", "completion": "a" * (1 + i * 7 % 10)} for i in range(10)]
    import_dialogues([write(tmp_path / "a.json", json.dumps(rows))], tmp_path / "out")
    READERS["dialogues"].few(tmp_path / "out", tmp_path / "few", 3)
    found = READERS["dialogues"].read(tmp_path / "few", DataConfig()).samples
    assert sorted(len(sample.turns[1].text) for sample in found) == [8, 9, 10]


class TestAboutPictures:
    """Pictures with captions, LLaVA's JSON and plain tables of questions, in one folder."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        talk = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A fox."}]
        rows: list[dict[str, Any]] = [
            {"id": 1, "image": "coco/train/fox.png", "conversations": talk},
            {"image": "cat.png", "question": "Which animal?", "answer": "A cat."},
            {"images": ["fox.png", "cat.png"], "question": "<image><image>Which is red?", "answer": "The first."},
            {"question": "What is a fox?", "answer": "A wild dog."},
        ]
        return make_folder(
            tmp_path / "in",
            {
                "set/fox.png": png(1),
                "set/cat.png": png(2),
                "set/dog.png": png(3),
                "set/dog.txt": "a brown dog",
                "set/IMG_0001.png": png(4),
                "llava.json": json.dumps(rows),
            },
        )

    def test_all_of_them_become_dialogues(self, folder: Path, tmp_path: Path) -> None:
        imported = import_picture_dialogues([folder], tmp_path / "out")
        assert not imported.rejected and len(imported.samples) == 4
        found = read_picture_dialogues(tmp_path / "out", DataConfig())
        said = {(sample.turns[0].text, sample.turns[-1].text, len(sample.pictures)) for sample in found.samples}
        (ask,) = [question for question, answer, _ in said if answer == "a brown dog"]
        assert ask.removeprefix("<image>\n") in ASKS
        assert said == {
            ("<image>\nWhat is it?", "A fox.", 1),
            ("<image>\nWhich animal?", "A cat.", 1),
            ("<image><image>Which is red?", "The first.", 2),
            ("What is a fox?", "A wild dog.", 0),
            (ask, "a brown dog", 1),
        }
        assert any("IMG_0001.png" in note and "neither caption" in note for note in found.notes)
        assert all(path.is_file() for sample in found.samples for path in sample.pictures)
        assert found.fingerprint == read_picture_dialogues(tmp_path / "out", DataConfig()).fingerprint
        assert len({sample.id for sample in found.samples}) == 5

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ({"image": "nowhere.png", "question": "What?", "answer": "x"}, "names the picture 'nowhere.png'"),
            ({"image": "../../etc/passwd", "question": "What?", "answer": "x"}, "which is not there"),
            ({"image": 3, "question": "What?", "answer": "x"}, "must be the names of files"),
            ({"image": "fox.png", "question": "<image><image>?", "answer": "x"}, "2 times <image> for 1 pictures"),
            ({"image": "fox.png", "question": "What?", "answer": "<image>"}, "not the user's"),
            ({"question": "<image>\nWhat?", "answer": "x"}, "names none"),
        ],
    )
    def test_pictures_that_are_missing_are_told(
        self, folder: Path, tmp_path: Path, row: dict[str, Any], words: str
    ) -> None:
        (folder / "llava.json").write_text(json.dumps([row]))
        dataset = import_picture_dialogues([folder], tmp_path / "out")
        assert not dataset.samples and len(dataset.rejected) == 1
        assert dataset.rejected[0].startswith("llava.json, row 1 ") and words in dataset.rejected[0]

    def test_a_forged_line_names_no_file_outside(self, folder: Path, tmp_path: Path) -> None:
        import_picture_dialogues([folder], tmp_path / "out")
        write(tmp_path / "secret.png", png(1))
        line = {"name": "a", "images": ["../secret.png"], **ROWS["openai"]}
        with (tmp_path / "out" / TABLE).open("a") as table:
            table.write(json.dumps(line) + "\n")
        found = read_picture_dialogues(tmp_path / "out", DataConfig())
        assert f"{TABLE}, line 5 is no dialogue of this data set" in found.rejected[0]

    def test_either_table_may_be_missing_where_it_would_list_nothing(self, folder: Path, tmp_path: Path) -> None:
        reader = READERS["pictures with dialogues"]
        reader.bring([folder], tmp_path / "out")
        (tmp_path / "out" / TABLE).unlink()
        assert reader.there(tmp_path / "out")
        (captioned,) = reader.read(tmp_path / "out", DataConfig(captions_from_names=False)).samples
        assert captioned.turns[-1].text == "a brown dog"
        faq = write(tmp_path / "faq.json", json.dumps([ROWS["alpaca"]]))
        reader.bring([faq], tmp_path / "text")
        assert not (tmp_path / "text" / METADATA).exists() and reader.there(tmp_path / "text")
        assert turns(reader.read(tmp_path / "text", DataConfig())) == [ASKED]

    def test_an_import_that_was_cut_short_is_made_again(self, folder: Path, tmp_path: Path) -> None:
        reader = READERS["pictures with dialogues"]
        reader.bring([folder], tmp_path / "out")
        (tmp_path / "out" / METADATA).unlink()
        assert not reader.there(tmp_path / "out")

    def test_a_few_stand_for_all(self, folder: Path, tmp_path: Path) -> None:
        import_picture_dialogues([folder], tmp_path / "out")
        reader = READERS["pictures with dialogues"]
        reader.few(tmp_path / "out", tmp_path / "few", 2)
        found = reader.read(tmp_path / "few", DataConfig()).samples
        assert 2 <= len(found) <= 4 and all(path.is_file() for sample in found for path in sample.pictures)


def test_a_table_that_stays_the_same_is_read_once(tmp_path: Path) -> None:
    import_dialogues([write(tmp_path / "a.json", json.dumps([ROWS["alpaca"]]))], tmp_path / "out")
    first = read_dialogues(tmp_path / "out").samples
    assert read_dialogues(tmp_path / "out").samples is first
    remember_table(tmp_path / "out" / TABLE, first[:0])
    assert stored_dialogues(tmp_path / "out").samples == ()
    with (tmp_path / "out" / TABLE).open("a") as table:
        table.write(json.dumps({"name": "b", "question": "Who?", "answer": "Me."}) + "\n")
    assert len(read_dialogues(tmp_path / "out").samples) == 2


def test_what_was_looked_at_last_is_kept(tmp_path: Path) -> None:
    recent: Recent[tuple[int, ...]] = Recent(3)
    files = [write(tmp_path / name, name) for name in "abc"]
    for path in files:
        recent.put(path, stamp(path), (1, 2))
    assert [recent.get(path) for path in files] == [None, None, (1, 2)]
    write(files[2], "changed")
    assert recent.get(files[2]) is None
