"""A UNet prepared for tracing computes what diffusers' own does, at every size."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from exporter.upsampling import upsample_by_size

LEVELS = {
    2: ("DownBlock2D", "CrossAttnDownBlock2D"),
    4: ("CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D"),
}


def random_unet(levels: int) -> UNet2DConditionModel:
    torch.manual_seed(levels)
    unet = UNet2DConditionModel(
        block_out_channels=(8,) * levels,
        down_block_types=LEVELS[levels],
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(LEVELS[levels])),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    return unet.eval().requires_grad_(False)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("size", [(16, 8), (9, 13), (15, 16), (1, 1), (3, 22)])
def test_a_unet_that_upsamples_by_size_is_diffusers_own(levels: int, size: tuple[int, int]) -> None:
    unet = random_unet(levels)
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn((2, 4, *size), generator=generator)
    inputs = sample, 501, torch.randn((2, 5, 8), generator=generator)
    expected = unet(*inputs).sample
    upsample_by_size(unet)
    found = unet(*inputs).sample
    assert torch.equal(found, expected)
    # Sizes are those of the call, not of the one before.
    smaller = sample[:, :, :1, :1]
    assert unet(smaller, *inputs[1:]).sample.shape == smaller.shape
