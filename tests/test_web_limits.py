"""Limits of a server: read from the environment, told, and enforced whoever asks; data that nobody comes back for."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_web import processes
from lora_web.folders import Process, write_process
from lora_web.intake import Intake
from lora_web.rates import HourlyRate
from lora_web.sentences import limit_lines
from lora_web.site import Site
from lora_web.workspace import HOSTED, UNLIMITED, Limits, Workspace, new_token
from pipelines.config import AdapterConfig, DataConfig, RunConfig, TrainConfig
from pipelines.errors import ProblemsError
from tests.data_parts import make_pictures


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    return Site(Workspace(tmp_path / "workspace", Limits(runs=1, queue=1, starts_per_hour=2)))


@pytest.fixture
def worker() -> Iterator[Process]:
    """A process that lives as long as the test, for runs that are to count as going on."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    yield Process(child.pid, processes.start_time(child.pid), 0)
    child.communicate(b"\n")


def put_run(site: Site, token: str, worker: Process | None = None) -> Path:
    """A run folder as a start leaves it, with a process or without."""
    run = site.workspace.visitor(token).runs_folder() / new_token()
    run.mkdir()
    (run / "run.json").write_text(RunConfig().to_json())
    if worker:
        write_process(run, worker)
    assert site.supervisor.status(run).active == (worker is not None)
    return run


def test_the_environment_sets_every_limit() -> None:
    environment = {f"LORA_WEB_{spec.name.upper()}": "7" for spec in dataclasses.fields(Limits)}
    assert set(dataclasses.asdict(Limits.read(False, environment)).values()) == {7}
    assert Limits.read(True, {}) == HOSTED
    assert Limits.read(False, {"LORA_WEB_STEPS": " "}) == Limits()
    assert Limits.read(True, {"LORA_WEB_KEEP_HOURS": "0"}).keep_hours == 0


def test_limits_that_are_no_numbers_are_all_told() -> None:
    with pytest.raises(ProblemsError) as caught:
        Limits.read(False, {"LORA_WEB_STEPS": "many", "LORA_WEB_RANK": "0", "LORA_WEB_FILES": "-1"})
    assert len(caught.value.problems) == 3


def test_a_server_for_strangers_is_never_the_laxer_one() -> None:
    ours, theirs = dataclasses.asdict(Limits()), dataclasses.asdict(HOSTED)
    for name, value in theirs.items():
        assert value > 0 if name in UNLIMITED else value <= ours[name], name


def test_every_limit_is_told() -> None:
    values = {spec.name: 1000 + number for number, spec in enumerate(dataclasses.fields(Limits))}
    values |= {"file_bytes": 2048 * 2**20, "visitor_bytes": 3 * 2**30}
    told = " ".join(limit_lines(Limits(**values)))
    for name, value in values.items():
        if name != "keep_hours":  # said with the data, not with the limits
            assert (f"{value >> 30} GB" if name.endswith("bytes") else str(value)) in told, name


def test_settings_beyond_the_limits_are_all_told() -> None:
    config = RunConfig(
        data=DataConfig(path="x", resolution=512),
        adapter=AdapterConfig(rank=64),
        train=TrainConfig(steps=9, batch_size=8),
    )
    assert Limits(steps=9, resolution=512, rank=64, batch_size=8).check(config) == []
    problems = Limits(steps=8, resolution=256, rank=63, batch_size=7).check(config)
    assert [line.split()[0] for line in problems] == [
        "train.steps",
        "train.batch_size",
        "adapter.rank",
        "data.resolution",
    ]


def test_runs_waiting_are_counted_for_the_visitor_and_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Process
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    workspace = Workspace(tmp_path / "workspace", Limits(runs=1, queue=1))
    site, data = Site(workspace), make_pictures(tmp_path / "data", count=1)
    me, others = workspace.visitor(None), [workspace.visitor(None) for _ in range(2)]
    put_run(site, me.token, worker)
    with pytest.raises(ProblemsError, match="1 of your runs"):
        site.start(me, RunConfig(), data)
    for other in others:
        put_run(site, other.token, worker)
    with pytest.raises(ProblemsError, match="1 runs are waiting already"):
        site.start(workspace.visitor(None), RunConfig(), data)
    with pytest.raises(ProblemsError, match="1 of your runs"):
        site.resume(me, put_run(site, me.token))


def test_a_rate_is_an_hour_that_slides() -> None:
    now = [0.0]
    rate = HourlyRate(2, clock=lambda: now[0])
    assert [rate.wait("a"), rate.wait("a"), rate.wait("b")] == [0, 0, 0]
    now[0] = 600
    assert rate.wait("a") == 3000
    now[0] = 3600
    assert rate.wait("a") == 0
    assert all(HourlyRate(0).wait("a") == 0 for _ in range(1000))


def post(path: str, length: str | None, address: str = "10.1.1.1") -> dict[str, Any]:
    headers = [] if length is None else [(b"content-length", length.encode())]
    return {"type": "http", "method": "POST", "path": path, "headers": headers, "client": (address, 1)}


def answer(intake: Intake, scope: dict[str, Any]) -> int:
    found = intake.refusal(scope, dict(scope["headers"]))
    return found.status_code if found else 200


def test_requests_larger_than_the_page_sends_are_refused() -> None:
    intake = Intake(lambda *_: None, Limits(visitor_bytes=100 * 2**20, uploads_per_hour=3))
    assert answer(intake, post("/gradio_api/queue/join", "1000")) == 200
    assert answer(intake, post("/gradio_api/queue/join", str(33 * 2**20))) == 413
    for odd in (None, "", "-1", "1e3", "٣", "9" * 30):
        assert answer(intake, post("/gradio_api/queue/join", odd)) in (411, 413)
    for size, status in ((50, 200), (101, 413), (50, 200), (50, 200), (50, 429)):
        assert answer(intake, post("/gradio_api/upload", str(size * 2**20))) == status
    assert answer(intake, post("/gradio_api/upload", "1", address="10.1.1.2")) == 200


def test_a_dataset_has_at_most_so_many_pictures(tmp_path: Path) -> None:
    visitor = Workspace(tmp_path / "workspace", Limits(pictures=2)).visitor(None)
    with pytest.raises(ProblemsError, match="3 pictures, at most 2"):
        visitor.import_samples([make_pictures(tmp_path / "three", count=3)], "stable_diffusion")
    assert not list((visitor.folder / "datasets").iterdir())


def test_a_dataset_has_at_most_so_many_rows_and_none_that_cannot_be_used(tmp_path: Path) -> None:
    visitor = Workspace(tmp_path / "workspace", Limits(rows=2)).visitor(None)
    faq = tmp_path / "faq.jsonl"
    faq.write_text("".join(f'{{"question": "What is {i}?", "answer": "A number."}}\n' for i in range(3)))
    with pytest.raises(ProblemsError, match="3 rows, at most 2"):
        visitor.import_samples([faq], "text_llm")
    faq.write_text('{"question": "What is 1?"}\n')
    with pytest.raises(ProblemsError) as caught:
        visitor.import_samples([faq], "text_llm")
    assert caught.value.problems[-1] == "faq.jsonl, line 1 has no answer: it is left out"
    assert not list((visitor.folder / "datasets").iterdir())


def test_delete_my_data_leaves_nothing_of_mine_and_all_of_others(site: Site, tmp_path: Path) -> None:
    me, other = site.workspace.visitor(None), site.workspace.visitor(None)
    pictures = make_pictures(tmp_path / "data", count=1)
    me.import_samples([pictures], "stable_diffusion")
    kept = other.dataset(other.import_samples([pictures], "stable_diffusion"))
    mine, theirs = put_run(site, me.token), put_run(site, other.token)
    for run in (mine, theirs):
        (site.served / run.name).mkdir(parents=True)
    (site.workspace.ladders / "picture.png").write_bytes(b"x")
    site.forget(me)
    assert not me.folder.exists()
    assert not (site.served / mine.name).exists()
    assert not list(site.workspace.ladders.iterdir())
    assert kept and kept.is_dir() and theirs.is_dir() and (site.served / theirs.name).is_dir()
    site.forget(me)


def test_who_stays_away_is_forgotten_but_not_during_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Process
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    workspace = Workspace(tmp_path / "workspace", Limits(keep_hours=2))
    visitors = {name: workspace.visitor(None) for name in ("here", "away", "training")}
    site = Site(workspace)
    for name, visitor in visitors.items():
        put_run(site, visitor.token, worker if name == "training" else None)
        visitor.seen()
        if name != "here":
            long_ago = time.time() - 3 * 3600
            os.utime(visitor.folder / "seen", (long_ago, long_ago))
    site.sweep()
    assert [name for name, visitor in visitors.items() if visitor.folder.exists()] == ["here", "training"]
    site.who({"visitor": visitors["training"].token})
    assert time.time() - visitors["training"].last_seen() < 60
