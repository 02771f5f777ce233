"""Upsampling to the sizes that the way down had, so that a latent may have any size.

A UNet halves a latent as often as it doubles it. diffusers doubles by a factor where every half is
whole, and else by size; which of the two is decided while tracing, so a graph would be good for one
kind of latent. By size serves both: for whole halves it is the same.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn.functional import interpolate


class SizedUpsample(nn.Module):
    """diffusers' `Upsample2D`, always by size."""

    def __init__(self, upsample: Any, sizes: dict[int, Sequence[int]], level: int) -> None:
        super().__init__()
        self.conv = upsample.conv
        self.sizes = sizes  # filled on the way down
        self.level = level

    def forward(self, x: torch.Tensor, _size: None = None) -> torch.Tensor:
        """`x [batch, C, h, w]` -> `[batch, C, H, W]`, H and W those of the level's way down."""
        return self.conv(interpolate(x, size=self.sizes[self.level], mode="nearest"))  # type: ignore[no-any-return]


def upsample_by_size(unet: UNet2DConditionModel) -> None:
    """Puts a `SizedUpsample` in the place of every upsampler, in place; for tracing only."""
    sizes: dict[int, Sequence[int]] = {}
    parts: Any = unet

    def keep(level: int, x: torch.Tensor) -> None:
        sizes[level] = x.shape[2:]

    for level, block in enumerate(parts.down_blocks):
        block.register_forward_pre_hook(
            lambda _block, _inputs, named, level=level: keep(level, named["hidden_states"]),
            with_kwargs=True,
        )
    levels = len(parts.down_blocks)
    for number, block in enumerate(parts.up_blocks):
        if block.upsamplers is not None:
            (upsample,) = block.upsamplers
            block.upsamplers[0] = SizedUpsample(upsample, sizes, levels - 2 - number)
    parts.num_upsamplers = 0  # or diffusers would ask whether the sizes divide by 2 ** that
