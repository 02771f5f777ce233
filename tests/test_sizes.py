from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.sizes import KINDS, random_base, random_unet


# The sizes of the published checkpoints.
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("sd15", 859_520_964),
        ("sd15-inpainting", 859_535_364),
        ("lcm", 859_602_884),
        ("sd21", 865_910_724),
        ("sd-turbo", 865_910_724),
    ],
)
def test_the_unets_have_the_published_sizes(kind: str, parameters: int) -> None:
    assert sum(weight.numel() for weight in random_unet(kind).parameters()) == parameters


def test_the_same_seed_is_the_same_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = {"block_out_channels": (32, 64), "cross_attention_dim": 32, "sample_size": 8}
    narrow["down_block_types"] = ("CrossAttnDownBlock2D", "DownBlock2D")
    narrow["up_block_types"] = ("UpBlock2D", "CrossAttnUpBlock2D")
    short = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    monkeypatch.setitem(KINDS, "sd15", (narrow, short | {"num_attention_heads": 2}, {}))
    weights = [
        load_file(random_base(tmp_path / name) / "unet" / "diffusion_pytorch_model.safetensors")
        for name in ("one", "two")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert {weight.dtype for weight in weights[0].values()} == {torch.float16}
