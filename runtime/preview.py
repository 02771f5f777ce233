"""A quick look at latents without the VAE."""

import numpy as np

from runtime.manifest import Model
from runtime.tensors import Float32
from runtime.vae import Pixels


def preview(latents: Float32, model: Model) -> Pixels:
    """latents `[n, C, h, w]` -> RGB `[n, h, w, 3]` by the matrix `Model.latent_rgb`."""
    matrix = np.array(model.latent_rgb, np.float32)
    weights, bias = matrix[:, :-1], matrix[:, -1]
    unit = np.einsum("nchw,rc->nhwr", latents, weights) + bias
    return np.asarray((np.clip(unit, 0, 1) * 255).round(), np.uint8)
