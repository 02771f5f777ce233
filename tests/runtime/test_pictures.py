import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from runtime.pictures import fitted, on_white


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(pixels.squeeze(), mode)


def test_of_the_right_size_it_is_what_diffusers_encodes() -> None:
    image = noise("RGB", (24, 16))
    expected: torch.Tensor = VaeImageProcessor().preprocess(image, height=16, width=24)
    found = fitted(image, (24, 16))
    assert found.dtype == np.float32
    assert found == pytest.approx(expected.numpy(), abs=1e-6)


def test_it_covers_the_size_and_is_cut_evenly() -> None:
    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, 20:40] = 255  # what is left when both sides are cut off
    assert (fitted(Image.fromarray(stripes), (20, 20))[..., 2:-2] > 0.9).all()
    tall = Image.fromarray(stripes.transpose(1, 0, 2))
    assert (fitted(tall, (8, 8))[:, :, 1:-1] > 0.9).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK"])
def test_any_kind_of_picture_becomes_rgb(mode: str) -> None:
    image = noise("RGBA", (8, 8)).convert("RGB").convert(mode)
    assert on_white(image).mode == "RGB"
    assert fitted(image, (8, 8)).shape == (1, 3, 8, 8)


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (1, 3))
    image.putdata([(255, 0, 0, 0), (255, 0, 0, 255), (0, 0, 0, 51)])
    assert list(on_white(image).get_flattened_data()) == [(255, 255, 255), (255, 0, 0), (204,) * 3]


def test_a_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    image = Image.new("P", (1, 1), 0)
    image.putpalette([10, 20, 30])
    image.info["transparency"] = 0
    assert on_white(image).getpixel((0, 0)) == (255, 255, 255)
