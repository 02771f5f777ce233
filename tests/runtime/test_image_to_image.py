from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.pipeline import Pipeline
from tests.parity.reference import SCHEDULERS, Reference, psnr, relative_error

PROMPT = "a castle, clouds"
SIZE = (104, 72)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """Of the picture's size: diffusers draws in the size that it is given."""
    noise = np.random.default_rng(1).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    return Image.fromarray(noise)


def drawn(theirs: Any, image: Image.Image, output_type: str, **settings: Any) -> np.ndarray:
    generator = torch.Generator().manual_seed(11)
    asked = {"prompt": PROMPT, "image": image, **settings}
    return np.asarray(theirs(**asked, generator=generator, output_type=output_type).images)


@pytest.mark.filterwarnings("ignore")  # schedulers warn that few steps lower their order
@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("sampler", SCHEDULERS)
def test_the_picture_is_that_of_diffusers(
    sampler: str, strength: float, pipeline: Pipeline, reference: Reference, image: Image.Image
) -> None:
    reference.style({"wiggle": 0.7})
    theirs = StableDiffusionImg2ImgPipeline(
        **reference.pipeline.components, requires_safety_checker=False
    )
    theirs.set_progress_bar_config(disable=True)
    kind, options = SCHEDULERS[sampler]
    theirs.scheduler = kind.from_config(reference.scheduler_config, **options)
    asked = {"negative_prompt": "dark", "guidance_scale": 4.0}
    settings = asked | {"strength": strength, "num_inference_steps": 7}
    found = pipeline.generate(
        PROMPT,
        **asked,
        styles={"wiggle": 0.7},
        image=image,
        image_strength=strength,
        size=SIZE,
        steps=7,
        seed=11,
        sampler=sampler,
    )
    latents = drawn(theirs, image, "latent", **settings)
    pixels = drawn(theirs, image, "np", **settings)[0]
    assert relative_error(found.latents, latents) <= 1e-5
    assert psnr(found.pixels / 255, np.round(pixels * 255) / 255) >= 60


def test_an_lcm_with_a_taesd_draws_over_a_picture(
    lcm_base: Path, lcm_bundle: Path, image: Image.Image
) -> None:
    """A TAESD has no posterior to draw from; the guidance is told."""
    theirs = StableDiffusionImg2ImgPipeline.from_pretrained(
        lcm_base, torch_dtype=torch.float32, safety_checker=None
    )
    theirs.set_progress_bar_config(disable=True)
    latents = drawn(
        theirs, image, "latent", strength=0.5, num_inference_steps=4, guidance_scale=8.5
    )
    found = Pipeline(Bundle.open(lcm_bundle)).generate(
        PROMPT, image=image, image_strength=0.5, steps=4, seed=11, size=SIZE, guidance_scale=8.5
    )
    assert relative_error(found.latents, latents) <= 1e-5


def test_only_the_steps_that_are_run_are_reported(pipeline: Pipeline, image: Image.Image) -> None:
    seen: list[tuple[int, int]] = []
    asked = {"image": image, "image_strength": 0.3, "steps": 10}
    pipeline.generate(PROMPT, **asked, on_step=lambda done, total, _: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_picture_is_cut_to_the_size_and_laid_on_white(pipeline: Pipeline) -> None:
    wide = Image.new("RGBA", (400, 100), (0, 0, 0, 0))
    wide.paste((255, 0, 0, 255), (0, 0, 100, 100))  # outside the middle, which is kept
    asked = {"image_strength": 0.3, "steps": 4, "size": (64, 64)}
    cut = pipeline.generate(PROMPT, image=wide, **asked)
    white = pipeline.generate(PROMPT, image=Image.new("RGB", (64, 64), "white"), **asked)
    assert cut.image.size == (64, 64)
    assert (cut.pixels == white.pixels).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_strength": 0.05}, "leaves none of 8 steps.*raise the strength or the steps"),
        ({"image_strength": 0.0}, "with the strength 0.0 - choose one above 0"),
        ({"image_strength": 1.5}, "with the strength 1.5"),
        ({"image": None, "image_strength": 0.5}, "strength belongs to a picture"),
        ({"mask": Image.new("L", (8, 8))}, "tiny is no inpainting model - leave the mask out"),
    ],
)
def test_what_cannot_be_done_is_told(
    change: dict[str, Any], words: str, pipeline: Pipeline, image: Image.Image
) -> None:
    with pytest.raises(BrushletError, match=words):
        pipeline.generate(PROMPT, **({"steps": 8, "image": image} | change))
