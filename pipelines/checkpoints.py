"""Checkpoints: weights, optimizer state and the step number, in one safetensors file each.

Nothing else is needed to resume exactly, because every random draw is a pure function of (seed, step, sample id).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .adapters.attach import AID
from .adapters.file import read_tensors, write_adapter
from .adapters.lowrank import Layers, LowRank, Whole
from .adapters.metadata import with_recommended
from .adapters.variants import peft_config
from .config import RunConfig
from .errors import ProblemsError
from .files import write_tensors

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class TrainingState:
    """What training changes: the parameters by name, their optimizer, their moving average, and the step."""

    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors."""
        found = {f"weight:{name}": p.detach() for name, p in self.parameters.items()}
        found |= {f"average:{name}": value for name, value in self.average.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                found[f"{key}:{name}"] = value
        return {key: value.cpu().contiguous() for key, value in found.items()}

    def restore(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """The inverse of `tensors`. Raises ProblemsError listing every tensor that does not fit."""
        problems = []
        for name, parameter in self.parameters.items():
            value = tensors.get(f"weight:{name}")
            if value is None or value.shape != parameter.shape:
                got = "missing" if value is None else f"{tuple(value.shape)}"
                problems.append(
                    f"checkpoint: {name} is {got}, this run needs {tuple(parameter.shape)}; were the settings changed?"
                )
        if problems:
            raise ProblemsError(problems)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight:{name}"])
                if self.average:
                    self.average[name].copy_(tensors.get(f"average:{name}", tensors[f"weight:{name}"]))
                moments = {key: tensors[f"{key}:{name}"] for key in _MOMENTS if f"{key}:{name}" in tensors}
                # The step counter stays where AdamW keeps it; the moments live beside their parameter.
                self.optimizer.state[parameter] = {
                    key: value.clone()
                    if key == "step" and parameter.device.type == "cpu"
                    else value.to(parameter.device)
                    for key, value in moments.items()
                }
        self.step = step


def save_checkpoint(folder: Path, state: TrainingState, keep: int) -> Path:
    """Write `step-000100.safetensors` into `folder`, then delete all but the newest `keep`."""
    path = folder / f"step-{state.step:06d}.safetensors"
    write_tensors(path, state.tensors(), {"step": str(state.step)})
    for old in sorted(folder.glob("step-*.safetensors"))[:-keep]:
        old.unlink()
    return path


def readable(folder: Path) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Checkpoints from newest to oldest, skipping damaged ones: (step, tensors)."""
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                yield int((file.metadata() or {})["step"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError):
            continue


def adapters(run_dir: Path) -> Iterator[tuple[int, Path]]:
    """The checkpoints of a run as adapter files, oldest first: (step, file). Written beside the adapter once, with its
    header; what the run would have saved at that step."""
    config = RunConfig.load(run_dir / "run.json")
    _, metadata = read_tensors(run_dir / "adapter" / "adapter.safetensors")
    for step, tensors in sorted(readable(run_dir / "checkpoints"), key=lambda pair: pair[0]):
        path = run_dir / "adapter" / f"step-{step:06d}.safetensors"
        if not path.exists():
            layers = _layers(tensors, config)
            write_adapter(path, layers, form="diffusers", metadata=with_recommended(metadata, None))
        yield step, path


def _layers(tensors: Mapping[str, Tensor], config: RunConfig) -> Layers:
    """The adapter a checkpoint holds: its moving average where it has one."""
    kind = "average:" if any(name.startswith("average:") for name in tensors) else "weight:"
    values = {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}
    values = {name: value for name, value in values.items() if not name.startswith(AID)}
    settings = peft_config(config.adapter, [])
    rank, alpha = float(settings.r), float(settings.lora_alpha)
    scale = alpha / (math.sqrt(rank) if settings.use_rslora else rank)
    paths = {name.removesuffix(".down") for name in values if name.endswith(".down")}
    found: Layers = {path: LowRank(values[f"{path}.down"], values[f"{path}.up"], scale) for path in sorted(paths)}
    return found | {name: Whole(value) for name, value in values.items() if not name.endswith((".down", ".up"))}
