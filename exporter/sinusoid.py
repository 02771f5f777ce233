"""The timestep's sinusoid in arithmetic that every device does alike.

GPUs compute `Sin` and `Cos` with hardware approximations: WGSL allows an error of 2^-11 and only
between -pi and pi. On SwiftShader that alone put a UNet step 1.8e-5 from PyTorch; with the sums
below it is 1.1e-6.
"""

import math
from typing import Any

import torch
from torch import nn

_TURN_HIGH = 6.28125  # 2 pi in 8 bits, so that its product with up to 2^16 turns is exact
_TURN_LOW = 2 * math.pi - _TURN_HIGH
# Taylor series; below half a quarter turn past pi / 2 the next terms are under 1e-9.
_SINE = [(-1) ** i / math.factorial(2 * i + 1) for i in range(7)]
_COSINE = [(-1) ** i / math.factorial(2 * i) for i in range(8)]


class ExactTimesteps(nn.Module):
    """diffusers' `Timesteps`, with sine and cosine as polynomials of the half angle."""

    frequencies: torch.Tensor

    def __init__(self, timesteps: Any) -> None:
        super().__init__()
        half = timesteps.num_channels // 2
        exponent = -math.log(10_000) * torch.arange(half, dtype=torch.float32)
        exponent = exponent / (half - timesteps.downscale_freq_shift)
        self.register_buffer("frequencies", torch.exp(exponent) * timesteps.scale)
        self.cosines_first = timesteps.flip_sin_to_cos

    def forward(self, timesteps: torch.Tensor) -> torch.Tensor:
        """`timesteps [batch]` -> `[batch, channels]`."""
        angles = timesteps[:, None].float() * self.frequencies
        # No `round`: native WebGPU lacks it, and would fetch the angles to the CPU at every step.
        turns = torch.floor(angles * (1 / (2 * math.pi)) + 0.5)
        half = 0.5 * ((angles - turns * _TURN_HIGH) - turns * _TURN_LOW)  # -pi/2 .. pi/2
        square = half * half
        sine, cosine = half * _series(_SINE, square), _series(_COSINE, square)
        sines, cosines = 2 * sine * cosine, 1 - 2 * sine * sine
        parts = (cosines, sines) if self.cosines_first else (sines, cosines)
        return torch.cat(parts, dim=-1)


def guidance_frequencies(width: int | None) -> list[float]:
    """The frequencies of diffusers' `get_guidance_scale_embedding`; none for a width of None.

    They travel as data because a last digit of float32 that `exp` gives otherwise elsewhere is
    1e-3 of the angle at the usual guidance.
    """
    if not width:
        return []
    half = width // 2
    exponent = torch.log(torch.tensor(10_000.0)) / (half - 1)
    frequencies: list[float] = torch.exp(
        torch.arange(half, dtype=torch.float32) * -exponent
    ).tolist()
    return frequencies


def _series(coefficients: list[float], x: torch.Tensor) -> torch.Tensor:
    """Horner's scheme, lowest order first."""
    # A first product rather than `full_like`, which exports as an Expand that fp16 graphs would
    # compute in fp16, where the highest coefficients are 0.
    total = coefficients[-1] * x + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total = total * x + coefficient
    return total
