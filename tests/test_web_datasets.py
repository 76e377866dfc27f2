"""The dataset editor's server side: what is kept, undone, imported, refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from lora_web.picture_desk import PictureDesk
from lora_web.workspace import Limits, Visitor, Workspace, new_token
from pipelines.data.samples import read_dataset
from pipelines.data.sources import Named
from pipelines.errors import ProblemsError
from tests.data_parts import make_folder, make_zip, png
from tests.web_parts import ROOT, wait_for

gr = pytest.importorskip("gradio")


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return Workspace(tmp_path / "workspace").visitor(None)


@pytest.fixture
def desk(visitor: Visitor, pictures: Path) -> PictureDesk:
    desk = PictureDesk(visitor, visitor.new_dataset())
    desk.add([pictures])
    return desk


def shown(desk: PictureDesk) -> dict[str, dict[str, Any]]:
    """The pictures by name."""
    return {picture["name"]: picture for picture in desk.open()["pictures"]}


def test_an_edit_is_what_the_trainer_reads(desk: PictureDesk) -> None:
    disc = shown(desk)["disc-0.png"]
    region = {"box": [0.1, 0.2, 0.5, 1], "caption": "a  rim"}
    answer = desk.save({"version": 1, "edits": [{"id": disc["id"], "caption": "a new\ncaption", "regions": [region]}]})
    assert answer == {"version": 2, "refused": {}}
    samples = {sample.id: sample for sample in read_dataset(desk.folder).samples}
    assert samples[disc["id"]].caption == "a new caption"
    assert samples[disc["id"]].regions[0].to_dict() == {"box": [0.1, 0.2, 0.5, 1.0], "caption": "a rim"}
    assert shown(desk)["disc-0.png"]["regions"] == [{"box": [0.1, 0.2, 0.5, 1.0], "caption": "a rim"}]
    # Who knows an older version is told everything.
    assert len(desk.save({"version": 1, "edits": []})["pictures"]) == 6


def test_taking_out_can_be_undone_until_the_page_is_opened_again(desk: PictureDesk) -> None:
    ids = [picture["id"] for picture in desk.open()["pictures"]]
    desk.save({"edits": [{"id": ids[0], "caption": "precious"}]})
    left = desk.save({"remove": ids[:2]})
    assert [picture["id"] for picture in left["pictures"]] == ids[2:]
    # The folder that a run copies has nothing of them.
    assert not [path for name in ids[:2] for path in desk.folder.glob(f"{name}.*")]
    assert not desk.save({"restore": ids[:1]})["refused"]
    assert shown(desk)["disc-0.png"]["caption"] == "precious"
    assert desk.save({"restore": [ids[1]]})["refused"] == {ids[1]: ["This picture is no longer there; add it again."]}
    desk.save({"remove": ids})
    assert desk.empty


def test_captions_that_come_later_fill_gaps_and_replace_only_when_told(desk: PictureDesk, tmp_path: Path) -> None:
    ids = {name: picture["id"] for name, picture in shown(desk).items()}
    desk.save({"edits": [{"id": ids["disc-1.png"], "caption": ""}]})
    late = make_folder(tmp_path / "late", {"disc-0.txt": "new 0", "disc-1.txt": "new 1", "nobody.txt": "x"})
    answer = desk.add([late])
    assert answer["come"] == answer["gone"] == []
    assert answer["changes"] == {ids["disc-1.png"]: {"caption": ["", "new 1"]}}
    assert any("kept the caption they had: 1" in note for note in answer["notes"])
    assert any("nobody.txt" in note for note in answer["notes"])
    answer = desk.add([late], replace=True)
    assert answer["changes"] == {ids["disc-0.png"]: {"caption": ["disc 0", "new 0"]}}
    assert shown(desk)["disc-0.png"]["caption"] == "new 0"


def test_names_with_folders_come_from_the_page_and_captions_find_them(desk: PictureDesk, tmp_path: Path) -> None:
    files = make_folder(tmp_path / "up", {"1/a.png": png(1), "2/a.png": png(2), "3/a.txt": "first"})
    given = [
        Named(files / "1/a.png", "x/a.png"),
        Named(files / "2/a.png", "../../a.png"),
        Named(files / "3/a.txt", "x/a.txt"),
    ]
    desk.add(given)
    found = shown(desk)
    assert found["x/a.png"]["caption"] == "first"
    assert found["../../a.png"]["caption"] == ""
    assert {path.parent for path in desk.folder.iterdir()} == {desk.folder}


def test_a_table_brings_captions_and_regions_to_pictures_already_there(desk: PictureDesk, tmp_path: Path) -> None:
    rows = [
        {"file_name": "disc-2.png", "text": "two", "regions": [{"box": [0, 0, 1, 0.5], "caption": "top"}]},
        {"file_name": "disc-3.png", "text": "three", "regions": [{"box": [1, 0, 2, 0.5], "caption": "out"}]},
    ]
    table = make_zip(tmp_path / "set.zip", {"metadata.jsonl": "\n".join(json.dumps(row) for row in rows)})
    answer = desk.add([table], replace=True)
    found = shown(desk)
    assert found["disc-2.png"]["regions"] == [{"box": [0.0, 0.0, 1.0, 0.5], "caption": "top"}]
    assert (found["disc-3.png"]["caption"], found["disc-3.png"]["regions"]) == ("three", [])
    assert any("outside" in line and "disc-3.png" in line for line in answer["rejected"])


def test_duplicates_are_noticed_whatever_their_bytes(desk: PictureDesk, tmp_path: Path) -> None:
    disc = desk.folder / f"{shown(desk)['disc-1.png']['id']}.png"
    with Image.open(disc) as picture:
        picture.convert("RGB").resize((300, 300)).save(tmp_path / "zz larger.jpg", quality=80)
    (tmp_path / "same.png").write_bytes(disc.read_bytes())
    answer = desk.add([tmp_path / "zz larger.jpg", tmp_path / "same.png"])
    assert len(answer["come"]) == 1
    found = shown(desk)
    assert found["zz larger.jpg"]["twin"] == found["disc-1.png"]["id"]
    assert [picture["twin"] for name, picture in found.items() if name != "zz larger.jpg"] == [""] * 6


def test_example_pictures_make_way_until_somebody_touched_them(visitor: Visitor, pictures: Path) -> None:
    desk = PictureDesk(visitor, visitor.new_dataset())
    example = ROOT / "examples/data/openmoji"
    come = desk.add([example], example=True)["come"]
    answer = desk.add([pictures])
    assert sorted(answer["gone"]) == sorted(come) and len(answer["pictures"]) == 6
    assert not desk.save({"restore": come, "remove": answer["come"]})["refused"]
    assert len(desk.add([pictures])["pictures"]) == 24


def test_states_follow_the_settings(desk: PictureDesk) -> None:
    ids = {name: picture["id"] for name, picture in shown(desk).items()}
    desk.save({"edits": [{"id": ids["disc-0.png"], "caption": ""}]})
    data = {"resolution": 64, "buckets": True, "caption": "", "trigger_word": "tok", "captions_from_names": False}
    settings = {"base": "emoji-sd", "data": data}
    states = {state.id: state for state in desk.states(settings, "stable_diffusion")}
    assert states[ids["disc-0.png"]].caption == "tok"
    assert states[ids["disc-1.png"]].caption == "tok, disc 1"
    assert states[ids["disc-1.png"]].bucket == (64, 64) and states[ids["disc-1.png"]].crop == (0, 0, 1, 1)
    assert not any(state.too_small for state in states.values())
    larger = desk.states(settings | {"data": data | {"resolution": 256}}, "stable_diffusion")
    assert all(state.too_small and "too_small" in state.problems for state in larger)
    unknown = desk.states(settings | {"base": "someone/model"}, "stable_diffusion")
    assert all(state.bucket is None and not state.too_small for state in unknown)
    for bad in (None, [], {"base": 3}, settings | {"data": {"resolution": float("nan")}}, {"data": {"x": 1}}):
        with pytest.raises(ProblemsError):
            desk.states(bad, "stable_diffusion")


def test_limits_of_pictures_and_bytes_hold(tmp_path: Path, pictures: Path) -> None:
    few = Workspace(tmp_path / "few", Limits(pictures=5)).visitor(None)
    desk = PictureDesk(few, few.new_dataset())
    with pytest.raises(ProblemsError, match="at most 5"):
        desk.add([pictures])
    assert desk.empty and not list(desk.folder.iterdir())
    small = Workspace(tmp_path / "small", Limits(visitor_bytes=100)).visitor(None)
    with pytest.raises(ProblemsError, match="MB fit"):
        PictureDesk(small, small.new_dataset()).add([pictures / "disc-0.png"])


def test_small_copies_are_made_once_and_only_of_pictures(desk: PictureDesk) -> None:
    disc = shown(desk)["disc-0.png"]["id"]
    small = desk.thumbnail(disc, 256)
    assert small and small == desk.thumbnail(disc, 256)
    with Image.open(small) as picture:
        assert picture.format == "WEBP" and picture.size == (72, 72)
    for name, side in ((disc, 257), ("metadata", 256), ("../" + disc, 256), ("0" * 16, 256), ("*" * 16, 256)):
        assert desk.thumbnail(name, side) is None


def test_a_bundle_read_again_is_the_same_dataset(desk: PictureDesk, visitor: Visitor, tmp_path: Path) -> None:
    disc = shown(desk)["disc-0.png"]
    region = {"box": [0.25, 0.0, 0.5, 1.0], "caption": "a rim"}
    desk.save({"edits": [{"id": disc["id"], "caption": "ü 猫", "regions": [region]}]})
    names = {"up.png": "../../up.png", "UP.png": "up.png", "q.png": 'what?".png'}
    files = make_folder(tmp_path / "odd", {name: png(number) for number, name in enumerate(names)})
    desk.add([Named(files / path, name) for path, name in names.items()])
    other = PictureDesk(visitor, visitor.new_dataset())
    other.add([desk.bundle("pictures")])
    assert len(other.open()["pictures"]) == 9
    for key in ("id", "caption", "regions", "width", "height"):
        assert sorted(str(picture[key]) for picture in other.open()["pictures"]) == sorted(
            str(picture[key]) for picture in desk.open()["pictures"]
        )
    assert not other.open()["rejected"]
    desk.save({"edits": [{"id": disc["id"], "caption": "worse", "regions": []}]})
    captions = other.bundle("captions")
    desk.add([captions], replace=True)
    assert (shown(desk)["disc-0.png"]["caption"], shown(desk)["disc-0.png"]["regions"]) == ("ü 猫", [region])


class Page:
    """A served page, asked without a browser."""

    def __init__(self, demo: Any, url: str, root: Path):
        self.client = httpx.Client(base_url=url, timeout=60)
        self.workspace = Workspace(root)
        self.component = next(i for i, block in demo.blocks.items() if getattr(block, "elem_id", "") == "editor")

    def ask(self, name: str, data: Any) -> httpx.Response:
        body = {"data": data, "fn_name": name, "component_id": self.component, "session_hash": new_token()[:10]}
        # As a hostile client would write it: JSON as browsers know it has no NaN.
        text = json.dumps(body)
        return self.client.post(
            "/gradio_api/component_server", content=text, headers={"Content-Type": "application/json"}
        )

    def told(self, name: str, data: Any) -> list[str]:
        answer = self.ask(name, data)
        assert answer.status_code == 200, answer.text
        return list(answer.json().get("problems", []))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from lora_web.app import build, launch_settings

    root = tmp_path_factory.mktemp("workspace")
    demo = build(root)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_settings(demo, "127.0.0.1", None))
    page = Page(demo, url, root)
    yield page
    page.client.close()
    demo.close()


@pytest.fixture
def owned(page: Page, pictures: Path) -> tuple[PictureDesk, dict[str, str]]:
    owner = page.workspace.visitor(None)
    desk = PictureDesk(owner, owner.new_dataset())
    desk.add([pictures])
    return desk, {"visitor": owner.token, "dataset": desk.folder.name}


FUNCTIONS = ("open", "add", "save", "example", "look", "describe", "described", "hush")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_no_page_would_send_are_sentences(
    page: Page, owned: tuple[PictureDesk, dict[str, str]], name: str
) -> None:
    desk, who = owned
    before = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
    for data in (
        None,
        [],
        "x",
        3,
        {},
        {"visitor": "../x", "dataset": "x"},
        who | {"dataset": ["a"]},
        {"visitor": 1e999},
    ):
        assert page.told(name, data) == ["This page does not know whose data this is; reload it."]
    assert before == {path.name: path.read_bytes() for path in desk.folder.iterdir()}


def test_edits_no_page_would_make_are_refused_one_by_one(page: Page, owned: tuple[PictureDesk, dict[str, str]]) -> None:
    desk, who = owned
    ids = [picture["id"] for picture in desk.open()["pictures"]]
    nan = float("nan")
    bad: list[dict[str, Any]] = [
        {"caption": "x" * 2001},
        {"caption": 5},
        {"caption": None},
        {"regions": [{"box": [nan, 0, 1, 1], "caption": ""}]},
        {"regions": [{"box": [0, 0, float("inf"), 1], "caption": ""}]},
        {"regions": [{"box": [0.5, 0, 0.5, 1], "caption": ""}]},
        {"regions": [{"box": [True, 0, 1, 1], "caption": ""}]},
        {"regions": [{"box": "0011", "caption": ""}]},
        {"regions": [{"box": [0, 0, 1, 1], "caption": 7}]},
        {"regions": [{"box": [0, 0, 1, 1], "caption": "x" * 2001}]},
        {"regions": [{"box": [0, 0, 1, 1], "caption": ""}] * 101},
        {"regions": {"box": 1}},
        {"regions": "x"},
    ]
    for fields in bad:
        edits = [{"id": ids[0], **fields}, {"id": ids[1], "caption": "good"}, {"id": "0" * 16, "caption": "x"}, 7, {}]
        answer = page.ask("save", who | {"edits": edits}).json()
        assert set(answer["refused"]) >= {ids[0], "0" * 16}, fields
        assert all(sentence for sentences in answer["refused"].values() for sentence in sentences)
    found = shown(desk)
    assert (found["disc-0.png"]["caption"], found["disc-0.png"]["regions"]) == ("disc 0", [])
    assert found["disc-1.png"]["caption"] == "good"
    for wrong in ({"edits": "x"}, {"remove": [1]}, {"restore": {"a": 1}}, {"remove": "all"}):
        assert page.told("save", who | wrong)
    assert len(desk.open()["pictures"]) == 6


def test_what_was_not_uploaded_is_not_read(page: Page, owned: tuple[PictureDesk, dict[str, str]]) -> None:
    desk, who = owned
    for path in ("/etc/hostname", str(ROOT / "docs/ladder.png"), str(page.workspace.root / "secret"), "a\0b", "", 5):
        assert page.told("add", who | {"files": [{"path": path, "name": "a.png"}]})
    for files in (None, 3, [3], [{"path": "x"}], [[]]):
        assert page.told("add", who | {"files": files})
    assert len(desk.open()["pictures"]) == 6


def test_models_no_page_would_name_are_sentences(page: Page, owned: tuple[PictureDesk, dict[str, str]]) -> None:
    desk, who = owned
    ids = [picture["id"] for picture in desk.open()["pictures"]]
    for model in (None, 5, "", "/etc/passwd", "no such folder", ["a"]):
        assert page.told("describe", who | {"model": model, "ids": ids, "overwrite": True})
    assert page.told("describe", who | {"model": "someone/model", "ids": "all"})
    assert page.told("describe", who | {"model": "someone/model", "ids": ids})[0].startswith("All of these pictures")
    for since in (None, "x", -5, 1e300, float("nan"), [1]):
        assert page.ask("described", who | {"since": since}).json() == {"active": False, "lines": [], "count": 0}


def test_a_stranger_sees_and_changes_nothing(page: Page, owned: tuple[PictureDesk, dict[str, str]]) -> None:
    desk, who = owned
    stranger = who | {"visitor": new_token()}
    disc = shown(desk)["disc-0.png"]["id"]
    assert page.ask("open", stranger).json()["pictures"] == []
    assert page.ask("save", stranger | {"edits": [{"id": disc, "caption": "mine"}]}).json()["refused"]
    page.ask("save", stranger | {"remove": [disc]})
    assert shown(desk)["disc-0.png"]["caption"] == "disc 0"
    address = "/gradio_api/pictures/{visitor}/{dataset}/{picture}/256"
    assert page.client.get(address.format(**who, picture=disc)).headers["content-type"] == "image/webp"
    for asked in (
        stranger | {"picture": disc},
        who | {"picture": "metadata.jsonl"},
        who | {"picture": "..%2f..%2fsecret"},
    ):
        assert page.client.get(address.format(**asked)).status_code == 404


def test_a_dataset_is_taken_home_in_every_form(page: Page, owned: tuple[PictureDesk, dict[str, str]]) -> None:
    desk, who = owned
    there = "/gradio_api/pictures/{visitor}/{dataset}/".format(**who)
    expected = {"pictures": "metadata.jsonl", "captions": "metadata.jsonl", "coco": "_annotations.coco.json"}
    for form, name in {**expected, "yolo": "data.yaml"}.items():
        answer = page.client.get(f"{there}{form}.zip")
        assert f'filename="{form}.zip"' in answer.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert name in archive.namelist()
    assert page.client.get(f"{there}secret.zip").status_code == 404
    # Deleted once it is sent, which may be after it has come.
    wait_for(lambda: not list(desk.aside.glob("bundle-*")), "the files that were sent to go")


def test_boxes_replace_boxes_only_when_told(desk: PictureDesk, tmp_path: Path) -> None:
    disc = shown(desk)["disc-0.png"]["id"]
    old = {"box": [0.0, 0.0, 0.5, 0.5], "caption": "drawn"}
    desk.save({"edits": [{"id": disc, "regions": [old]}]})
    late = make_folder(tmp_path / "late", {"disc-0.txt": "0 0.5 0.5 1 1", "classes.txt": "brought"})
    answer = desk.add([late])
    assert not answer["changes"] and any("kept the boxes they had: 1" in note for note in answer["notes"])
    new = {"box": [0.0, 0.0, 1.0, 1.0], "caption": "brought"}
    answer = desk.add([late], replace=True)
    assert answer["changes"] == {disc: {"regions": [[old], [new]]}}
    assert any("took boxes from these files: 1" in note for note in answer["notes"])
    assert shown(desk)["disc-0.png"]["caption"] == "disc 0"


def test_uploads_become_pictures(page: Page, owned: tuple[PictureDesk, dict[str, str]]) -> None:
    desk, who = owned
    sent = page.client.post(
        "/gradio_api/upload", files=[("files", ("a.png", png(7))), ("files", ("a.txt", b"<b>seven</b>"))]
    )
    files = [{"path": path, "name": f"set/a.{kind}"} for path, kind in zip(sent.json(), ("png", "txt"), strict=True)]
    answer = page.ask("add", who | {"files": files}).json()
    assert len(answer["come"]) == 1
    assert shown(desk)["set/a.png"]["caption"] == "<b>seven</b>"
