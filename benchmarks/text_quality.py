"""What the example dialogues teach the bundled language model, per strength: their manner on words outside the set.

    python -m benchmarks.text_quality --run RUN_DIR [--preset balanced,manner] [--set train.steps=60 ...]

Trains on the 144 example dialogues, all of which begin with "In plain words:", unless RUN_DIR already holds a finished
run; a tenth of them is held out. Then come questions about nouns that are in none of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bases.recipes.emoji import read_nouns
from bases.recipes.things import with_article
from benchmarks.example_adapter import train
from examples.train_text import DATA
from pipelines.config import RunConfig, with_settings
from pipelines.events import Validated, from_json
from pipelines.family import PreviewRequest
from pipelines.presets import apply
from pipelines.preview import LADDER, PreviewSession

MANNER = "In plain words:"
TOKENS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--preset", default="balanced,manner", metavar="NAME,NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    config = apply(RunConfig("text_llm"), filter(None, args.preset.split(",")))
    train(args.run, with_settings(config, {"data.path": str(DATA), **dict(item.split("=", 1) for item in args.set)}))
    events = [from_json(line) for line in (args.run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    for event in events:
        if isinstance(event, Validated):
            print(f"step {event.step}: perplexity of what is held out {event.perplexity:.2f}")
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    asked_before = " ".join(row["instruction"].lower() for row in rows)
    nouns = [noun.word for noun in read_nouns() if noun.word not in asked_before]
    config = RunConfig.load(args.run / "run.json")
    session = PreviewSession(config.family, config.base, config.options)
    adapter = args.run / "adapter" / "adapter.safetensors"
    told = []
    for noun in nouns:
        request = PreviewRequest(prompt=f"What is {with_article(noun)}?", max_tokens=TOKENS)
        *_, answers = session.answers(adapter, request, LADDER)
        told.append(answers)
    print(f"{len(nouns)} nouns outside the set, prompt 'What is a NOUN?', greedy, at most {TOKENS} tokens")
    print(f"| strength | in the manner of the set | stops by itself | {nouns[0]} |\n|---|---|---|---|")
    for column, strength in enumerate(LADDER):
        said = [answers[column] for answers in told]
        manner = sum(answer.text.startswith(MANNER) for answer in said) / len(said)
        ended = sum(answer.ended for answer in said) / len(said)
        print(f"| {strength:g} | {manner:.0%} | {ended:.0%} | {told[0][column].text} |")


if __name__ == "__main__":
    main()
