from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image, ImageDraw

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.pipeline import Pipeline
from tests.parity.reference import SCHEDULERS, psnr, relative_error

PROMPT = "a castle, clouds"


@pytest.fixture(scope="module")
def pipeline(inpainting_bundle: Path) -> Pipeline:
    return Pipeline(Bundle.open(inpainting_bundle))


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """Larger than what is drawn, and of another shape."""
    noise = np.random.default_rng(1).integers(0, 255, (150, 130, 3), np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="module")
def mask() -> Image.Image:
    """An ellipse with a soft edge once it is scaled."""
    mask = Image.new("L", (200, 170))
    ImageDraw.Draw(mask).ellipse((30, 40, 150, 120), fill=255)
    return mask


@pytest.mark.parametrize(
    ("sampler", "guidance_scale"), [("ddim", 4.0), ("euler_ancestral", 7.5), ("unipc", 1.0)]
)
def test_the_picture_is_that_of_diffusers(
    sampler: str,
    guidance_scale: float,
    pipeline: Pipeline,
    inpainting_base: Path,
    image: Image.Image,
    mask: Image.Image,
) -> None:
    reference = StableDiffusionInpaintPipeline.from_pretrained(
        inpainting_base, torch_dtype=torch.float32, safety_checker=None
    )
    kind, options = SCHEDULERS[sampler]
    reference.scheduler = kind.from_config(reference.scheduler.config, **options)
    reference.set_progress_bar_config(disable=True)
    asked = {"prompt": PROMPT, "negative_prompt": "dark", "guidance_scale": guidance_scale}

    def drawn(output_type: str) -> np.ndarray:
        return reference(
            **asked,
            image=image,
            mask_image=mask,
            width=104,
            height=72,
            strength=1.0,
            num_inference_steps=6,
            generator=torch.Generator().manual_seed(11),
            output_type=output_type,
        ).images

    found = pipeline.generate(
        **asked, image=image, mask=mask, size=(104, 72), steps=6, seed=11, sampler=sampler
    )
    assert found.latents.shape == (1, 4, 9, 13)
    assert relative_error(found.latents, drawn("latent").numpy()) <= 1e-5
    assert psnr(found.pixels / 255, np.round(drawn("np")[0] * 255) / 255) >= 60


def test_what_is_hidden_is_not_seen_and_the_rest_is(
    pipeline: Pipeline, image: Image.Image, mask: Image.Image
) -> None:
    def draw(picture: Image.Image) -> np.ndarray:
        return pipeline.generate(PROMPT, image=picture, mask=mask, steps=1).pixels

    inside, outside = Image.new("RGB", image.size), Image.new("RGB", image.size)
    inside.paste(image)
    outside.paste(image)
    centre = (image.width * 90 // 200, image.height * 80 // 170)
    inside.putpixel(centre, (255, 0, 255))
    ImageDraw.Draw(outside).rectangle((0, 0, 20, 20), fill=(255, 0, 255))
    assert (draw(inside) == draw(image)).all()
    assert (draw(outside) != draw(image)).any()


def test_an_inpainting_base_needs_picture_and_mask(
    pipeline: Pipeline, image: Image.Image, mask: Image.Image
) -> None:
    for given in ({}, {"image": image}, {"mask": mask}):
        with pytest.raises(BrushletError, match=r"is an inpainting model.*a picture and a mask"):
            pipeline.generate(PROMPT, steps=1, **given)


def test_another_base_takes_no_mask(
    tiny_bundle: Path, image: Image.Image, mask: Image.Image
) -> None:
    with pytest.raises(BrushletError, match=r"tiny is no inpainting model.*leave the mask out"):
        Pipeline(Bundle.open(tiny_bundle)).generate(PROMPT, steps=1, image=image, mask=mask)


def test_it_has_no_image_strength(
    pipeline: Pipeline, image: Image.Image, mask: Image.Image
) -> None:
    with pytest.raises(BrushletError, match="an image strength belongs to a picture"):
        pipeline.generate(PROMPT, steps=1, image=image, mask=mask, image_strength=0.5)
