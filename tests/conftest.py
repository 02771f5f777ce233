import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.tiny import tiny_pipeline


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline in the diffusers layout."""
    return tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def tiny_unet(tiny_base: Path) -> UNet2DConditionModel:
    """Its UNet, fresh for every test, in float32."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet", torch_dtype=torch.float32)
    return unet.requires_grad_(False)
