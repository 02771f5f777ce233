from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.errors import BrushletError, Cancelled
from runtime.pipeline import Pipeline
from tests.parity.reference import Reference, psnr, relative_error

PROMPT = "a castle, clouds"


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> Pipeline:
    return Pipeline(Bundle.open(tiny_bundle))


@pytest.fixture(scope="module")
def reference(tiny_base: Path, tiny_loras: dict[str, Path]) -> Reference:
    return Reference(tiny_base, tiny_loras)


@pytest.mark.parametrize(
    ("sampler", "guidance_scale", "styles"),
    [
        ("ddim", 4.0, {"wiggle": 0.8}),
        ("euler_ancestral", 7.5, {}),
        ("dpmpp_2m_karras", 1.0, {"wiggle": 0.5, "wobble": 1.0}),
        ("lcm", 1.5, {"wobble": 0.7}),
    ],
    ids=str,
)
def test_the_picture_is_that_of_diffusers(
    sampler: str,
    guidance_scale: float,
    styles: dict[str, float],
    pipeline: Pipeline,
    reference: Reference,
) -> None:
    settings = {"negative_prompt": "dark", "seed": 11, "steps": 8, "sampler": sampler}
    settings |= {"guidance_scale": guidance_scale}
    latents, pixels = reference.picture(PROMPT, strengths=styles, **settings)
    found = pipeline.generate(PROMPT, styles=styles, **settings)
    assert relative_error(found.latents, latents) <= 1e-5  # measured 2e-7 to 2e-6
    difference = np.abs(found.pixels - np.round(pixels * 255))
    assert difference.max() <= 1  # a value may lie on either side of a rounding edge
    assert (difference > 0).mean() <= 1e-3  # measured 2e-4 at most


def test_a_merged_style_draws_as_the_external_one(pipeline: Pipeline) -> None:
    merged = pipeline.generate(PROMPT, styles={"wiggle-merged": 0.8}, steps=5)
    external = pipeline.generate(PROMPT, styles={"wiggle": 0.8}, steps=5)
    base = pipeline.generate(PROMPT, steps=5)
    assert psnr(merged.pixels / 255, external.pixels / 255) >= 60  # measured 73 dB
    assert relative_error(base.latents, external.latents) > 1e-2


@pytest.mark.parametrize("style", ["wiggle", "wiggle-merged"])
def test_strength_zero_is_the_base(style: str, pipeline: Pipeline) -> None:
    base = pipeline.generate(PROMPT, steps=3)
    off = pipeline.generate(PROMPT, steps=3, styles={style: 0})
    assert (off.pixels == base.pixels).all()


def test_sizes_are_width_and_height(pipeline: Pipeline) -> None:
    picture = pipeline.generate(PROMPT, steps=1, size=(96, 64))
    assert picture.image.size == (96, 64)
    assert picture.latents.shape == (1, 4, 8, 12)


def test_steps_are_reported(pipeline: Pipeline) -> None:
    seen: list[tuple[int, int]] = []
    pipeline.generate(PROMPT, steps=4, on_step=lambda done, total, _: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_cancelling_stops_before_the_next_step(pipeline: Pipeline) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        pipeline.generate(
            PROMPT,
            steps=9,
            on_step=lambda done, _total, _latents: seen.append(done),
            cancelled=lambda: len(seen) == 2,
        )
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"styles": {"nobody": 1}}, "no style 'nobody'.*choose one of: wiggle, wobble"),
        ({"styles": {"wiggle-merged": 0.5}}, "merged at the strength 0.8.*alone at 0.8 or 0"),
        ({"styles": {"wiggle-merged": 0.8, "wobble": 1}}, "merged at the strength 0.8"),
        ({"sampler": "plms"}, "no sampler 'plms'.*choose one of ddim"),
        ({"steps": 51}, "no table of 51 steps.*from 1 to 50"),
        ({"size": (100, 64)}, "100x64 pixels.*multiples of 8"),
        ({"size": (-8, 64)}, "-8x64 pixels"),
        ({"seed": 2**64}, "64 bits"),
    ],
    ids=str,
)
def test_what_the_bundle_cannot_do_is_told(
    change: dict[str, object], words: str, pipeline: Pipeline
) -> None:
    with pytest.raises(BrushletError, match=words):
        pipeline.generate(PROMPT, **({"steps": 1} | change))


def test_the_same_seed_is_the_same_picture(pipeline: Pipeline) -> None:
    pictures = [pipeline.generate(PROMPT, steps=2, seed=seed).pixels for seed in (5, 5, 6)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
