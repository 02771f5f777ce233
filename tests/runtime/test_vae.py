from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.noise import Generator
from runtime.vae import VaeDecoder, VaeEncoder


@pytest.fixture(scope="module")
def vae(tiny_base: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(tiny_base / "vae", torch_dtype=torch.float32)


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
        deviation = vae.encode(sample).latent_dist.std * vae.config.scaling_factor
    found = VaeEncoder(bundle).encode(pixels)
    assert found.shape == (1, 4, 4, 8)
    assert np.abs(found - expected.numpy()).max() <= 1e-5 * expected.abs().max()
    posterior = VaeEncoder(bundle).posterior(pixels)
    assert posterior.shape == (1, 8, 4, 8)
    assert (posterior[:, :4] == found).all()
    assert np.abs(posterior[:, 4:] - deviation.numpy()).max() <= 1e-5 * deviation.max()


def test_pictures_that_are_no_whole_latents_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BrushletError, match=r"30x32 .* multiples of 8"):
        VaeEncoder(bundle).encode(np.zeros((1, 32, 30, 3), np.uint8))


def test_latents_are_drawn_from_the_posterior_as_diffusers_does(
    bundle: Bundle, vae: AutoencoderKL
) -> None:
    sample = np.random.default_rng(2).uniform(-1, 1, (1, 3, 32, 64)).astype(np.float32)
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(sample)).latent_dist
    expected = posterior.sample(torch.Generator().manual_seed(5)) * vae.config.scaling_factor
    found = VaeEncoder(bundle).sample(sample, Generator(5))
    assert np.abs(found - expected.numpy()).max() <= 1e-5 * expected.abs().max()


def test_a_taesd_has_no_posterior_and_no_scale(lcm_bundle: Path, lcm_base: Path) -> None:
    bundle = Bundle.open(lcm_bundle)
    vae = AutoencoderTiny.from_pretrained(lcm_base / "vae", torch_dtype=torch.float32)
    assert bundle.manifest.model.vae_scaling_factor == 1
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    sample = VaeImageProcessor().preprocess(Image.fromarray(pixels[0]))
    with torch.no_grad():
        latents = vae.encode(sample).latents
        decoded = VaeImageProcessor().postprocess(vae.decode(latents).sample)
    found = VaeEncoder(bundle).encode(pixels)
    assert found.shape == (1, 4, 4, 8)
    assert np.abs(found - latents.numpy()).max() <= 1e-5 * latents.abs().max()
    assert (VaeEncoder(bundle).sample(sample.numpy(), Generator(0)) == found).all()
    difference = np.abs(VaeDecoder(bundle).decode(found)[0].astype(int) - np.asarray(decoded[0]))
    assert difference.max() <= 1
