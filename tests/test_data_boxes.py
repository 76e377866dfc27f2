"""Boxes in the files of other programs: read, put right, said; written and read again."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageOps

from pipelines.data.boxes import alike
from pipelines.data.bundle import write_bundle
from pipelines.data.layouts import read_names, read_yolo
from pipelines.data.regions import Region
from pipelines.data.samples import Dataset, import_dataset, import_more, stored_dataset
from pipelines.errors import ProblemsError

from .data_parts import captions, make_folder, make_zip, only, png

SIZE = (40, 20)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "run" / "dataset"


def read(tmp_path: Path, contents: dict[str, Any]) -> Dataset:
    """What is read from a folder; what is no text or bytes is written as JSON. Pictures are 40 x 20."""
    files = {n: c if isinstance(c, (str, bytes)) else json.dumps(c) for n, c in contents.items()}
    return import_dataset([make_folder(tmp_path / "in", files)], tmp_path / "out")


def boxes(dataset: Dataset) -> dict[str, list[tuple[tuple[float, ...], str]]]:
    return {sample.name: [(region.box, region.caption) for region in sample.regions] for sample in dataset.samples}


def coco(annotations: list[dict[str, Any]], **image: Any) -> dict[str, Any]:
    image = {"id": 1, "file_name": "a.png", "width": 40, "height": 20} | image
    return {"images": [image], "annotations": annotations, "categories": [{"id": 7, "name": "fox"}]}


def yolo(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


A = {"a.png": png(1, SIZE)}
HALF = (0.5, 0.0, 1.0, 0.5)
FORMATS: dict[str, dict[str, Any]] = {
    "coco": {
        "coco.json": coco([{"image_id": 1, "category_id": 7, "bbox": [20, 0, 20, 10]}], caption="a den"),
    },
    "coco of another size": {
        "coco.json": coco([{"image_id": 1, "category_id": 7, "bbox": [40, 0, 40, 20]}], width=80, height=40),
        "a.txt": "a den",
    },
    "coco with a caption of its own for each box, and one for the picture": {
        "deep/annotations/x.json": coco(
            [
                {"image_id": 1, "category_id": 99, "bbox": [20.0, 0, 20, 10], "caption": "fox"},
                {"image_id": 1, "caption": "a den"},
            ],
            file_name="/home/x/train2017/a.png",
            id="0001",
        )
        | {"images": [{"id": "1", "file_name": "/home/x/train2017/a.png"}]},
    },
    "LayoutSAM": {
        "records.json": [
            {
                "file_name": "a.png",
                "width": "40",
                "height": 20,
                "global_caption": "a den",
                "bbox_list": "[[20, 0, 40, 10.0]]",
                "region_captions": "['fox']",
                "detail_region_captions": "['fox, long']",
            }
        ],
    },
    "LayoutSAM by lines": {
        "records.jsonl": json.dumps(
            {"file_name": "sa_1/a.png", "global_caption": "a den", "bbox_list": [[20, 0, 40, 10]]}
        )[:-1]
        + ', "detail_region_captions": ["fox"]}\n',
    },
    "LayoutSAM as a table": {
        "metadata.csv": "file_name,global_caption,width,height,bbox_list,region_captions\n"
        'a.png,a den,40,20,"[(20, 0, 40, 10)]","[\'fox\']"\n',
    },
    "a json of its own": {"a.json": {"caption": "a den", "regions": [{"box": HALF, "caption": "fox"}]}},
    "a json named like the whole picture": {
        "a.png.json": {"text": "a den", "regions": [{"box": HALF, "caption": "fox"}]}
    },
    "LabelMe": {
        "a.json": {
            "shapes": [{"label": "fox", "shape_type": "rectangle", "points": [[40, 10], [20, 0]]}],
            "imagePath": "..\\elsewhere\\b.png",
            "imageWidth": 40,
            "imageHeight": 20,
        },
        "a.caption": "a den",
    },
    "YOLO": {"a.txt": yolo("1 0.75 0.25 0.5 0.5"), "classes.txt": "cat\nfox\n", "a.caption": "a den"},
    "YOLO with a polygon": {
        "labels/a.txt": yolo("0 0.5 0 1 0 1 0.5 0.5 0.5"),
        "data.yaml": "path: .\nnames:\n  0: fox\n",
        "a.caption": "a den",
    },
    "YOLO by darknet": {
        "a.txt": yolo("0 0.75 0.25 0.5 0.5 0.93"),
        "data/obj.names": "fox",
        "data/obj.data": "classes = 1",
    }
    | {"a.caption": "a den"},
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_says_the_same(tmp_path: Path, kind: str) -> None:
    picture = "images/a.png" if any(name.startswith("labels/") for name in FORMATS[kind]) else "a.png"
    contents = {picture: A["a.png"], **FORMATS[kind]}
    if picture != "a.png":
        contents["images/a.caption"] = contents.pop("a.caption")
    dataset = read(tmp_path, contents)
    assert boxes(dataset) == {picture: [(HALF, "fox")]}
    assert captions(dataset) == {picture: "a den"}
    assert not dataset.rejected and not dataset.notes


PROBLEMS: dict[str, tuple[list[float], tuple[float, ...] | None, str]] = {
    "over the edge": ([0.5, 0.5, 1.25, 1.5], (0.5, 0.5, 1, 1), "cut off"),
    "rounding": ([0.5, 0.5, 1.001, 1.001], (0.5, 0.5, 1, 1), ""),
    "outside": ([1.1, 0, 1.2, 0.5], None, "wholly outside"),
    "inverted": ([0.9, 0.5, 0.1, 0], (0.1, 0, 0.9, 0.5), "wrong way round"),
    "degenerate": ([0.5, 0, 0.5, 1], None, "thinner than one pixel"),
    "cut to nothing": ([-1, 0, 0.01, 1], None, "thinner than one pixel"),
    "pixels where shares are meant": ([10, 5, 30, 15], None, "not shares"),
    "not a number": ([0, 0, float("nan"), 1], None, "not four numbers"),
    "too few": ([0, 0, 1], None, "not four numbers"),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_box_that_is_wrong_is_put_right_or_left_out_and_said(tmp_path: Path, kind: str) -> None:
    box, expected, said = PROBLEMS[kind]
    row = {"file_name": "a.png", "text": "", "regions": [{"box": box, "caption": "x"}]}
    dataset = read(tmp_path, {**A, "metadata.jsonl": json.dumps(row)})
    assert [found for found, _ in boxes(dataset)["a.png"]] == ([expected] if expected else [])
    if said:
        sentences = [*dataset.rejected, *dataset.notes]
        assert any(said in sentence and "a.png" in sentence for sentence in sentences), sentences
        assert len([s for s in sentences if "thinner" not in s or "thinner" in said]) <= 2
    else:
        assert not dataset.rejected and not dataset.notes


def test_many_boxes_and_boxes_over_each_other_are_kept_and_said(tmp_path: Path) -> None:
    rows = [{"box": [i / 12, 0, (i + 1) / 12, 1], "caption": str(i)} for i in range(12)]
    hundred = [{"box": [i / 120, 0, (i + 10) / 120, 1], "caption": str(i)} for i in range(105)] * 1000
    twice = [{"box": [0, 0, 0.5, 1], "caption": "one"}, {"box": [0.01, 0, 0.5, 1], "caption": "other"}]
    pictures = {name: png(shade, SIZE) for shade, name in enumerate(("a.png", "b.png", "c.png"))}
    dataset = read(
        tmp_path,
        {**pictures, "a.json": {"regions": rows}, "b.json": {"regions": twice}, "c.json": {"regions": hundred}},
    )
    assert {name: len(found) for name, found in boxes(dataset).items()} == {"a.png": 12, "b.png": 2, "c.png": 100}
    assert not dataset.rejected
    for name, words in {"a.png": "reads the 10 largest", "b.png": "over each other", "c.png": "At most 100"}.items():
        only(tuple(note for note in dataset.notes if name in note), words)
    assert alike([(0, 0, 1, 1), (0, 0, 0.5, 1)]) is False


def test_problems_of_many_pictures_are_one_sentence(tmp_path: Path) -> None:
    contents: dict[str, Any] = {f"{i}.png": png(i, SIZE) for i in range(8)}
    contents |= {f"{i}.json": {"regions": [{"box": [0, 0, 1.5, 1], "caption": ""}] * (1 + i % 2)} for i in range(8)}
    dataset = read(tmp_path, contents)
    only(tuple(note for note in dataset.notes if "cut off" in note), "1.png (2)", "and 3 more")


@pytest.mark.parametrize("names", ["", "classes.txt"])
def test_captions_and_yolo_labels_are_told_apart(tmp_path: Path, names: str) -> None:
    contents = {name: png(shade, SIZE) for shade, name in enumerate(("a.png", "b.png", "c.png", "d.png"))}
    texts: dict[str, Any] = {
        "a.txt": "3 foxes 2 dens",
        "b.txt": yolo("0 0.5 0.5 0.5 0.5", "0 0.5 0.5 oops 1", "0 0.2 0.2 0.1 0.1"),
        "c.txt": "2024 12 31 23 59",
        "d.txt": "",
    }
    dataset = read(tmp_path, contents | texts | ({names: "fox"} if names else {}))
    assert captions(dataset) == {
        "a.png": "3 foxes 2 dens",
        "b.png": "",
        "c.png": "" if names else "2024 12 31 23 59",
        "d.png": "",
    }
    caption = "fox" if names else ""
    assert boxes(dataset)["b.png"] == [((0.25, 0.25, 0.75, 0.75), caption), ((0.15, 0.15, 0.25, 0.25), caption)]
    assert not boxes(dataset)["a.png"] and not boxes(dataset)["c.png"]
    assert any("b.png" in line and "four numbers" in line for line in dataset.rejected)
    # In the company of a list of names, numbers are boxes, and boxes in pixels are said to be so.
    assert any("c.png" in line and "shares" in line for line in dataset.rejected) == bool(names)
    assert any("b.png (2)" in note and "without a name" in note for note in dataset.notes) == (not names)


def test_a_list_of_names_beside_a_picture_of_its_name_is_a_caption(tmp_path: Path) -> None:
    contents = {"classes.png": png(1, SIZE), "classes.txt": "a school", "b.png": png(2, SIZE), "b.txt": "0 .5 .5 1 1"}
    dataset = read(tmp_path, contents)
    assert captions(dataset) == {"classes.png": "a school", "b.png": ""}
    assert boxes(dataset)["b.png"] == [((0, 0, 1, 1), "")]


def test_each_part_of_a_yolo_set_has_its_own_names(tmp_path: Path) -> None:
    contents: dict[str, Any] = {}
    for number, part in enumerate(("train", "val")):
        contents |= {f"{part}/images/a.png": png(number, SIZE), f"{part}/labels/a.txt": "0 .5 .5 1 1"}
        contents[f"{part}/classes.txt"] = part
    found = boxes(read(tmp_path, contents))
    assert {name: caption for name, ((_, caption),) in found.items()} == {
        "train/images/a.png": "train",
        "val/images/a.png": "val",
    }


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("measured", ["stored", "upright"])
def test_boxes_lie_on_what_they_were_drawn_round(tmp_path: Path, orientation: int, measured: str) -> None:
    """The size a file states says which way round its boxes are; a mirror or half a turn leaves no trace in it."""
    stored = Image.new("RGB", (60, 40), "white")
    drawn = (6, 10, 20, 30)
    ImageDraw.Draw(stored).rectangle((drawn[0], drawn[1], drawn[2] - 1, drawn[3] - 1), fill="black")
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    stored.save(data, "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(data))
    seen = ImageOps.invert(upright.convert("L")).getbbox()
    assert seen
    turned = measured == "stored" and orientation > 4
    left, top, right, bottom = drawn if turned else seen
    width, height = stored.size if turned else upright.size
    told = coco(
        [{"image_id": 1, "category_id": 7, "bbox": [left, top, right - left, bottom - top]}], width=width, height=height
    )
    dataset = read(tmp_path, {"a.png": data.getvalue(), "x.json": told})
    ((box, _),) = boxes(dataset)["a.png"]
    across, down = upright.size
    assert box == pytest.approx((seen[0] / across, seen[1] / down, seen[2] / across, seen[3] / down), abs=1e-5)
    assert any("turned with it" in note for note in dataset.notes) == turned


def test_boxes_of_another_picture_are_refused(tmp_path: Path) -> None:
    told = coco([{"image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5]}], width=40, height=40)
    dataset = read(tmp_path, {**A, "x.json": told})
    assert boxes(dataset) == {"a.png": []}
    only(dataset.rejected, "another shape", "a.png")


HOSTILE: dict[str, Any] = {
    "not JSON": "{",
    "too deep": "[" * 100_000,
    "nothing known": {"hello": 1},
    "a list of things": [1, "x", None, []],
    "coco of nonsense": {
        "images": [3, {"id": [], "file_name": 5}, {}],
        "annotations": [7, {"image_id": {}}, {"bbox": 1}],
    },
    "huge numbers": coco(
        [{"image_id": 1, "category_id": 7, "bbox": [1e300, -1e300, 10**400, 5]}], width=10**400, height=-3
    ),
    "a size of nothing": coco([{"image_id": 1, "category_id": [], "bbox": [0, 0, 1, 1]}], width=0, height=0),
    "literal of nonsense": {"file_name": "a.png", "bbox_list": "(" * 5000, "region_captions": "__import__('os')"},
    "shapes of nonsense": {
        "shapes": [1, {"points": 3}, {"points": [[1]]}, {"points": [], "label": 7}],
        "imageWidth": "x",
    },
    "a way out": coco([{"image_id": 1, "bbox": [0, 0, 4, 4]}], file_name="../../../etc/passwd\0"),
    "regions of nonsense": {"regions": [1, {}, {"box": "0011", "caption": 3}, {"box": [True, 0, 1, 1]}]},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_program_would_write_is_a_sentence_or_nothing(tmp_path: Path, kind: str) -> None:
    dataset = read(tmp_path, {**A, "a.json": HOSTILE[kind]})
    assert list(boxes(dataset)) == ["a.png"]
    assert all(region.box for sample in dataset.samples for region in sample.regions)
    assert dataset.rejected or dataset.notes or kind == "a size of nothing"
    assert stored_dataset(tmp_path / "out").samples == dataset.samples


def test_names_of_classes() -> None:
    assert read_names("fox\n\n a  cat \n", "classes.txt")[2] == "a cat"
    assert read_names("names: [fox, 3]", "x.yaml") == {0: "fox", 1: "3"}
    for bad in ("a: b: c", "names: 5", "[1", "names: !!python/object:os.system x", ""):
        with pytest.raises(ProblemsError):
            read_names(bad, "x.yaml")
    assert read_yolo("0 0.5 0.5 1 1", {}) and not read_yolo("a fox", {}) and not read_yolo("", {})


def test_boxes_that_come_later_go_to_pictures_already_there(tmp_path: Path, into: Path) -> None:
    first = import_dataset([make_folder(tmp_path / "in", {"set/a.png": png(1, SIZE), "b.png": png(2, SIZE)})], into)
    told = coco([{"image_id": 1, "category_id": 7, "bbox": [20, 0, 20, 10]}], caption="a den")
    late = {
        "x.json": json.dumps(told),
        "labels/b.txt": "0 .5 .5 1 1",
        "classes.txt": "cat",
        "c.json": '{"caption": "c"}',
    }
    dataset, found = import_more([make_zip(tmp_path / "late.zip", late)], tmp_path / "more", first.samples)
    assert {sample.name: (sample.caption, sample.regions) for sample in found.values()} == {
        "set/a.png": ("a den", (Region(HALF, "fox"),)),
        "b.png": ("", (Region((0, 0, 1, 1), "cat"),)),
    }
    only(dataset.notes, "c.png", "not there")


@pytest.mark.parametrize("form", ["pictures", "coco", "yolo"])
def test_what_is_written_is_read_again(tmp_path: Path, into: Path, form: str) -> None:
    regions = [
        {"box": [0.1, 0.2, 0.65, 1], "caption": 'a "fox", ü 猫: {x} # y'},
        {"box": [0, 0, 1, 0.5], "caption": "sky \x85\x9f"},
        {"box": [0.5, 0.5, 0.75, 0.75], "caption": "sky"},
    ]
    rows = [{"file_name": "a.png", "text": "a den", "regions": regions}, {"file_name": "b/a.png", "text": "0 0 0 0"}]
    contents = {"a.png": png(1, SIZE), "b/a.png": png(2, SIZE), "c.png": png(3, SIZE)}
    table = "\n".join(map(json.dumps, rows))
    before = import_dataset([make_folder(tmp_path / "in", {**contents, "metadata.jsonl": table})], into)
    write_bundle(before.samples, tmp_path / "set.zip", form)
    after = import_dataset([tmp_path / "set.zip"], tmp_path / "again")
    assert not after.rejected and not after.notes
    prefix = "images/" if form == "yolo" else ""
    assert captions(after) == {f"{prefix}{name}": caption for name, caption in captions(before).items()}
    for old, new in zip(before.samples, after.samples, strict=True):
        assert len(old.regions) == len(new.regions)
        for was, now in zip(old.regions, new.regions, strict=True):
            assert now.box == pytest.approx(was.box, abs=2e-5)
            # YAML has no place for control characters.
            assert now.caption == (was.caption if form != "yolo" else was.caption.replace("\x9f", "").strip())
    if form == "coco":
        with zipfile.ZipFile(tmp_path / "set.zip") as archive:
            whole = json.loads(archive.read("_annotations.coco.json"))
        assert [one["bbox"] for one in whole["annotations"]][0] == [4, 4, 22, 16]
        assert {one["category_id"] for one in whole["annotations"]} == {one["id"] for one in whole["categories"]}


def test_regions_count_for_the_fingerprint(tmp_path: Path) -> None:
    plain, marked = read(tmp_path, A), read(tmp_path, {**A, "a.json": {"regions": [{"box": HALF, "caption": "x"}]}})
    assert plain.fingerprint != marked.fingerprint
