"""Where the training runs, in which number type, and with which attention."""

from typing import Any, Literal

import torch
from diffusers.models.attention_processor import AttnProcessor

from runtime.errors import BrushletError

PLAIN_ATTENTION_SIDE = 32


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


def choose_attention(unet: Any, device: torch.device, latents_side: int) -> None:
    """Plain attention where it is quicker to train: small latents on a processor.

    There the backward pass of the fused one is slow: a step of 16 examples of 16x16 latents on a
    7M UNet took 394 ms with plain and 485 ms with fused attention (bf16, one AVX512 core). Plain
    attention's memory grows with the fourth power of `latents_side`.
    """
    if device.type == "cpu" and latents_side <= PLAIN_ATTENTION_SIDE:
        unet.set_attn_processor(AttnProcessor())
