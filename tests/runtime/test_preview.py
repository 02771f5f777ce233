import numpy as np
import pytest

from runtime.manifest import Model
from runtime.preview import preview


@pytest.fixture
def model() -> Model:
    return Model(
        sample_size=8,
        latent_channels=2,
        in_channels=2,
        vae_scale=8,
        vae_scaling_factor=0.18215,
        prediction_type="epsilon",
        cross_attention_dim=32,
        num_train_timesteps=1000,
        latent_rgb=[[1, 0, 0], [0, 0.5, 0.25], [0, 0, 1]],
    )


def test_each_colour_is_its_row_of_the_matrix(model: Model) -> None:
    latents = np.zeros((1, 2, 3, 5), np.float32)
    latents[0, :, 1, 4] = [0.2, 1]
    pixels = preview(latents, model)
    assert pixels.shape == (1, 3, 5, 3)
    assert pixels[0, 1, 4].tolist() == [51, 191, 255]
    assert pixels[0, 0, 0].tolist() == [0, 64, 255]


def test_colours_out_of_range_are_cut(model: Model) -> None:
    pixels = preview(np.full((1, 2, 1, 1), -9, np.float32), model)
    assert pixels[0, 0, 0].tolist() == [0, 0, 255]
