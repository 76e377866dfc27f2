"""The endpoints for programs, called over a real server with `gradio_client`; training is real, on a tiny base."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_web.workspace import new_token
from pipelines import worker
from pipelines.config import DataConfig, RunConfig
from pipelines.events import Finished
from pipelines.registry import FAMILIES
from tests.dialogue_parts import make_dialogues
from tests.layout_parts import configured
from tests.vora_parts import make_pictures as make_colours
from tests.vora_parts import vora_config
from tests.web_parts import wait_for

gr = pytest.importorskip("gradio")
gradio_client = pytest.importorskip("gradio_client")

CONTRACT = Path(__file__).parent / "fixtures" / "api.json"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from lora_web.app import build, launch_settings

    patch, root = pytest.MonkeyPatch(), tmp_path_factory.mktemp("api")
    patch.setenv("LORA_WEB_STEPS", "6000")
    demo = build(root)
    demo.launch(prevent_thread_lock=True, quiet=True, **launch_settings(demo, "127.0.0.1", None))
    yield demo
    # Whatever a test left training ends with its visitor.
    last = gradio_client.Client(demo.local_url, verbose=False, analytics_enabled=False)
    for visitor in (root / "visitors").iterdir():
        last.predict(visitor.name, api_name="/forget")
    demo.close()
    patch.undo()


@pytest.fixture
def client(demo: Any, tmp_path: Path) -> Any:
    return gradio_client.Client(demo.local_url, verbose=False, download_files=tmp_path, analytics_enabled=False)


def contract(demo: Any) -> dict[str, Any]:
    """What callers rely on: names, descriptions, parameters with types and defaults, types of what comes back."""
    named = demo.get_api_info()["named_endpoints"]
    return {
        name: {
            "description": endpoint["description"],
            "parameters": {
                found["parameter_name"]: {
                    "type": found["type"],
                    **({"default": found["parameter_default"]} if found["parameter_has_default"] else {}),
                }
                for found in endpoint["parameters"]
            },
            "returns": [found["type"] for found in endpoint["returns"]],
        }
        for name, endpoint in sorted(named.items())
    }


def test_the_endpoints_are_those_of_the_contract(demo: Any) -> None:
    """When this is meant to change: write `contract(demo)` to the file, and tell callers in the changelog."""
    assert contract(demo) == json.loads(CONTRACT.read_text(encoding="utf-8"))
    assert demo.get_api_info()["unnamed_endpoints"] == {}


def settings(base: Path, steps: int) -> dict[str, Any]:
    return {
        "base": str(base),
        "data": {"resolution": 64},
        "adapter": {"rank": 2, "alpha": 2.0},
        "train": {"steps": steps, "batch_size": 2, "checkpoint_every": 2, "precision": "fp32", "device": "cpu"},
    }


def told(client: Any, *values: Any, api_name: str) -> str:
    """The sentences an endpoint refuses with."""
    with pytest.raises(Exception) as caught:
        client.predict(*values, api_name=api_name)
    return str(caught.value)


@pytest.mark.slow
def test_the_whole_journey(client: Any, pictures: Path, tiny_base: Callable[[str], Path]) -> None:
    me = client.predict(api_name="/hello")["visitor"]
    base = tiny_base("sd1")
    files = [gradio_client.handle_file(path) for path in sorted(pictures.iterdir())]
    data = client.predict(me, files, api_name="/validate_dataset")
    assert [sample["caption"] for sample in data["samples"]] == [f"disc {i}" for i in range(6)]

    counted = client.predict(me, settings(base, 5000), api_name="/estimate")
    assert counted["parameters"] > 0 and counted["total"] > counted["weights"]
    begun = client.predict(me, data["dataset"], settings(base, 5000), api_name="/start")
    assert begun["state"] in ("queued", "running")
    run = begun["run"]

    def status() -> dict[str, Any]:
        return dict(client.predict(me, run, api_name="/status"))

    wait_for(lambda: status()["step"] >= 3, "three steps")
    client.predict(me, run, api_name="/stop")
    wait_for(lambda: status()["state"] == "stopped", "the run to stop")
    reached = status()["step"]
    assert client.predict(me, run, api_name="/resume")["state"] in ("queued", "running")
    wait_for(lambda: status()["step"] > reached, "the resumed run to go on")
    client.predict(me, run, api_name="/stop")
    wait_for(lambda: status()["state"] == "stopped", "the run to stop again")
    assert status()["adapter"]

    from PIL import Image
    from safetensors.numpy import load_file

    shown = client.predict(me, run, "disc", [0, 0.5, 1], {"steps": 2, "seed": 3}, api_name="/preview")
    assert [Image.open(path).size for path in shown] == [(64, 64)] * 3
    for form, key in (("diffusers", "unet."), ("kohya", "lora_unet_")):
        assert all(name.startswith(key) for name in load_file(client.predict(me, run, form, api_name="/export")))

    stranger = client.predict(api_name="/hello")["visitor"]
    for name, more in (("status", ()), ("stop", ()), ("resume", ()), ("preview", ("x", [1])), ("export", ("kohya",))):
        assert "none of yours" in told(client, stranger, run, *more, api_name=f"/{name}")
    assert "none of yours" in told(client, stranger, data["dataset"], settings(base, 2), api_name="/start")

    client.predict(me, api_name="/forget")
    assert "none of yours" in told(client, me, run, api_name="/status")


@pytest.mark.slow
def test_boxes_are_asked_for_where_the_family_reads_them(
    demo: Any, client: Any, layouts: Path, tiny_base: Callable[[str], Path]
) -> None:
    me = new_token()
    folder = demo.site.workspace.visitor(me).runs_folder()
    run, other = new_token(), new_token()
    worker.start(configured(tiny_base("layout"), layouts, steps=1), folder / run)
    assert isinstance(list(worker.run(folder / run))[-1], Finished)
    shutil.copytree(folder / run, folder / other)
    (folder / other / "run.json").write_text(RunConfig(data=DataConfig(path="dataset")).to_json(), encoding="utf-8")

    def pictures(**more: Any) -> list[bytes]:
        paths = client.predict(me, run, "a disc", [0, 1], {"steps": 2, "seed": 3, **more}, api_name="/preview")
        return [Path(path).read_bytes() for path in paths]

    def refused(run: str, **more: Any) -> str:
        return told(client, me, run, "a disc", [1], {"steps": 2, **more}, api_name="/preview")

    boxes = [{"box": [0.1, 0.1, 0.5, 0.6], "caption": "a disc"}]
    drawn = pictures(regions=boxes)
    assert drawn != pictures()
    assert pictures(regions=boxes, layout_scale=0) == pictures(layout_scale=0)
    assert pictures(regions=boxes, layout_until=0) == pictures(layout_scale=0)
    problems = refused(run, regions=[{"box": [0.5, 0, 0.1, 1]}, {"box": "all"}], layout_scale=9)
    assert all(word in problems for word in ("regions, number 1", "regions, number 2", "layout_scale is 9"))
    assert "regions are" in refused(run, regions="all")
    assert "this base reads at most" in refused(run, regions=boxes * 50)
    assert "settings must be" in refused(run, copies=3)
    assert "regions, layout_scale are for families that read boxes" in refused(other, regions=[], layout_scale=1)


@pytest.mark.slow
def test_dialogues_are_read_learned_and_answered(client: Any, tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    me = client.predict(api_name="/hello")["visitor"]
    files = [gradio_client.handle_file(make_dialogues(tmp_path / "faq", 6))]
    data = client.predict(me, files, "text_llm", api_name="/validate_dataset")
    assert data["samples"][0]["turns"][0] == {"role": "user", "text": "What is fox 0?"}
    asked = {**settings(tiny_base("llm"), 3), "family": "text_llm"}
    del asked["data"]
    run = client.predict(me, data["dataset"], asked, api_name="/start")["run"]
    pictures = {**settings(tiny_base("sd1"), 3), "family": "stable_diffusion"}
    assert "read for another kind of family" in told(client, me, data["dataset"], pictures, api_name="/start")
    wait_for(lambda: client.predict(me, run, api_name="/status")["state"] == "finished", "the run to end")

    def answer(*strengths: float, **more: Any) -> list[dict[str, Any]]:
        values = {"max_tokens": 6, "seed": 1, **more}
        return list(client.predict(me, run, "What is fox 1?", list(strengths), values, api_name="/answer"))

    zero, one = answer(0, 1)
    assert zero["strength"] == 0 and zero["text"] == "".join(token["text"] for token in zero["tokens"])
    assert zero["tokens"] != one["tokens"] and all(0 < token["probability"] <= 1 for token in one["tokens"])
    assert len(one["tokens"]) == 6 or one["ended"]
    assert answer(1)[0]["text"] == one["text"]

    def refused(*values: Any, api_name: str = "/answer") -> str:
        return told(client, me, run, *values, api_name=api_name)

    problems = refused("", [1], {"max_tokens": 0, "temperature": 9})
    assert "max_tokens is 0" in problems and "temperature is 9" in problems
    assert "question is empty" in refused(" ", [1])
    assert "settings must be" in refused("Hi", [1], {"image_tokens_only": True})
    assert "this family sees none" in refused("Hi", [1], {}, gradio_client.handle_file(__file__))
    assert "1 to 16 numbers" in refused("Hi", [True])
    assert "use /answer" in refused("Hi", [1], api_name="/preview")
    with zipfile.ZipFile(client.predict(me, run, api_name="/export")) as archive:
        assert "adapter_config.json" in archive.namelist()
    assert "must be one of peft, merged" in refused("kohya", api_name="/export")


@pytest.mark.slow
def test_pictures_are_asked_about(demo: Any, client: Any, tiny_base: Callable[[str], Path], tmp_path: Path) -> None:
    me, run = new_token(), new_token()
    folder = demo.site.workspace.visitor(me).runs_folder() / run
    worker.start(vora_config(tiny_base("llm"), make_colours(tmp_path / "colours"), learning_rate=0.05), folder)
    assert isinstance(list(worker.run(folder))[-1], Finished)
    red, words = gradio_client.handle_file(tmp_path / "colours" / "red.png"), gradio_client.handle_file(__file__)

    def answer(*more: Any, **values: Any) -> list[str]:
        found = client.predict(me, run, "Which?", [0, 1], {"max_tokens": 6, **values}, *more, api_name="/answer")
        return [each["text"] for each in found]

    blind, alone = answer()
    assert blind != alone and answer(image_tokens_only=True) == [blind, blind]
    assert answer(red) != [blind, alone]
    problems = told(client, me, run, "Which?", [1], {"seed": -1, "image_tokens_only": 1}, words, api_name="/answer")
    assert all(word in problems for word in ("seed is -1", "true or false", "not a picture"))
    data = client.predict(me, [red], "vora", api_name="/validate_dataset")
    (sample,) = data["samples"]
    assert sample["pictures"] == 1 and sample["turns"][-1] == {"role": "assistant", "text": "red"}


@pytest.mark.slow
def test_the_example_runs(
    demo: Any, pictures: Path, tiny_base: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from examples import use_the_api

    output = tmp_path / "output"
    arguments = {"url": demo.local_url, "data": pictures, "base": tiny_base("sd1"), "steps": 2, "resolution": 64}
    command = [f"--{name}={value}" for name, value in {**arguments, "output": output}.items()]
    monkeypatch.setattr("sys.argv", ["use_the_api", *command])
    use_the_api.main()
    names = {path.name for path in output.iterdir()}
    assert names == {"strength-0.png", "strength-0.5.png", "strength-1.png", "adapter.safetensors"}


def test_callers_come_back_with_their_token_and_read_the_limits(client: Any) -> None:
    mine = new_token()
    found = client.predict(mine, api_name="/hello")
    assert found["visitor"] == mine
    assert found["limits"]["steps"] == 6000
    assert "emoji-sd" in [base["name"] for base in found["bases"]]
    assert found["families"] == list(FAMILIES)
    text = next(kind for kind in found["kinds"] if kind["family"] == "text_llm")
    assert (text["reads"], text["answers"], text["formats"]) == ("dialogues", True, ["peft", "merged"])
    assert "32 hexadecimal" in told(client, "me", api_name="/hello")


def test_what_is_wrong_is_told_in_sentences_all_at_once(client: Any, pictures: Path) -> None:
    me = new_token()
    for path in ("/etc/hostname", "../../etc/hostname", None, 7, {"path": "/etc/hostname"}):
        assert "handle_file" in told(client, me, [path], api_name="/validate_dataset")
    for odd in (None, [], {}, "x"):
        assert "handle_file" in told(client, me, odd, api_name="/validate_dataset")
    files = [gradio_client.handle_file(pictures / "disc-0.png")]
    data = client.predict(me, files, api_name="/validate_dataset")["dataset"]
    bad = {"train": {"steps": 6001, "batch_size": 5000}, "adapter": {"rank": 1000}}
    problems = told(client, me, data, bad, api_name="/start")
    assert "train.batch_size is 5000" in problems and "adapter.rank is 1000" in problems
    assert "allows at most 6000" in told(client, me, data, {"train": {"steps": 6001}}, api_name="/start")
    assert "train.stepz is not a setting" in told(client, me, data, {"train": {"stepz": 1}}, api_name="/start")
    words = {"family": "text_llm", "base": "emoji-sd"}
    assert "text_llm learns from dialogues" in told(client, me, data, words, api_name="/start")
    assert "family is 'x'" in told(client, me, files, "x", api_name="/validate_dataset")
    for odd in ([], "x", 3, {"data": []}, {"train": None}):
        assert "must be a JSON object" in told(client, me, data, odd, api_name="/start")
    assert "none of yours" in told(client, me, "../..", api_name="/status")
