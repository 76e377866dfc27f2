"""Which device and number format to use."""

from __future__ import annotations

import torch

from .errors import ProblemsError


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` takes the first GPU, else the CPU. Raises ProblemsError when it is absent."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
    if not present.get(name, False):
        raise ProblemsError(
            f"train.device is {name!r}, but this machine has only {', '.join(k for k, v in present.items() if v)}"
        )
    return torch.device(name)


def native_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed by the hardware. CPUs without such instructions emulate it, many times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else ""
        return "AVX512" in capabilities and bool(torch.cpu._is_avx512_bf16_supported())
    return False


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The number format of the frozen base. `auto`: bf16 where the device computes it natively, else fp32."""
    if precision == "auto":
        return torch.bfloat16 if native_bf16(device) else torch.float32
    if precision == "fp16" and device.type == "cpu":
        raise ProblemsError("train.precision is 'fp16', which a CPU cannot train in; use auto, fp32 or bf16")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
