"""The assembled pipeline is half as large as its parts and knows nothing of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file

from models.training import assemble


def test_the_parts_become_one_fp16_pipeline(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, base = tmp_path / "work", tmp_path / "base"
    for part in ("vae", "text_encoder"):
        shutil.copytree(tiny_base / part, work / part)
    trained = UNet2DConditionModel.from_pretrained(tiny_base / "unet").float()
    trained.save_pretrained(work / "unet")
    shutil.copytree(tiny_base / "tokenizer", base / "tokenizer")
    monkeypatch.setattr(assemble, "WORK", work)
    monkeypatch.setattr(assemble, "BASE", base)
    assemble.main()

    for path in base.rglob("*.json"):
        assert str(tmp_path) not in path.read_text(), path
    weights = {path.parent.name: load_file(path) for path in base.rglob("*.safetensors")}
    assert set(weights) == {"unet", "vae", "text_encoder"}
    for tensors in weights.values():
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    pipeline = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float16)
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    name, weight = next(iter(trained.named_parameters()))
    torch.testing.assert_close(pipeline.unet.get_parameter(name), weight.half())
