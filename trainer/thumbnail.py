"""The picture on a style's card, drawn with the style itself."""

import io

import torch
from diffusers import DDIMScheduler
from PIL import Image

from trainer.base import Base

SIDE = 128
STEPS = 25
GUIDANCE_SCALE = 4.0


@torch.no_grad()
def draw_thumbnail(base: Base, prompt: str, seed: int) -> bytes:
    """A PNG of 128x128 pixels: `prompt` drawn by the base with whatever adapters it wears.

    25 DDIM steps (arXiv 2010.02502) at the base's own resolution, guidance scale 4.
    """
    pipeline = base.pipeline
    before = pipeline.scheduler
    pipeline.scheduler = DDIMScheduler.from_config(before.config)
    try:
        picture: Image.Image = pipeline(
            prompt,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE_SCALE,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
    finally:
        pipeline.scheduler = before
    file = io.BytesIO()
    picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(file, "PNG", optimize=True)
    return file.getvalue()
