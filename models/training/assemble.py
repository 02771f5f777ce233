"""Put the trained parts together as the fp16 pipeline `models/base`.

python -m models.training.assemble
"""

from __future__ import annotations

import json

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from models.training.places import BASE, WORK
from models.training.unet import scheduler


def main() -> None:
    """Write `models/base` in the diffusers layout."""
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(WORK / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(WORK / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(BASE / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(WORK / "unet"),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(BASE, safe_serialization=True)
    for path in BASE.rglob("config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)  # a folder of this machine
        path.write_text(json.dumps(config, indent=2) + "\n")
    total = sum(path.stat().st_size for path in BASE.rglob("*") if path.is_file())
    print(f"{BASE.name}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
