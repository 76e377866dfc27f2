"""Events and run folders as tests write them."""

from __future__ import annotations

from pathlib import Path

from pipelines.config import RunConfig
from pipelines.events import Event, Prepared, Step


def prepared(step: int = 0, steps: int = 10) -> Prepared:
    return Prepared(
        samples=3,
        validation_samples=0,
        rejected=(),
        notes=(),
        trainable_parameters=100,
        step=step,
        steps=steps,
        device="cpu",
        precision="float32",
    )


def step(number: int, loss: float = 1.0, seconds: float = 2.0, **figures: float) -> Step:
    return Step(number, 10, loss, 1e-3, 1.0, seconds, 0, figures)


def write(run: Path, *events: Event) -> None:
    run.mkdir(parents=True, exist_ok=True)
    if not (run / "run.json").exists():
        (run / "run.json").write_text(RunConfig().to_json())
    with (run / "events.jsonl").open("a") as log:
        log.writelines(event.to_json() + "\n" for event in events)
