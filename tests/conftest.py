import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from exporter.export import StyleRequest, export
from exporter.progress import silent
from runtime.tensors import write_tensors
from tests.tiny import tiny_pipeline

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "net.0.proj", "net.2")
MERGED_STRENGTH = 0.8


# Noise of the libraries about each other; everything else is an error (pyproject.toml).
THIRD_PARTY_WARNINGS = (
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:diffusers",
    "ignore:Already found a `peft_config` attribute:UserWarning:peft",
)


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)  # faster for tiny models, much faster on a busy machine
    for line in THIRD_PARTY_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline in the diffusers layout."""
    return tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def tiny_unet(tiny_base: Path) -> UNet2DConditionModel:
    """Its UNet, fresh for every test, in float32."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet", torch_dtype=torch.float32)
    return unet.requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_loras(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two random LoRAs in kohya's form: `wiggle` on all layers, `wobble` on the attention only."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet")
    folder = tmp_path_factory.mktemp("loras")
    loras = {}
    for seed, (name, rank) in enumerate({"wiggle": 4, "wobble": 2}.items()):
        random = np.random.default_rng(seed)
        tensors = {}
        for path, module in unet.named_modules():
            if ".attentions." not in path or not path.endswith(LORA_TARGETS):
                continue
            if name == "wobble" and ".attn" not in path:
                continue
            out, into, *kernel = module.weight.shape
            key = f"lora_unet_{path.replace('.', '_')}"
            down = random.normal(0, into**-0.5, (rank, into, *kernel))
            up = random.normal(0, 0.3, (out, rank, *kernel))
            tensors[f"{key}.lora_down.weight"] = down.astype(np.float16)
            tensors[f"{key}.lora_up.weight"] = up.astype(np.float16)
            tensors[f"{key}.alpha"] = np.array(rank / 2, np.float16)
        loras[name] = folder / f"{name}.safetensors"
        write_tensors(loras[name], tensors, {"ss_output_name": name})
    return loras


@pytest.fixture(scope="session")
def tiny_bundle(
    tiny_base: Path, tiny_loras: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny pipeline exported, with `wiggle`, `wobble`, `wiggle-merged`. Do not change it."""
    out = tmp_path_factory.mktemp("bundle") / "dist"
    for style in (
        StyleRequest(tiny_loras["wiggle"], "external"),
        StyleRequest(tiny_loras["wobble"], "external"),
        StyleRequest(tiny_loras["wiggle"], "merged", strength=MERGED_STRENGTH),
    ):
        export(tiny_base, out, silent, style)
    return out
