"""Where the training runs and in which number type."""

from typing import Literal

import torch

from runtime.errors import BrushletError


def pick_device(name: str) -> torch.device:
    """The torch device called `name`; `auto` is CUDA when there is one, else the processor."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BrushletError(
            f"cannot use {name!r}: {str(error).splitlines()[0]}", where="device", todo="try `auto`"
        ) from None
    return device


def compute_dtype(precision: Literal["auto", "bf16", "fp32"], device: torch.device) -> torch.dtype:
    """bfloat16 or float32 for the UNet's matrix work; adapters and loss stay in float32.

    `auto` takes bfloat16 on CUDA and on processors with AVX512-BF16, AMX or Arm BF16; elsewhere the
    processor would emulate it, slower than float32.
    """
    if precision == "auto":
        fast = device.type == "cuda" or _has_bf16_units()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _has_bf16_units() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(unit, False) for unit in ("avx512_bf16", "amx_bf16", "bf16"))
