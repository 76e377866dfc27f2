"""The journal: what events.jsonl says, read as it grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_web.journal import Journal
from lora_web.progress import probe, status
from lora_web.status import Status
from pipelines.events import Finished, Previewed, Validated
from tests.run_parts import prepared, step, write


def test_journal_reads_only_whole_lines_and_what_is_new(tmp_path: Path) -> None:
    write(tmp_path, prepared(), step(1, 4.0), step(2, 2.0))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    assert (journal.step, journal.steps, list(journal.losses)) == (2, 10, [4.0, 2.0])
    line = step(3, 1.0).to_json()
    with (tmp_path / "events.jsonl").open("a") as log:
        log.write(line[:20])
    journal.update()
    assert journal.step == 2
    with (tmp_path / "events.jsonl").open("a") as log:
        log.write(line[20:] + "\nnot an event\n")
    journal.update()
    assert journal.step == 3
    assert journal.seconds_left == 14.0


def test_journal_of_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    write(tmp_path, prepared(), *(step(n, float(n)) for n in range(1, 8)))
    write(tmp_path, prepared(step=4), step(5, 50.0), Finished(5, "adapter/adapter.safetensors", 1.0))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    assert list(journal.at) == [1, 2, 3, 4, 5]
    assert journal.losses[-1] == 50.0
    assert isinstance(journal.ending, Finished)


def test_curve_is_thin_smooth_and_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    losses = [1.0 + (0.5 if n % 2 else -0.5) for n in range(5000)]
    losses[100] = float("nan")
    write(tmp_path, prepared(), *(step(n + 1, loss) for n, loss in enumerate(losses)))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    curve = journal.curve(points=400)
    assert len(curve) <= 400
    assert curve[-1][0] == 5000
    assert all(0.8 < smooth < 1.2 for _, _, smooth in curve[20:])


def test_journal_keeps_what_each_block_learned_from_its_teacher(tmp_path: Path) -> None:
    taught = (step(n, **{"answers": 2.0, "block 1": 1 / n, "block 2": 1.0}) for n in (2, 4))
    write(tmp_path, prepared(), step(1), *taught)
    write(tmp_path, prepared(step=2), step(3, **{"block 1": 0.25}), Validated(3, 1.0, 2.5))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    assert journal.blocks() == [[(2, 0.5), (3, 0.25)], [(2, 1.0)]]
    assert journal.perplexities == {3: 2.5}
    found = Status("running", step=3, steps=10, perplexities={0: 90.25, 3: 2.5}, blocks=journal.blocks())
    assert probe(found).count("<tr data-block") == 2 and "0.25" in probe(found)
    assert "perplexity 2.5 (at first 90.2)" in status(found, "run")
    assert probe(Status("running")) == probe(None) == ""


def test_journal_keeps_pictures_and_validations(tmp_path: Path) -> None:
    write(tmp_path, prepared(), Validated(2, 1.0), Previewed(3, ("previews/a.png",), "a disc"), Validated(4, 0.5))
    write(tmp_path, prepared(step=2), step(3))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    assert journal.validations == {2: 1.0}
    assert journal.previews[3].prompt == "a disc"
    assert journal.overfit is None


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([1.0, 0.5, 0.6, 0.65], (20, 0.3)),
        ([1.0, 0.5, 0.51, 0.52], None),
        ([1.0, 0.5, 0.9], None),
        ([1.0, 0.9, 0.8, 0.7], None),
        ([0.5, float("nan"), 0.6, 0.65], (10, 0.3)),
    ],
)
def test_a_clear_rise_of_validation_loss_is_told(
    tmp_path: Path, losses: list[float], found: tuple[int, float] | None
) -> None:
    write(tmp_path, prepared(), *(Validated(10 * (i + 1), loss) for i, loss in enumerate(losses)))
    journal = Journal(tmp_path / "events.jsonl")
    journal.update()
    assert journal.overfit == (found and (found[0], pytest.approx(found[1])))
