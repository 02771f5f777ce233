import numpy as np
import torch
from diffusers import AutoencoderKL

from exporter.preview import latent_rgb
from models.scenes import Scene, draw
from models.training.places import BASE


def test_a_preview_has_the_colours_of_the_picture() -> None:
    vae = AutoencoderKL.from_pretrained(BASE / "vae", torch_dtype=torch.float32)
    matrix = np.array(latent_rgb(vae))
    assert matrix.shape == (3, vae.config.latent_channels + 1)

    picture = draw(Scene.sample(5)).astype(np.float32) / 255
    with torch.no_grad():
        pixels = torch.from_numpy(picture * 2 - 1).movedim(-1, 0)[None]
        latents = (vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor)[0].numpy()
    seen = np.tensordot(matrix[:, :-1], latents, 1) + matrix[:, -1:, None]
    wanted = picture.reshape(16, 8, 16, 8, 3).mean((1, 3)).transpose(2, 0, 1)
    error = np.sqrt(np.mean((seen - wanted) ** 2))
    assert error < 0.4 * wanted.std()  # 0.18 of it when this was written
