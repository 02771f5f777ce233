"""What an inpainting UNet sees beside the latents: the mask, and the picture without what it hides.

With the conventions of diffusers' `StableDiffusionInpaintPipeline` at strength 1.
"""

import numpy as np
from PIL import Image

from runtime.noise import Generator
from runtime.tensors import Float32
from runtime.vae import VaeEncoder


def inpainting_conditions(
    encoder: VaeEncoder,
    image: Image.Image,
    mask: Image.Image,
    size: tuple[int, int],
    noise: Generator,
) -> Float32:
    """`[1, 1 + C, h, w]`: the mask at latent size, then the latents of the masked picture.

    Args:
        encoder: the VAE's.
        image: what is painted into, scaled to `size`.
        mask: white, from half on, where to paint; scaled likewise.
        size: (width, height) in pixels.
        noise: the run's generator after the start noise; the VAE's posterior is drawn from it.
    """
    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), np.float32)
    grey = np.asarray(mask.resize(size, Image.Resampling.LANCZOS).convert("L"), np.float32)
    hidden = (grey / 255 >= 0.5).astype(np.float32)[None, None]
    sample = 2 * (pixels.transpose(2, 0, 1)[None] / np.float32(255)) - 1
    latents = encoder.sample(sample * (1 - hidden), noise)
    scale = size[0] // latents.shape[3]
    return np.concatenate([hidden[:, :, ::scale, ::scale], latents], axis=1)
