"""What the page weighs: Gradio repeats for every component what it is told of it, so scripts are told once."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lora_web import scripts

# Both languages' pages and the head, in bytes. Tabs and settings may come to it; scripts told twice may not.
BUDGET = 1_600_000
SCRIPTS = Path(scripts.__file__).parent.glob("*.js")
# Of these one is put into the page's HTML by itself.
FILES = sorted(path.stem for path in SCRIPTS if path.stem != "glance")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Gradio is told of the page, as the browser gets it."""
    from lora_web.app import build

    with pytest.MonkeyPatch.context() as patch:
        # The page sets it.
        patch.setenv("GRADIO_TEMP_DIR", "")
        demo = build(tmp_path_factory.mktemp("page") / "workspace")
        demo.head = scripts.head()
        found = json.dumps(demo.get_config_file(), ensure_ascii=False, default=str)
        demo.site.supervisor.close()
    return dict(json.loads(found))


def told(config: dict[str, Any]) -> list[str]:
    """The scripts of components and events."""
    loaded = [each["props"].get("js_on_load") for each in config["components"]]
    return [js for js in (*loaded, *(each["js"] for each in config["dependencies"])) if isinstance(js, str)]


def test_the_page_keeps_to_its_budget(config: dict[str, Any]) -> None:
    assert len(json.dumps(config, ensure_ascii=False).encode()) <= BUDGET


def test_no_script_is_in_the_page_twice(config: dict[str, Any]) -> None:
    again = Counter(told(config))
    assert [js for js, times in again.items() if times > len(config["pages"]) and len(js) > 150] == []
    assert [name for name in FILES if config["head"].count(scripts.text(name)) != 1] == []


def test_the_head_has_what_components_and_events_call(config: dict[str, Any]) -> None:
    called = {name for js in told(config) for name in re.findall(r"loraWeb\.(\w+)", js)}
    head = config["head"]
    assert called and [name for name in sorted(called) if not re.search(rf"^(  )?(async )?{name}\(", head, re.M)] == []
    # It ends where it is meant to.
    assert head.startswith("<script>") and head.endswith("</script>") and head.lower().count("script>") == 2


def test_json_survives_the_template() -> None:
    """As Gradio's templates and the browser read it: escapes of the template first, then those of HTML."""
    value = {"said": 'it\'s a "fox" \\ <b> & more', "count": [1, 2]}
    written = scripts.as_attribute(value)
    assert "'" not in written and "\\" not in written
    read = written.replace("&#39;", "'").replace("&#92;", "\\").replace("&lt;", "<").replace("&gt;", ">")
    assert json.loads(read.replace("&amp;", "&")) == value
