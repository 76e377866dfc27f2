"""The one training loop: `train(config, run_dir)` yields events until the adapter is done.

It knows no family: samples are read and encoded once, an adapter is attached, and each step draws a batch, asks the
family for its loss, and updates the adapter. Closing the generator stops the run and keeps what was learned.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from . import registry
from .adapters import attach as attaching
from .adapters.file import write_adapter
from .adapters.strength import OnMarked, strengths
from .bases import find_base
from .checkpoints import TrainingState, readable, save_checkpoint
from .config import RunConfig, TrainConfig
from .data.encode import Encoded, encode_dataset
from .devices import pick_device, pick_dtype
from .errors import ProblemsError
from .events import Event, Failed, Finished, Prepared, Previewed, Saved, Step, Stopped, Validated
from .facts import adapter_metadata
from .family import PreviewRequest
from .files import write_text
from .randomness import Randomness

ADAPTER_FILE = Path("adapter") / "adapter.safetensors"
STOP_FILE = "stop"
SAMPLE_FILE = "sample"


def train(config: RunConfig, run_dir: Path, *, cache_dir: Path | None = None) -> Iterator[Event]:
    """Train an adapter in `run_dir`, from its newest checkpoint if it has one.

    Raises ProblemsError before the first step when the input cannot be used. A loss that is not finite ends the run
    with `Failed`, the last good adapter kept. A file called `stop` in the run folder ends it with `Stopped`; one called
    `sample` is taken away and answered with preview pictures after the step.
    """
    run = _Run(config.validate(), run_dir, cache_dir or run_dir / "cache")
    yield run.prepared()
    started = time.time()
    try:
        if run.state.step == 0:
            # What the base makes of them, to see the way from there.
            yield from run.validated()
        while run.state.step < config.train.steps:
            if run.stop_requested():
                yield Stopped(run.state.step, run.save_adapter())
                return
            event = run.train_step()
            yield event
            if isinstance(event, Failed):
                return
            yield from run.after_step()
    except GeneratorExit:
        run.checkpoint()
        run.save_adapter()
        raise
    yield Finished(run.state.step, run.save_adapter(), time.time() - started)


class _Run:
    """What a run holds in memory."""

    def __init__(self, config: RunConfig, run_dir: Path, cache_dir: Path):
        self.config, self.dir = config, run_dir
        self.device = pick_device(config.train.device)
        self.dtype = pick_dtype(config.train.precision, self.device)
        self.accelerator = Accelerator(
            cpu=self.device.type == "cpu",
            mixed_precision={torch.bfloat16: "bf16", torch.float16: "fp16"}.get(self.dtype, "no"),
        )
        if config.train.batch_size % self.accelerator.num_processes:
            raise ProblemsError(
                f"train.batch_size is {config.train.batch_size}, "
                f"must be a multiple of the {self.accelerator.num_processes} processes"
            )
        self.device = self.accelerator.device
        self.base = find_base(config.base)
        self.family = registry.create(config.family, config.options)
        if self.family.marks_tokens and config.train.gradient_checkpointing:
            # What is computed again while gradients are taken would not know the marks any more.
            raise ProblemsError(
                "options.images_alone and train.gradient_checkpointing exclude each other; set the one to 0 or turn "
                "the other off"
            )
        self.parts = self.family.load(self.base, self.device, self.dtype)
        started = time.perf_counter()
        with self.accelerator.main_process_first():
            self.data: Encoded = encode_dataset(self.family, self.parts, self.base, config, (run_dir, cache_dir))
        self.encode_seconds = time.perf_counter() - started
        self.family.release(self.parts)
        targets = self.family.targets(self.parts)
        self.adapter = attaching.attach(
            self.parts.model, targets, config.adapter, config.train.seed, extra=self.parts.extra
        )
        attaching.train_along(self.adapter, self.family.aids(self.parts))
        if config.train.gradient_checkpointing:
            for module in self.parts.model.values():
                names = ("enable_gradient_checkpointing", "gradient_checkpointing_enable")
                enable = next((getattr(module, name) for name in names if hasattr(module, name)), None)
                if enable is None:  # too small to have it
                    continue
                # Checkpointing is skipped in eval mode; the base has no dropout of its own that train mode would wake.
                enable()
                module.train()
        self.state = self._fresh_state()
        for step, tensors in readable(run_dir / "checkpoints"):
            self.state.restore(tensors, step)
            break

    def _fresh_state(self) -> TrainingState:
        train = self.config.train
        parameters = self.adapter.parameters()
        optimizer = torch.optim.AdamW(
            parameters.values(),
            lr=train.learning_rate,
            weight_decay=train.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        average = {name: p.detach().clone() for name, p in parameters.items()} if train.ema else {}
        return TrainingState(parameters, optimizer, average)

    @property
    def is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def prepared(self) -> Prepared:
        return Prepared(
            samples=len(self.data.train),
            validation_samples=len(self.data.validation),
            rejected=self.data.rejected,
            notes=(*self.data.notes, *_process_notes(self.accelerator.num_processes)),
            trainable_parameters=sum(p.numel() for p in self.state.parameters.values()),
            step=self.state.step,
            steps=self.config.train.steps,
            device=str(self.device),
            precision=str(self.dtype).removeprefix("torch."),
            encode_seconds=self.encode_seconds,
        )

    def stop_requested(self) -> bool:
        """Whether the stop file is there; all processes get the first one's answer."""
        answer = [self.is_main and (self.dir / STOP_FILE).exists()]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(answer)
        return bool(answer[0])

    def train_step(self) -> Step | Failed:
        """One optimizer step; a loss or gradient that is not finite changes nothing and ends the run."""
        train, state, started = self.config.train, self.state, time.perf_counter()
        total = torch.zeros((), device=self.device)
        self.adapter.dropout(True)
        for micro in range(train.accumulation):
            with self._working():
                loss = self._micro_loss(state.step * train.accumulation + micro)
                loss.backward()
            total += loss.detach()
        self.adapter.dropout(False)
        self._average_over_processes(total)
        gradients = [p.grad for p in state.parameters.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not math.isfinite(float(total)) or not math.isfinite(float(norm)):
            state.optimizer.zero_grad(set_to_none=True)
            sentence = (
                f"the loss became {float(total)} at step {state.step + 1}; "
                "lower train.learning_rate or use train.precision fp32"
            )
            return Failed(state.step, (sentence,), self.save_adapter())
        if train.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(state.parameters.values(), train.clip_norm, norm)
        rate = train.learning_rate * rate_factor(train, state.step)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if state.average:
            # A short warm-up of the decay: the average must not remember the first weights for long.
            decay = min(train.ema, (1 + state.step) / (10 + state.step))
            weights = [p.detach() for p in state.parameters.values()]
            torch._foreach_lerp_(list(state.average.values()), weights, 1 - decay)
        figures = {name: float(value) for name, value in self.parts.figures.items()}
        seconds = time.perf_counter() - started
        memory = peak_memory(self.device)
        return Step(state.step, train.steps, float(total), rate, float(norm), seconds, memory, figures)

    def _working(self) -> AbstractContextManager[None]:
        """Inside, the adapter works at the tokens that the family marks, if it marks any, else at all."""
        if not self.family.marks_tokens:
            return contextlib.nullcontext()
        return strengths([self.adapter], {self.adapter.name: OnMarked(1.0)})

    def _micro_loss(self, micro_step: int) -> Tensor:
        """The loss of this process's share of a batch, as much of it as counts in the whole step."""
        train, accelerator = self.config.train, self.accelerator
        share = (train, micro_step, accelerator.process_index, accelerator.num_processes)
        ids, batch = self.data.batch(*share)
        if self.config.adapter.dropout:
            # Dropout draws from the global generator: make that a function of the step as well.
            torch.manual_seed(micro_step * accelerator.num_processes + accelerator.process_index + train.seed)
        batch = {name: value.to(self.device) for name, value in batch.items()}
        with accelerator.autocast():
            loss = self.family.loss(self.parts, batch, Randomness(train.seed, micro_step, ids))
        return loss * self.data.share(*share)

    def _average_over_processes(self, total: Tensor) -> None:
        """Average gradients and loss over processes, in one message."""
        if self.accelerator.num_processes == 1:
            return
        gradients = [p.grad for p in self.state.parameters.values() if p.grad is not None]
        flat: Any = self.accelerator.reduce(torch.cat([g.flatten() for g in gradients] + [total.view(1)]), "mean")
        for gradient, mean in zip(gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        total.copy_(flat[-1])

    def after_step(self) -> Iterator[Event]:
        """What is due at this step: validation, preview pictures, a checkpoint."""
        train, step = self.config.train, self.state.step
        last = step == train.steps
        if step % train.validate_every == 0 or last:
            yield from self.validated()
        due = train.preview_every and (step % train.preview_every == 0 or last)
        if self.is_main and (self._sample_requested() or due):
            yield self._preview()
        if step % train.checkpoint_every == 0 or last:
            path = self.checkpoint()
            if path:
                yield Saved(step, path)

    def _sample_requested(self) -> bool:
        """Whether the sample file was there. It is taken away first: one made while pictures are rendered counts."""
        wish = self.dir / SAMPLE_FILE
        asked = wish.exists()
        wish.unlink(missing_ok=True)
        return asked

    def validated(self) -> Iterator[Validated]:
        """How well the held-out samples are told now, if there are any."""
        if self.data.validation:
            loss = self._validation_loss()
            yield Validated(self.state.step, loss, math.exp(min(loss, 700.0)) if self.family.answers else None)

    def _validation_loss(self) -> float:
        """Mean loss of the held-out samples at noise that is the same every time."""
        total = weights = 0.0
        with self._averaged(), torch.no_grad(), self.accelerator.autocast():
            for sample in self.data.validation:
                batch = {name: value.unsqueeze(0).to(self.device) for name, value in sample.tensors.items()}
                draws = [Randomness(self.config.train.seed, -1 - k, (sample.id,)) for k in range(self.family.draws)]
                losses = [float(self.family.loss(self.parts, batch, draw)) for draw in draws]
                weight = self.family.weight(sample.tensors)
                total, weights = total + weight * sum(losses) / len(losses), weights + weight
        return total / weights

    def _preview(self) -> Previewed:
        folder = self.dir / "previews"
        folder.mkdir(exist_ok=True)
        first = self.data.train[0]
        prompt = self.config.train.preview_prompt or first.caption
        request = PreviewRequest(prompt=prompt, seed=self.config.train.seed, regions=first.regions)
        if first.picture:
            request = dataclasses.replace(request, picture=first.picture.read_bytes())
        with self._averaged(), self.accelerator.autocast():
            result = self.family.preview(self.parts, request)
        self.family.release(self.parts)
        paths: list[Path] = []
        stem = f"step-{self.state.step:06d}"
        for i, image in enumerate(result.images):
            paths.append(folder / f"{stem}-{i}.png")
            image.save(paths[-1])
        for i, answer in enumerate(result.answers):
            paths.append(folder / f"{stem}-{i}.txt")
            write_text(paths[-1], answer.text + "\n")
        return Previewed(self.state.step, tuple(path.relative_to(self.dir).as_posix() for path in paths), prompt)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Inside, the adapter holds its moving average (when there is one): what will be saved is what is measured."""
        if not self.state.average:
            yield
            return
        current = {name: p.detach().clone() for name, p in self.state.parameters.items()}
        attaching.copy_into(self.state.parameters, self.state.average)
        try:
            yield
        finally:
            attaching.copy_into(self.state.parameters, current)

    def checkpoint(self) -> str:
        """Save a checkpoint from the main process; its path relative to the run folder."""
        if not self.is_main:
            return ""
        path = save_checkpoint(self.dir / "checkpoints", self.state, self.config.train.keep_checkpoints)
        return path.relative_to(self.dir).as_posix()

    def save_adapter(self) -> str:
        """Write the adapter file; its path relative to the run folder, or empty when nothing was learned yet."""
        if not self.is_main or self.state.step == 0:
            return ""
        with self._averaged():
            weights = self.adapter.weights()
        metadata = adapter_metadata(self.config, self.base, self.parts, self.data)
        write_adapter(self.dir / ADAPTER_FILE, weights, form="diffusers", metadata=metadata)
        return ADAPTER_FILE.as_posix()


def _process_notes(processes: int) -> tuple[str, ...]:
    """What to tell of the processes at work, where it may not be what was asked for."""
    if processes > 1:
        return (f"{processes} processes share every batch",)
    if "MASTER_ADDR" in os.environ and os.environ.get("ACCELERATE_USE_CPU") == "True":
        # Its --num_processes counts for a CPU only together with an MPI host file.
        return (
            "accelerate launch --cpu started one process; to start several without MPI use "
            "torchrun --nproc-per-node 2 -m pipelines train ... --set train.device=cpu",
        )
    return ()


def rate_factor(train: TrainConfig, step: int) -> float:
    """The learning rate of a step over its peak: linear warm-up, then the schedule; a pure function of the step."""
    warmup = min(train.warmup, train.steps - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, train.steps - warmup)
    if train.schedule == "linear":
        return 1 - progress
    if train.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0


def peak_memory(device: torch.device) -> int:
    """Peak bytes so far: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows has no such counter in its standard library
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
