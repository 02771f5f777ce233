import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402
from diffusers import UNet2DConditionModel  # noqa: E402

from tests.tiny import tiny_pipeline  # noqa: E402


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline in the diffusers layout."""
    return tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def tiny_unet(tiny_base: Path) -> UNet2DConditionModel:
    """Its UNet, fresh for every test, in float32."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet", torch_dtype=torch.float32)
    return unet.requires_grad_(False)
