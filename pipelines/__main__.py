"""The command line: `python -m pipelines bases | train | resume | preview | curve | export | inspect | estimate`.

Exit codes: 0 done, 2 bad input (one line per problem on stderr), 1 anything else.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .config import RunConfig, with_settings
from .errors import ProblemsError
from .events import Event, Failed, Finished, Prepared, Saved, Step, Stopped, Validated
from .presets import apply

if TYPE_CHECKING:
    from .data.regions import Region
    from .family import PreviewRequest
    from .preview import PreviewSession


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        return int(args.command(args) or 0)
    except ProblemsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was learned is kept, go on with: python -m pipelines resume RUN_DIR", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Train, preview and export LoRA adapters.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(command=run)
        return sub

    add("bases", _bases, "List the bundled bases.")
    train = add("train", _train, "Train an adapter on a folder, zip file or picture.")
    _config_arguments(train)
    train.add_argument("--output", type=Path, required=True, metavar="RUN_DIR", help="new folder for the run")
    for name, run, help in (
        ("resume", _resume, "Go on with a run from its newest checkpoint."),
        ("worker", _work, "Run a folder's run.json; used by the page."),
    ):
        add(name, run, help).add_argument("run_dir", type=Path, metavar="RUN_DIR")
    preview = add("preview", _preview, "Write one picture, or answer, per strength.")
    preview.add_argument("source", type=Path, metavar="RUN_DIR|ADAPTER")
    preview.add_argument("--prompt", required=True)
    preview.add_argument("--negative-prompt", default="")
    preview.add_argument("--strengths", type=_numbers, default=[0.0, 0.5, 1.0], metavar="0,0.5,1")
    preview.add_argument("--seed", type=int, default=0)
    preview.add_argument("--steps", type=int, default=25)
    preview.add_argument("--guidance", type=float, default=5.0)
    preview.add_argument("--width", type=int, default=0)
    preview.add_argument("--height", type=int, default=0)
    preview.add_argument(
        "--layout", type=Path, metavar="JSON", help='boxes: [{"box": [left, top, right, bottom], "caption": "a fox"}]'
    )
    preview.add_argument("--layout-scale", type=float, default=1.0, help="how much the boxes count; 0: not at all")
    preview.add_argument("--layout-until", type=float, default=100.0, help="share of the steps with boxes, in percent")
    preview.add_argument("--max-tokens", type=int, default=128, help="answers are cut off after so many tokens")
    preview.add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest word; more: freer")
    preview.add_argument("--picture", type=Path, metavar="FILE", help="the picture that is asked about")
    _tokens_argument(preview)
    preview.add_argument("--base", default="", help="needed when the adapter was made by another tool")
    preview.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    preview.add_argument("--output", type=Path, required=True, metavar="DIR")
    curve = add("curve", _curve, "Measure what each strength does, and keep the recommended one in the adapter's file.")
    curve.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    curve.add_argument("--seed", type=int, default=0)
    curve.add_argument("--steps", type=int, default=25)
    curve.add_argument("--guidance", type=float, default=5.0)
    curve.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    export = add("export", _export, "Write the adapter in a form other tools read, and prove it by reading it back.")
    export.add_argument("source", type=Path, metavar="RUN_DIR|ADAPTER")
    export.add_argument(
        "--format", default="", help="diffusers, kohya, peft, a1111 or merged; language models: peft or merged"
    )
    export.add_argument("--base", default="", help="needed when the adapter was made by another tool")
    export.add_argument("--strength", type=float, default=1.0, help="for merged: the strength that is baked in")
    _tokens_argument(export)
    export.add_argument("--output", type=Path, required=True, metavar="PATH")
    look = add("inspect", _inspect, "Tell what is in an adapter file.")
    look.add_argument("adapter", type=Path, metavar="ADAPTER")
    look.add_argument("--base", default="", help="also tell its layers, by the names this base gives them")
    estimate = add("estimate", _estimate, "Count the memory of a run before it starts.")
    _config_arguments(estimate)
    estimate.add_argument("--measure", action="store_true", help="check the data and do two real steps on this machine")
    return parser


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="RUN_JSON", help="start from these settings")
    parser.add_argument("--family")
    parser.add_argument("--base")
    parser.add_argument("--data")
    parser.add_argument(
        "--preset",
        action="append",
        default=[],
        metavar="NAME",
        help="quick, balanced or quality, and style or subject (boxes: placement or vocabulary; text: manner or "
        "knowledge); --set goes on top",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, such as train.steps=200"
    )


def _tokens_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image-tokens-only",
        action="store_true",
        help="strengths count for the tokens of pictures alone; a text without a picture is answered as by the base",
    )


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers like 0,0.5,1") from error


def _config(args: argparse.Namespace) -> RunConfig:
    config = (
        RunConfig.load(args.config)
        if args.config
        else RunConfig.from_dict({"family": args.family} if args.family else {})
    )
    settings = {"family": args.family, "base": args.base, "data.path": args.data}
    chosen = {name: value for name, value in settings.items() if value is not None}
    if args.preset:
        config = apply(with_settings(config, chosen), [name for word in args.preset for name in word.split(",")])
    problems = [f"--set {item}: expected NAME=VALUE, such as train.steps=200" for item in args.set if "=" not in item]
    for item in args.set:
        name, equals, value = item.partition("=")
        if equals:
            chosen[name.strip()] = value
    try:
        config = with_settings(config, chosen)
    except ProblemsError as error:
        problems.extend(error.problems)
    if problems:
        raise ProblemsError(problems)
    return config


def _bases(args: argparse.Namespace) -> None:
    from .bases import BUNDLED, is_there

    for base in BUNDLED.values():
        there = "" if is_there(base.name) else "  (weights missing)"
        size = f"  {base.resolution} px" if base.resolution else ""
        print(f"{base.name}  {' '.join(base.families)}{size}  {base.title}  license: {base.license}{there}")
    print("Any folder, .safetensors file or Hub id (owner/name) of Stable Diffusion 1.x, 2.x or XL works as well,")
    print("for --family mmdit_layout any folder or Hub id of an MM-DiT with a trained layout branch,")
    print("and for --family text_llm and vora any folder or Hub id of a decoder like Llama, Qwen, Mistral or SmolLM.")


def _train(args: argparse.Namespace) -> int:
    from . import worker

    config = _config(args)
    worker.start(config, args.output)
    worker.forget_stop(args.output)
    return _show(worker.run(args.output, config=config), args.output)


def _resume(args: argparse.Namespace) -> int:
    from .worker import forget_stop

    forget_stop(args.run_dir)
    return _work(args)


def _work(args: argparse.Namespace) -> int:
    from . import worker

    if not (args.run_dir / worker.CONFIG_FILE).exists():
        raise ProblemsError(f"{args.run_dir} holds no run.json; name the folder of a run")
    return _show(worker.run(args.run_dir), args.run_dir)


def _show(events: Iterator[Event], run_dir: Path) -> int:
    """Print events as they come (of several processes, the first does); returns the exit code."""
    from .worker import is_main_process, outcome

    last: list[Event] = []
    for event in events:
        last = [event]
        if not is_main_process():
            continue
        line = _line(event, run_dir)
        if line:
            print(line, flush=True)
        if isinstance(event, Prepared):
            for sentence in event.rejected:
                print(f"left out: {sentence}", file=sys.stderr)
            for sentence in event.notes:
                print(f"note: {sentence}", file=sys.stderr)
        if isinstance(event, Failed):
            for problem in event.problems:
                print(problem, file=sys.stderr)
    return outcome(last) if last else 0


def _line(event: Event, run_dir: Path) -> str:
    if isinstance(event, Prepared):
        return (
            f"{event.samples} samples, {event.trainable_parameters:,} trainable parameters, "
            f"{event.device} {event.precision}, step {event.step} of {event.steps}"
        )
    if isinstance(event, Step) and (event.step == 1 or event.step % 10 == 0 or event.step == event.steps):
        return (
            f"step {event.step}/{event.steps}  loss {event.loss:.4f}  {event.seconds:.2f} s  {event.memory >> 20} MiB"
        )
    if isinstance(event, Validated):
        told = f"  perplexity {event.perplexity:.2f}" if event.perplexity else ""
        return f"step {event.step}  validation loss {event.loss:.4f}{told}"
    if isinstance(event, Saved):
        return f"saved {run_dir / event.path}"
    if isinstance(event, (Finished, Stopped)):
        where = run_dir / event.path if event.path else "nothing learned yet"
        return f"{type(event).__name__.lower()} at step {event.step}: {where}"
    return ""


def _preview(args: argparse.Namespace) -> None:
    from .export import adapter_path, run_config
    from .family import PreviewRequest
    from .files import write_bytes
    from .preview import PreviewSession, png_bytes

    path = adapter_path(args.source)
    config = run_config(args.source, args.base)
    session = PreviewSession(config.family, config.base, config.options, precision=args.precision)
    request = PreviewRequest(
        args.prompt,
        args.negative_prompt,
        args.seed,
        args.steps,
        args.guidance,
        args.width,
        args.height,
        regions=_regions(args.layout) if args.layout else (),
        layout_scale=args.layout_scale,
        layout_until=args.layout_until,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        picture=_read_picture(args.picture) if args.picture else b"",
    )
    if session.family.answers:
        _answers(session, path, request, args)
        return
    ladder = session.ladder(path, request, args.strengths)
    for strength, image in zip(ladder.strengths, ladder.images, strict=True):
        file = args.output / f"strength-{strength:g}.png"
        write_bytes(file, png_bytes(image))
        print(file)


def _answers(session: PreviewSession, adapter: Path, request: PreviewRequest, args: argparse.Namespace) -> None:
    """Print the answer at each strength, and keep all of them with the probability of each of their tokens."""
    from .files import write_text

    *_, answers = session.answers(adapter, request, args.strengths, on_marked=args.image_tokens_only)
    rows = [{"strength": s, **dataclasses.asdict(a)} for s, a in zip(args.strengths, answers, strict=True)]
    for strength, answer in zip(args.strengths, answers, strict=True):
        print(f"strength {strength:g}: {answer.text}{'' if answer.ended else ' …'}")
    told = {"prompt": request.prompt, "answers": rows}
    write_text(args.output / "answers.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def _read_picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProblemsError(f"{path} cannot be read: {error.strerror}") from error


def _regions(path: Path) -> tuple[Region, ...]:
    """The boxes in a JSON file. Raises ProblemsError."""
    from .data.regions import read_regions

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProblemsError(f"--layout {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ProblemsError(f"--layout {path.name} is not JSON: {error}") from error
    return read_regions(values, f"the boxes in {path.name}")


def _curve(args: argparse.Namespace) -> None:
    from . import curve
    from .export import adapter_path, run_config
    from .family import PreviewRequest
    from .preview import PreviewSession

    path, config = adapter_path(args.run_dir), run_config(args.run_dir)
    session = PreviewSession(config.family, config.base, config.options, precision=args.precision)
    request = PreviewRequest(seed=args.seed, steps=args.steps, guidance=args.guidance).validate()
    steps = curve.measure(session, path, curve.samples_of(session, args.run_dir, config), request)
    while True:
        try:
            done, total = next(steps)
            print(f"part {done + 1} of {total}", file=sys.stderr)
        except StopIteration as end:
            found: curve.Curve = end.value
            break
    curve.keep(found, args.run_dir, path)
    print("strength  error    near  moved")
    for row in zip(found.strengths, found.error, found.near, found.moved, strict=True):
        print("{:8.2f}  {:.5f}  {:5.2f}  {:5.2f}".format(*row))
    said = "none" if found.recommended is None else f"{found.recommended:g}"
    print(f"recommended strength: {said} ({found.samples} samples, {'held out' if found.held_out else 'trained on'})")


def _export(args: argparse.Namespace) -> None:
    from .adapters.strength import OnMarked
    from .export import export

    strength = OnMarked(args.strength) if args.image_tokens_only else args.strength
    proof = export(args.source, args.format, args.output, base=args.base, strength=strength)
    print(
        f"{args.output}: {proof.modules} layers read back, max error {proof.max_error:.2g}, {proof.unmatched} unmatched"
    )


def _inspect(args: argparse.Namespace) -> None:
    from .adapters.contents import inspect

    found = inspect(args.adapter)
    if args.base:
        from .export import run_config
        from .fit import fit

        found["layers"] = fit(args.adapter, run_config(args.adapter, args.base)).table()
    print(json.dumps(found, indent=2, ensure_ascii=False))


def _estimate(args: argparse.Namespace) -> None:
    from .memory import estimate

    config = _config(args)
    found = estimate(config)
    for name in ("weights", "adapter", "gradients", "optimizer", "activations"):
        print(f"{name:<12}{getattr(found, name) / 2**20:10.1f} MiB")
    print(f"{'total':<12}{found.total / 2**20:10.1f} MiB")
    print(f"cache       {found.cache_per_sample / 2**20:10.2f} MiB per sample")
    print(f"{found.parameters:,} trainable parameters, {found.step_flops / 1e9:.1f} GFLOP per step")
    if args.measure:
        _measure(config)


def _measure(config: RunConfig) -> None:
    """Print what the pre-flight checks find. Raises ProblemsError for what would block the run."""
    from .data.readers import READERS
    from .measure import measure
    from .preflight import check, errors, judge
    from .registry import family_class

    source, reader = Path(config.validate().data.path).expanduser(), READERS[family_class(config.family).reads]
    if not source.exists():
        raise ProblemsError(f"data.path is {str(source)!r}, which does not exist; name {reader.wanted}")
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        count = len(reader.bring([source], dataset).samples)
        found = check(config, dataset, Path.cwd())
        if not errors(found):
            found += judge(config, measure(config, dataset, Path(folder)), count)
    if errors(found):
        raise ProblemsError(errors(found))
    for finding in found:
        print(f"{finding}{f' [{finding.fix}]' if finding.fix else ''}")


if __name__ == "__main__":
    sys.exit(main())
