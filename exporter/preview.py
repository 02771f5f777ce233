"""A linear map from a latent pixel to a colour, for previews that cost no VAE."""

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch.nn.functional import avg_pool2d

from models.scenes import Scene, draw

_PICTURES, _SHRINK = 12, 2  # of 64 pixels a side: at full size a large VAE takes minutes
_FIRST_SEED = 40_000_000  # scenes that nothing is trained on


def latent_rgb(vae: Any) -> list[list[float]]:
    """Least squares from latents to the pictures they decode to, shrunk to latent size.

    The latents are those of drawn scenes, which have the colours of photographs and paintings
    and need no download; a fit on random latents would describe colours no picture has.

    Args:
        vae: diffusers AutoencoderKL or AutoencoderTiny in fp32.

    Returns:
        3 rows of one weight per latent channel and a bias: RGB in 0..1.
    """
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    latents, colours = [], []
    for index in range(_PICTURES):
        picture = draw(Scene.sample(_FIRST_SEED + index)).astype(np.float32) / 127.5 - 1
        with torch.no_grad():
            small = avg_pool2d(torch.from_numpy(picture).movedim(-1, 0)[None], _SHRINK)
            encoded = vae.encode(small)
            tiny = isinstance(vae, AutoencoderTiny)
            raw = encoded.latents if tiny else encoded.latent_dist.mean
            decoded = avg_pool2d(vae.decode(raw).sample, scale) / 2 + 0.5
        latents.append((raw * vae.config.scaling_factor)[0].flatten(1).T.numpy())
        colours.append(decoded[0].flatten(1).T.clamp(0, 1).numpy())
    x = np.concatenate(latents).astype(float)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    matrix = np.linalg.lstsq(x, np.concatenate(colours).astype(float), rcond=None)[0].T
    # Colours have 256 steps; more digits would differ with the number of threads.
    return [[round(float(weight), 4) for weight in row] for row in matrix]
