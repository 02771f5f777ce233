"""A fresh network passes its signal on."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D

from models.training.initial import start_near_linear


def test_the_signal_keeps_its_variance_through_many_layers() -> None:
    torch.manual_seed(0)
    convolutions = [
        torch.nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular") for _ in range(12)
    ]
    layers = torch.nn.Sequential(*convolutions)
    signal = torch.randn(4, 32, 16, 16)
    with torch.no_grad():
        assert layers(signal).var() < 0.1
        start_near_linear(layers)
        assert 0.5 < layers(signal).var() < 2
    assert not torch.cat([one.bias for one in convolutions if one.bias is not None]).any()


def test_residual_branches_start_at_zero_and_still_learn() -> None:
    torch.manual_seed(0)
    block = ResnetBlock2D(in_channels=16, temb_channels=8, groups=4)
    attention = Attention(16, heads=2, dim_head=8, residual_connection=True)
    model = torch.nn.ModuleList([block, attention])
    start_near_linear(model)
    picture, time = torch.randn(2, 16, 8, 8), torch.randn(2, 8)
    torch.testing.assert_close(block(picture, time), picture)
    words = torch.randn(2, 5, 16)
    torch.testing.assert_close(attention(words), words)
    (block(picture, time).square().sum() + attention(words).square().sum()).backward()
    assert block.conv2.weight.grad.any()
    assert attention.to_out[0].weight.grad.any()
