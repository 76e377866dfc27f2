"""From folders, zip files and single files to samples with captions."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import files
from pipelines.data.captions import clean, with_trigger, words_of_name
from pipelines.data.pictures import content_id
from pipelines.data.samples import Dataset, import_dataset, read_dataset
from pipelines.errors import ProblemsError

from .data_parts import CONTENTS, captions, make_folder, make_zip, only, png


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "run" / "dataset"


@pytest.mark.parametrize("kind", ["folder", "zip", "files"])
def test_pictures_and_captions_from_every_kind_of_source(tmp_path: Path, into: Path, kind: str) -> None:
    folder = make_folder(tmp_path / "in", CONTENTS)
    given = {
        "folder": [folder],
        "zip": [make_zip(tmp_path / "set.zip", CONTENTS)],
        # A browser's upload puts each file into a folder of its own.
        "files": [path for path in folder.rglob("*") if path.is_file()],
    }[kind]
    dataset = import_dataset(given, into)
    first = "one.png" if kind == "files" else "cats/one.png"
    assert captions(dataset) == {first: "a cat", "two.PNG": "a dog"}
    assert not dataset.rejected and not dataset.notes
    assert captions(read_dataset(into)) == captions(dataset)
    for sample in dataset.samples:
        assert (sample.width, sample.height) == sample.open().size == (24, 16)
        assert sample.path == into / f"{sample.id}.png"
        assert content_id(sample.path.read_bytes()) == sample.id
    rows = [json.loads(line) for line in (into / "metadata.jsonl").read_text().splitlines()]
    assert set(rows[0]) == {"file_name", "caption", "name", "width", "height", "look"}


def test_a_mix_of_sources_keeps_captions_apart(tmp_path: Path, into: Path) -> None:
    folder = make_folder(tmp_path / "in", {"a.png": png(1), "a.txt": "from the folder"})
    archive = make_zip(tmp_path / "set", {"a.png": png(2), "a.txt": "from the zip"})  # No ending: known by its bytes.
    single = make_folder(tmp_path / "x", {"a.png": png(3)}) / "a.png"
    dataset = import_dataset([folder, archive, single], into)
    assert sorted(s.caption for s in dataset.samples) == ["", "from the folder", "from the zip"]


def test_size_is_that_of_the_upright_picture(tmp_path: Path, into: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "in" / "a.jpg", exif=exif)
    (sample,) = import_dataset([tmp_path / "in"], into).samples
    assert (sample.width, sample.height) == (20, 40) == sample.open().size
    assert sample.path.suffix == ".jpg"


def test_the_ending_follows_the_bytes_not_the_name(tmp_path: Path, into: Path) -> None:
    folder = make_folder(tmp_path / "in", {"a.jpeg": png(1)})
    assert import_dataset([folder], into).samples[0].path.suffix == ".png"


def test_caption_precedence_is_said(tmp_path: Path, into: Path) -> None:
    table = '{"file_name": "a.png", "text": "table a"}\n{"file_name": "./sub/b.png", "caption": "table b"}\n'
    folder = make_folder(
        tmp_path / "in",
        {"metadata.jsonl": table, "a.png": png(1), "a.txt": "txt a", "a.caption": "caption a", "sub/b.png": png(2)}
        | {
            "c.png": png(3),
            "c.txt": "txt c",
            "c.caption": "caption c",
            "d.png": png(4),
            "d.txt": " ",
            "d.caption": "d",
        },
    )
    dataset = import_dataset([folder], into)
    assert captions(dataset) == {"a.png": "table a", "c.png": "txt c", "d.png": "d", "sub/b.png": "table b"}
    only(dataset.notes, "a.png, c.png", "metadata comes before .json, .json before .txt")


def test_a_table_in_a_subfolder_names_its_neighbours_and_csv_works(tmp_path: Path, into: Path) -> None:
    table = 'file_name,text\na.png,"a fox, red"\n'
    archive = make_zip(tmp_path / "set.zip", {"set/metadata.csv": "\ufeff" + table, "set/a.png": png(1)})
    assert captions(import_dataset([archive], into)) == {"set/a.png": "a fox, red"}


def test_bad_lines_of_a_table_are_reported_and_the_others_used(tmp_path: Path, into: Path) -> None:
    lines = [
        '{"file_name": "a.png", "text": "a \\ud800 fox"}',
        "not json",
        '["a"]',
        '{"file_name": "b.png", "text": 3}',
    ]
    lines += ["[" * 100_000, '{"file_name": 5, "text": "x"}', '{"file_name": "gone.png", "text": "\u2028x"}', ""]
    folder = make_folder(tmp_path / "in", {"metadata.jsonl": "\n".join(lines), "a.png": png(1), "b.png": png(2)})
    dataset = import_dataset([folder], into)
    assert captions(dataset) == {"a.png": "a fox", "b.png": ""}
    only(dataset.rejected, "metadata.jsonl, lines 2, 3, 4, 5, 6", "file_name")
    only(dataset.notes, "gone.png")


def test_captions_that_are_not_utf8_are_reported_and_the_picture_kept(tmp_path: Path, into: Path) -> None:
    folder = make_folder(
        tmp_path / "in",
        {"a.png": png(1), "a.txt": "café".encode("latin-1"), "b.png": png(2), "b.txt": "fuchs".encode("utf-16")}
        | {"c.png": png(3), "c.txt": "\ufeffa café\r\n with\0 snow ".encode(), "metadata.jsonl": b"\xff\xfe{"},
    )
    dataset = import_dataset([folder], into)
    assert captions(dataset) == {"a.png": "", "b.png": "", "c.png": "a café with snow"}
    assert len(dataset.rejected) == 3
    for name in ("a.txt", "b.txt", "metadata.jsonl"):
        assert any(name in sentence and "save it as UTF-8" in sentence for sentence in dataset.rejected)


def test_long_captions_are_cut_and_huge_caption_files_refused(tmp_path: Path, into: Path) -> None:
    folder = make_folder(
        tmp_path / "in", {"a.png": png(1), "a.txt": "x" * 2500, "b.png": png(2), "b.txt": "y" * 70_000}
    )
    dataset = import_dataset([folder], into)
    assert {name: len(text) for name, text in captions(dataset).items()} == {"a.png": 2000, "b.png": 0}
    only(dataset.notes, "a.png", "2500")
    only(dataset.rejected, "b.txt", "64 KB")


def test_every_bad_picture_is_listed_and_the_good_ones_kept(tmp_path: Path, into: Path) -> None:
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(noise, "PNG")
    animated = io.BytesIO()
    Image.new("RGB", (20, 20)).save(animated, "WEBP", save_all=True, append_images=[Image.new("RGB", (20, 20), "red")])
    bad = {
        "cut.png": noise.getvalue()[:5000],
        "empty.jpg": b"",
        "text.png": "not a picture",
        "moving.webp": animated.getvalue(),
        "small.png": png(1, (8, 8)),
        "film.mp4": b"\0\0\0\x18ftypmp42",
        "notes": b"?",
    }
    dataset = import_dataset([make_folder(tmp_path / "in", bad | {"good.png": png(9), "cut.txt": "cut"})], into)
    assert captions(dataset) == {"good.png": ""}
    assert not dataset.notes  # The caption of a bad picture is not an orphan.
    assert len(dataset.rejected) == len(bad)
    for name in bad:
        assert sum(sentence.startswith(name) for sentence in dataset.rejected) == 1
    assert read_dataset(into).rejected == dataset.rejected


def test_duplicates_are_kept_once_with_a_caption(tmp_path: Path, into: Path) -> None:
    folder = make_folder(
        tmp_path / "in", {"a.png": png(1), "b.png": png(1), "b.txt": "told", "c.png": png(1), "c.txt": "other"}
    )
    dataset = import_dataset([folder], into)
    assert captions(dataset) == {"a.png": "told"}
    assert len(dataset.notes) == 2
    assert dataset.notes[0].startswith("b.png is the same picture as a.png")


def test_captions_without_a_picture_are_noted(tmp_path: Path, into: Path) -> None:
    contents = {f"text{i}.txt": "x" for i in range(7)} | {"a.png": png(1)}
    dataset = import_dataset([make_folder(tmp_path / "in", contents)], into)
    assert not dataset.rejected
    only(dataset.notes, "text0.txt", "and 2 more")


def test_what_systems_leave_behind_is_skipped_silently(tmp_path: Path, into: Path) -> None:
    junk = {"__MACOSX/._a.png": b"x", ".DS_Store": b"x", "sub/.hidden/b.png": b"x", "Thumbs.db": b"x"}
    for given in (make_folder(tmp_path / "in", junk), make_zip(tmp_path / "in.zip", junk)):
        dataset = import_dataset([given], into)
        assert dataset == Dataset(())


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path, into: Path) -> None:
    outside = make_folder(tmp_path / "secret", {"s.png": png(7)})
    folder = make_folder(tmp_path / "in", {"a.png": png(1), "deep/b.png": png(2)})
    (folder / "out.png").symlink_to(outside / "s.png")
    (folder / "outdir").symlink_to(outside)
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    (folder / "again").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    dataset = import_dataset([folder], into)
    assert list(captions(dataset)) == ["a.png", "deep/b.png"]
    assert sorted(sentence.split(" is ")[0] for sentence in dataset.rejected) == [
        "gone.png",
        "out.png",
        "outdir",
        "pipe.png",
    ]


def test_the_target_inside_the_source_is_passed_over(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in", {"a.png": png(1)})
    for _ in range(2):
        dataset = import_dataset([folder], folder / "run" / "dataset")
        assert captions(dataset) == {"a.png": ""} and not dataset.notes


def test_an_imported_folder_can_be_imported_again(tmp_path: Path, into: Path) -> None:
    folder = make_folder(tmp_path / "in", {"red fox.png": png(1), "b.png": png(2), "b.txt": "b"})
    first = import_dataset([folder], into)
    (into / "import.json").unlink()
    second = import_dataset([into], tmp_path / "other")
    assert captions(second) == captions(first)
    assert second.fingerprint == first.fingerprint


def test_names_from_outside_are_data_only(tmp_path: Path, into: Path) -> None:
    long = "x" * 400 + " fox.png"
    archive = make_zip(tmp_path / "set.zip", {"a\nb\x1b[31m.png": png(1), long: png(2), "é.png": png(3), "é.txt": "e"})
    dataset = import_dataset([archive], into)
    assert all(sample.name.isprintable() and len(sample.name) <= 300 for sample in dataset.samples)
    assert captions(dataset)["é.png"] == "e"
    assert {path.name for path in into.iterdir()} == {
        *(f"{sample.id}.png" for sample in dataset.samples),
        "metadata.jsonl",
        "import.json",
    }


def test_a_file_name_that_is_not_text_is_read(tmp_path: Path, into: Path) -> None:
    (tmp_path / "in").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9 fox.png")).write_bytes(png(1))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert len(import_dataset([tmp_path / "in"], into).samples) == 1
    assert read_dataset(into).samples[0].caption.endswith("fox")


def test_missing_sources_are_all_named_and_nothing_is_written(tmp_path: Path, into: Path) -> None:
    with pytest.raises(ProblemsError) as caught:
        import_dataset([tmp_path / "one", tmp_path / ("two" + "x" * 3000)], into)
    assert len(caught.value.problems) == 2
    assert not into.exists()


def test_a_full_disk_is_a_sentence_and_leaves_no_table(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "in", {"a.png": png(1), "b.png": png(2)})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ProblemsError, match="disk is full"):
        import_dataset([folder], into)
    assert not list(into.iterdir())


def test_no_pictures_says_how_many_were_left_out_and_why(tmp_path: Path, into: Path) -> None:
    dataset = import_dataset([make_folder(tmp_path / "in", {"a.png": b"", "b.gif": b"GIF89a"})], into)
    assert dataset.samples == ()
    with pytest.raises(ProblemsError) as caught:
        read_dataset(into)
    assert "2 files were left out" in caught.value.problems[0]
    assert caught.value.problems[1:] == dataset.rejected
    (tmp_path / "nothing").mkdir()
    import_dataset([tmp_path / "nothing"], into)
    with pytest.raises(ProblemsError, match="No picture was found"):
        read_dataset(into)
    with pytest.raises(ProblemsError, match="import the pictures first"):
        read_dataset(tmp_path / "in")


def test_one_picture_is_allowed_and_noted(tmp_path: Path, into: Path) -> None:
    import_dataset([make_folder(tmp_path / "in", {"fox.png": png(1)})], into)
    only(read_dataset(into).notes, "1 picture")


def test_fallback_captions_and_trigger_word(tmp_path: Path, into: Path) -> None:
    contents = {"own.png": png(1), "own.txt": "a tok cat", "red_fox-02.png": png(2), "IMG_1234.png": png(3)}
    import_dataset([make_folder(tmp_path / "in", contents)], into)
    dataset = read_dataset(into)
    assert captions(dataset) == {"own.png": "a tok cat", "red_fox-02.png": "red fox", "IMG_1234.png": ""}
    only(dataset.notes, "1 of 3", "IMG_1234.png")
    assert set(captions(read_dataset(into, caption=" a\nthing")).values()) == {"a tok cat", "a thing"}
    assert set(captions(read_dataset(into, captions_from_names=False)).values()) == {"a tok cat", ""}
    led = read_dataset(into, trigger_word="tok")
    assert captions(led) == {"own.png": "a tok cat", "red_fox-02.png": "tok, red fox", "IMG_1234.png": "tok"}
    assert not led.notes
    assert led.fingerprint == read_dataset(into, trigger_word=" tok ").fingerprint != dataset.fingerprint


def test_order_and_ids_do_not_depend_on_the_order_of_the_sources(tmp_path: Path, into: Path) -> None:
    one = make_folder(tmp_path / "1", {"b.png": png(1), "d.png": png(2)})
    two = make_folder(tmp_path / "2", {"a.png": png(3), "c.png": png(4), "d.png": png(5)})
    forward, back = import_dataset([one, two], into), import_dataset([two, one], tmp_path / "other")
    assert [s.name for s in forward.samples] == ["a.png", "b.png", "c.png", "d.png", "d.png"]
    assert [s.id for s in forward.samples] == [s.id for s in back.samples] == [s.id for s in read_dataset(into).samples]
    assert len({s.id for s in forward.samples}) == 5


def test_forged_lines_of_an_imported_folder_name_no_other_file(tmp_path: Path, into: Path) -> None:
    import_dataset([make_folder(tmp_path / "in", {"a.png": png(1)})], into)
    (into / "import.json").unlink()
    table = into / "metadata.jsonl"
    good = json.loads(table.read_text())
    forged = [{**good, "file_name": "../../in/a.png"}, {**good, "width": "x"}, {**good, "caption": None}, [], 3]
    table.write_text("\n".join(json.dumps(row) for row in [*forged, good, good]) + "\nnot json\n")
    dataset = read_dataset(into)
    assert list(captions(dataset)) == ["a.png"]
    assert len(dataset.rejected) == 6


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("red_fox-02.png", "red fox"),
        ("01_red_fox.png", "red fox"),
        ("set/fox (2).jpeg", "fox"),
        ("猫.png", "猫"),
        ("my 3d printer.webp", "my 3d printer"),
        *((name, "") for name in ("IMG_1234.JPG", "DSC0001.jpg", "DSC_0001.jpg", "P1010001.jpg", "1F98A.png", "a.png")),
        *((name, "") for name in ("PXL_20230101_120000123.jpg", "IMG-20230101-WA0001.jpg", "image (3).png", "12.png")),
        ("Screenshot 2023-01-02 at 10.11.12.png", ""),
        ("550e8400-e29b-41d4-a716-446655440000.png", ""),
    ],
)
def test_words_of_a_name(name: str, words: str) -> None:
    assert words_of_name(name) == words


def test_trigger_word_is_a_whole_word_once() -> None:
    assert with_trigger("a cat", "") == "a cat"
    assert with_trigger("a token", "tok") == "tok, a token"
    assert with_trigger("A TOK.", "tok") == "A TOK."
    assert with_trigger("a c++ cat", "c++") == "a c++ cat"
    assert len(with_trigger("x" * 2000, "tok")) == 2000
    assert clean(" a\0\r\n\tb\ud800 ") == "a b"


def test_reading_data_imports_no_torch() -> None:
    modules = ", ".join(f"pipelines.data.{name}" for name in ("samples", "buckets", "batches"))
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
