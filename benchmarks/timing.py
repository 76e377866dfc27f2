"""What the benchmarks share: fair timing on a machine that does other things too, and what that machine can do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Shape = tuple[int, ...]


def alternate(actions: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of each action over `repeats` rounds, after a warm-up round. They take turns, so that a
    slow minute of the machine falls on all of them."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            if turn:
                found[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in found.items()}


def matmul_peak(dtype: torch.dtype, size: int = 1536, repeats: int = 5) -> float:
    """FLOP/s of the best of several square matrix products."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    best = float("inf")
    for turn in range(repeats + 1):
        started = time.perf_counter()
        torch.mm(a, b)
        if turn:
            best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _attention(query: Shape, key: Shape, value: Shape, *others: object, **more: object) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(grad: Shape, query: Shape, key: Shape, value: Shape, *others: object, **more: object) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


# PyTorch counts the attention kernels of GPUs only.
_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def flops(action: Callable[[], object]) -> int:
    """Floating point operations of an action's matrix products, convolutions and attention, forward and backward."""
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        action()
    return int(counter.get_total_flops())


def quiet() -> None:
    """Keep the libraries' advice out of the figures."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def machine() -> str:
    """One line on what the figures were measured with."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, {capability}"
