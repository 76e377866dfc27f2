"""Pre-flight: what is found, what puts it right, and two real steps measured in a real process."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_web.measuring import Measures
from pipelines import measure, presets
from pipelines.__main__ import main
from pipelines.config import DataConfig, RunConfig, with_values
from pipelines.data.dialogues import import_dialogues
from pipelines.data.picture_dialogues import import_picture_dialogues
from pipelines.data.samples import import_dataset
from pipelines.measure import Measured
from pipelines.preflight import FIXES, SENTENCES, Finding, check, errors, judge
from tests.data_parts import make_pictures
from tests.web_parts import tiny_config, wait_for

GIB = 2**30


@pytest.fixture
def dataset(pictures: Path, tmp_path: Path) -> Path:
    """Six imported pictures of 72 x 72 with captions "disc 0" to "disc 5"."""
    import_dataset([pictures], tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def config(tiny_base: Callable[[str], Path]) -> RunConfig:
    """A run without anything to complain of."""
    return tiny_config(tiny_base("sd1"), 30)


def found(config: RunConfig, dataset: Path, **values: Any) -> dict[str, Finding]:
    changed = with_values(config, {name.replace("__", "."): value for name, value in values.items()})
    return {finding.kind: finding for finding in check(changed, dataset, dataset)}


def fixed(config: RunConfig, finding: Finding) -> RunConfig:
    assert finding.fix and str(finding.fix)
    return with_values(config, finding.fix.settings)


def test_a_good_run_has_only_facts(config: RunConfig, dataset: Path) -> None:
    findings = check(config, dataset, dataset)
    assert {finding.level for finding in findings} == {"fact"}
    told = " ".join(map(str, findings))
    assert "6 pictures, each seen about 10×" in told and "“disc”" in told
    assert errors(findings) == []


def test_pictures_are_too_few_or_too_small(config: RunConfig, tmp_path: Path) -> None:
    import_dataset([make_pictures(tmp_path / "some", count=2)], tmp_path / "few")
    small = found(config, tmp_path / "few", data__resolution=256, train__batch_size=1)
    assert small["few"].parts == {"count": 2} and small["few"].level == "warning"
    assert small["small"].parts["count"] == 2 and "disc-0.png" in str(small["small"])


def test_captions_that_are_missing_can_come_from_names(config: RunConfig, dataset: Path, tmp_path: Path) -> None:
    source = make_pictures(tmp_path / "source", count=6)
    for caption in list(source.glob("*.txt"))[:4]:
        caption.unlink()
    (source / "disc-0.png").rename(source / "IMG_0001.png")
    (source / "disc-0.txt").unlink(missing_ok=True)
    import_dataset([source], tmp_path / "silent")
    silent = found(config, tmp_path / "silent", data__captions_from_names=False)["silent"]
    assert silent.parts["count"] >= 4 and silent.level == "warning"
    again = check(fixed(config, silent), tmp_path / "silent", tmp_path)
    (left,) = [finding for finding in again if finding.kind == "silent"]
    assert left.parts["count"] == 1 and "IMG_0001" in str(left) and left.fix is None
    assert "silent" not in found(config, tmp_path / "silent", data__caption="a disc")


def test_the_word_that_calls_the_adapter_is_named(config: RunConfig, dataset: Path, tmp_path: Path) -> None:
    assert found(config, dataset)["common_word"].parts == {"word": "disc"}
    assert found(config, dataset, data__trigger_word="sks")["trigger"].parts == {"count": 6, "all": 6}
    assert found(config, dataset, data__trigger_word="disc")["trigger"].parts == {"count": 0, "all": 6}
    source = make_pictures(tmp_path / "source", count=5)
    for i, caption in enumerate(sorted(source.glob("*.txt"))):
        caption.write_text("a " + ("fox", "cat", "dog", "bus", "car")[i] + " word" * 60 * (i == 0))
    import_dataset([source], tmp_path / "words")
    wordy = found(config, tmp_path / "words")
    assert "no_trigger" in wordy and wordy["long"].parts["count"] == 1


def test_a_share_for_validation_that_is_too_small(config: RunConfig, dataset: Path) -> None:
    finding = found(config, dataset, data__validation_percent=1.0)["validation"]
    assert finding.parts == {"count": 1, "all": 6}
    assert fixed(config, finding).data.validation_percent == 50
    assert "validation" not in found(config, dataset)


def test_steps_and_batch_that_do_not_suit_the_set(config: RunConfig, dataset: Path) -> None:
    short = found(config, dataset, train__steps=3)["passes"]
    assert fixed(config, short).train.steps == 60
    large = found(config, dataset, train__batch_size=9)["batch"]
    assert fixed(config, large).train.batch_size == 6


def test_settings_of_another_base_are_put_right_at_once(config: RunConfig, dataset: Path) -> None:
    base = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    told = found(config, dataset, base=base, data__resolution=128)
    assert told["preset"].parts == {"got": 128, "native": 512}
    right = with_values(fixed(config, told["preset"]), {"base": base})
    assert presets.matching(right, presets.EFFORT) == "balanced"
    assert "preset" not in {finding.kind for finding in check(right, dataset, dataset)}
    assert "GB" in str(told["download"]) and told["license"].parts["license"] == "CreativeML Open RAIL-M"
    rate = found(config, dataset, base=base, data__resolution=512, train__learning_rate=1e-3)["rate"]
    assert fixed(config, rate).train.learning_rate == 1e-4


def test_training_on_a_distilled_base_is_warned_of(config: RunConfig, dataset: Path) -> None:
    told = found(config, dataset, base="stabilityai/sdxl-turbo")
    assert told["distilled"].level == "warning" and "turbo" in str(told["distilled"])
    assert "download_unknown" in told


def test_what_ends_a_run_blocks_it(
    config: RunConfig, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (blocked,) = errors(check(with_values(config, {"base": "no such base"}), dataset, dataset))
    assert "must be a bundled name" in blocked
    (empty,) = errors(check(config, tmp_path / "nothing", tmp_path))
    assert "import" in empty
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    (disk,) = errors(check(config, dataset, dataset))
    assert "0 MiB free" in disk and "free some room" in disk


def test_memory_is_judged_by_what_is_free(config: RunConfig) -> None:
    def kinds(measured: Measured, config: RunConfig = config) -> dict[str, Finding]:
        return {finding.kind: finding for finding in judge(config, measured, 100)}

    fits = Measured("CPU", "float32", 2.0, 0.1, (0.5, 0.7), GIB, 4 * GIB, 8 * GIB)
    assert set(kinds(fits)) == {"memory", "time"}
    assert str(kinds(fits)["memory"]) == "Memory: about 1.0 GiB, of 4.0 GiB free (CPU, float32)"
    # 2 s, 100 samples of 0.1 s, 30 steps of 0.6 s.
    assert "about 30 s" in str(kinds(fits)["time"]) and "0.50 to 0.70 s" in str(kinds(fits)["time"])
    tight = kinds(dataclasses.replace(fits, needed=5 * GIB))["memory_tight"]
    halved = fixed(config, tight)
    assert tight.level == "warning" and (halved.train.batch_size, halved.train.accumulation) == (1, 2)
    short = kinds(dataclasses.replace(fits, needed=9 * GIB, steps=()), halved)
    assert short["memory_short"].level == "error" and "time" not in short
    assert fixed(halved, short["memory_short"]).train.gradient_checkpointing is True
    assert errors(judge(config, Measured(problems=("it broke",)), 1)) == ["it broke"]


def test_every_finding_and_fix_can_be_said_in_chinese() -> None:
    from lora_web.words import WORDS

    for kind in SENTENCES:
        assert kind == "told" or f"preflight.{kind}" in WORDS
    for kind in FIXES:
        assert f"fix.{kind}" in WORDS


def test_two_real_steps_are_measured_once(config: RunConfig, dataset: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    measured = measure.measure(config, dataset, cache)
    assert measured.problems == () and (measured.device, measured.precision) == ("CPU", "float32")
    assert len(measured.steps) == 2 and min(measured.steps) > 0 and measured.load > 0 and measured.encode > 0
    assert 0 < measured.needed < measured.free <= measured.total
    key = measure.key_of(config)
    assert measure.known(key, cache) == measured
    # Another rate or more steps cost the same; another rank or batch does not.
    assert measure.key_of(with_values(config, {"train.learning_rate": 0.5, "train.steps": 9})) == key
    assert measure.key_of(with_values(config, {"adapter.rank": 4})) != key
    assert measure.key_of(with_values(config, {"train.batch_size": 4})) != key
    os.utime(cache / f"{key}.json", (time.time() - 25 * 3600,) * 2)
    assert measure.known(key, cache) is None


def test_a_measurement_that_fails_says_why(config: RunConfig, dataset: Path, tmp_path: Path) -> None:
    broken = tmp_path / "base"
    shutil.copytree(config.base, broken)
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not weights")
    measured = measure.measure(with_values(config, {"base": str(broken)}), dataset, tmp_path / "cache")
    assert measured.problems and not measured.steps
    assert not list((tmp_path / "cache").glob("*.json"))


def test_the_page_measures_what_stands_still_and_nothing_beside_a_training(
    config: RunConfig, dataset: Path, tmp_path: Path
) -> None:
    busy = True
    measures = Measures(tmp_path / "cache", lambda: busy)
    assert measures.ask("me", config, dataset) is None
    assert measures.ask("me", config, dataset) is None
    assert measures._running is None
    busy = False
    assert measures.ask("me", config, dataset) is None
    running = measures._running
    assert running
    assert measures.ask("you", config, dataset) is None
    assert measures._running is running, "one at a time"
    other = with_values(config, {"adapter.rank": 3})
    assert measures.ask("me", other, dataset) is None
    assert running.child.poll() is not None and not running.folder.exists(), "changed settings end it"
    assert measures.ask("me", other, dataset) is None
    running = measures._running
    assert running
    measures.cancel("you")
    assert measures._running is running
    measures.cancel()
    assert running.child.poll() is not None and not running.folder.exists()
    measures.ask("me", config, dataset)
    wait_for(lambda: measures.ask("me", config, dataset), "the measurement")


def test_the_command_line_prints_it(
    config: RunConfig, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(config.to_json())
    assert main(["estimate", "--measure", "--config", str(tmp_path / "run.json"), "--data", str(pictures)]) == 0
    told = capsys.readouterr().out
    for words in ("trainable parameters", "6 pictures", "Memory: about", "Time: about", "30 steps of"):
        assert words in told


def test_the_command_line_refuses_what_blocks(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ["estimate", "--measure", "--base", config.base, "--set", "data.resolution=64", "--data"]
    assert main([*arguments, str(tmp_path / "empty")]) == 2
    assert "No picture was found" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_family_that_reads_boxes_wants_some(
    tiny_base: Callable[[str], Path], layouts: Path, dataset: Path, tmp_path: Path
) -> None:
    config = RunConfig("mmdit_layout", str(tiny_base("layout")), DataConfig("pictures", resolution=64))
    bare = found(config, dataset)["boxless"]
    assert bare.level == "warning" and "6 of 6 pictures have no boxes" in str(bare)
    import_dataset([layouts], tmp_path / "boxes")
    assert "boxless" not in found(config, tmp_path / "boxes")
    assert "boxless" not in found(dataclasses.replace(config, family="stable_diffusion", options=None), dataset)


def test_what_is_odd_about_dialogues(tmp_path: Path) -> None:
    rows = [{"question": f"What is {i}?", "answer": f"It is number {i}."} for i in range(60)]
    rows += [
        {"question": "What is 3?", "answer": "Three."},
        {"question": "What is long?", "answer": "Very long. " * 300},
    ]
    rows += [{"question": "What is cut?", "answer": "It is something that ends in the"}]
    (tmp_path / "faq.json").write_text(json.dumps(rows))
    import_dialogues([tmp_path / "faq.json"], tmp_path / "dataset")
    config = with_values(RunConfig(family="text_llm"), {"data.path": "dataset"})
    odd = found(config, tmp_path / "dataset")
    assert "1 of 63 answers" in str(odd["unended"]) and "row 63" in str(odd["unended"])
    assert "row 61" in str(odd["asked_again"]) and "1 of 63 dialogues are likely longer" in str(odd["cut"])
    assert fixed(config, odd["cut"]).options.max_length == 1024
    assert "cut" not in found(fixed(config, odd["cut"]), tmp_path / "dataset")
    assert not {"few", "small", "silent", "no_trigger", "twins"} & set(odd)


def test_pictures_nothing_is_said_of(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "in", count=3)
    (pictures / "disc-1.txt").unlink()
    import_picture_dialogues([pictures], tmp_path / "dataset")
    config = with_values(RunConfig(family="vora"), {"data.path": "dataset", "data.captions_from_names": False})
    silent = found(config, tmp_path / "dataset")["unspoken"]
    assert "1 of 3 pictures" in str(silent) and "disc-1.png" in str(silent)
    assert "unspoken" not in found(fixed(config, silent), tmp_path / "dataset")
