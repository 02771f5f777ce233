from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.vae import VaeDecoder, VaeEncoder


@pytest.fixture(scope="module")
def vae(tiny_base: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(tiny_base / "vae", torch_dtype=torch.float32)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (2, 4, 4, 6)])
def test_pictures_are_those_of_diffusers(
    shape: tuple[int, ...], bundle: Bundle, vae: AutoencoderKL
) -> None:
    latents = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with torch.no_grad():
        sample = vae.decode(torch.from_numpy(latents) / vae.config.scaling_factor).sample
    expected = np.stack([np.asarray(image) for image in VaeImageProcessor().postprocess(sample)])
    found = VaeDecoder(bundle).decode(latents)
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1  # a value may lie on either side of a rounding edge
    assert (difference > 0).mean() <= 1e-3


def test_latents_are_those_of_diffusers(bundle: Bundle, vae: AutoencoderKL) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    sample = VaeImageProcessor().preprocess(Image.fromarray(pixels[0]))
    with torch.no_grad():
        expected = vae.encode(sample).latent_dist.mean * vae.config.scaling_factor
    found = VaeEncoder(bundle).encode(pixels)
    assert found.shape == (1, 4, 4, 8)
    assert np.abs(found - expected.numpy()).max() <= 1e-5 * expected.abs().max()


def test_pictures_that_are_no_whole_latents_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BrushletError, match=r"30x32 .* multiples of 8"):
        VaeEncoder(bundle).encode(np.zeros((1, 32, 30, 3), np.uint8))
