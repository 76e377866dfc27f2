"""Teach a language model a manner of answering from questions and answers, and ask it at several strengths.

    python -m examples.train_text --output runs/text

Trains on 144 answers that all begin the same way and asks something that is not among them. `--data` takes JSON, JSONL
and CSV in the usual forms, `--base` any decoder like Llama, Qwen, Mistral or SmolLM.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines import worker
from pipelines.config import DataConfig, RunConfig
from pipelines.events import Failed, Finished, Validated
from pipelines.family import PreviewRequest
from pipelines.presets import apply
from pipelines.preview import PreviewSession

DATA = Path(__file__).parent / "data" / "dialogues" / "plain_words.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="emoji-llm")
    parser.add_argument("--data", default=str(DATA))
    parser.add_argument("--preset", default="quick", choices=("quick", "balanced", "quality"))
    parser.add_argument("--prompt", default="What is a dog?")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--output", type=Path, required=True, help="new folder for the run")
    args = parser.parse_args()

    config = RunConfig(family="text_llm", base=args.base, data=DataConfig(path=args.data))
    config = apply(config, [args.preset, "manner"])
    worker.start(config, args.output)
    for event in worker.run(args.output):
        if isinstance(event, Validated):
            print(f"step {event.step}: perplexity on what was held out {event.perplexity:.2f}")
        elif isinstance(event, Failed):
            raise SystemExit("\n".join(event.problems))
        elif isinstance(event, Finished):
            print(f"the adapter is {args.output / event.path}")

    session = PreviewSession(config.family, config.base, config.options)
    adapter = args.output / "adapter" / "adapter.safetensors"
    *_, answers = session.answers(adapter, PreviewRequest(args.prompt, max_tokens=60), args.strengths)
    for strength, answer in zip(args.strengths, answers, strict=True):
        print(f"strength {strength:g}: {answer.text}{'' if answer.ended else ' …'}")


if __name__ == "__main__":
    main()
