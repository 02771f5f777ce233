import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from runtime.errors import BrushletError
from trainer.device import PLAIN_ATTENTION_SIDE, choose_attention, compute_dtype, pick_device

CPU = torch.device("cpu")


def test_auto_is_a_device_that_computes() -> None:
    device = pick_device("auto")
    assert (torch.ones(2, device=device) * 2).sum().item() == 4


@pytest.mark.parametrize("name", ["abacus", "cpu:x", "cuda:99"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(BrushletError, match=f"cannot use '{name}'.*try `auto`"):
        pick_device(name)


def test_a_named_precision_is_taken() -> None:
    assert compute_dtype("fp32", CPU) is torch.float32
    assert compute_dtype("bf16", CPU) is torch.bfloat16
    assert compute_dtype("auto", torch.device("cuda")) is torch.bfloat16


def test_attention_is_plain_where_latents_are_small(tiny_unet: UNet2DConditionModel) -> None:
    fused = {type(one) for one in tiny_unet.attn_processors.values()}
    choose_attention(tiny_unet, CPU, PLAIN_ATTENTION_SIDE + 1)
    assert {type(one) for one in tiny_unet.attn_processors.values()} == fused != {AttnProcessor}
    choose_attention(tiny_unet, CPU, PLAIN_ATTENTION_SIDE)
    assert {type(one) for one in tiny_unet.attn_processors.values()} == {AttnProcessor}
