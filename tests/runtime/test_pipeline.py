from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline

from runtime.bundle import Bundle
from runtime.errors import BrushletError, Cancelled
from runtime.pipeline import Pipeline
from runtime.styles import Strengths
from tests.parity.reference import Reference, psnr, relative_error

PROMPT = "a castle, clouds"


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


@pytest.mark.parametrize("guidance_scale", [8.5, 1.0, 3.3])
def test_an_lcm_is_told_the_guidance(
    guidance_scale: float, lcm_base: Path, lcm_bundle: Path
) -> None:
    """With a TAESD as its VAE; a scale above 1 costs no second half of a batch."""
    reference = LatentConsistencyModelPipeline.from_pretrained(
        lcm_base, torch_dtype=torch.float32, safety_checker=None
    )
    reference.set_progress_bar_config(disable=True)
    asked = {"prompt": PROMPT, "guidance_scale": guidance_scale}

    def drawn(output_type: str) -> np.ndarray:
        generator = torch.Generator().manual_seed(11)
        return reference(
            **asked, num_inference_steps=4, generator=generator, output_type=output_type
        ).images

    found = Pipeline(Bundle.open(lcm_bundle)).generate(**asked, negative_prompt="dark", seed=11)
    assert relative_error(found.latents, drawn("latent").numpy()) <= 1e-5
    assert psnr(found.pixels / 255, np.round(drawn("np")[0] * 255) / 255) >= 60


def test_a_style_on_an_lcm_is_the_same_merged_and_external(lcm_bundle: Path) -> None:
    pipeline = Pipeline(Bundle.open(lcm_bundle))
    merged = pipeline.generate(PROMPT, styles={"wiggle-merged": 1.0})
    external = pipeline.generate(PROMPT, styles={"wiggle": 1.0})
    assert psnr(merged.pixels / 255, external.pixels / 255) >= 60
    assert (external.pixels != pipeline.generate(PROMPT).pixels).any()


def test_the_base_says_where_to_start(lcm_bundle: Path) -> None:
    bundle = Bundle.open(lcm_bundle)
    hints = bundle.manifest.hints
    assert (hints.sampler, hints.guidance_scale) == ("lcm", 8.5)
    advised = hints.model_copy(update={"steps": 2})
    manifest = bundle.manifest.model_copy(update={"hints": advised})
    pipeline = Pipeline(Bundle(bundle.folder, manifest))
    steps: list[int] = []
    found = pipeline.generate(PROMPT, on_step=lambda done, _total, _latents: steps.append(done))
    assert steps == [1, 2]
    chosen = pipeline.generate(PROMPT, steps=2, guidance_scale=8.5, sampler="lcm")
    assert (found.pixels == chosen.pixels).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("unet", "te"), [(0.8, 0.8), (0.7, -0.4), (0.0, 1.0)])
def test_unet_and_text_encoder_have_strengths_of_their_own(
    unet: float, te: float, text_bundle: Path, tiny_base: Path, text_loras: dict[str, Path]
) -> None:
    settings = {"seed": 3, "steps": 4, "sampler": "ddim", "guidance_scale": 4.0}
    theirs = Reference(tiny_base)
    path = text_loras["accent"]
    theirs.pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="accent")
    theirs.pipeline.set_adapters("accent", {"unet": unet, "text_encoder": te})
    latents, _ = theirs.picture(PROMPT, negative_prompt="dark", strengths={}, **settings)
    ours = Pipeline(Bundle.open(text_bundle))
    found = ours.generate(
        PROMPT, negative_prompt="dark", styles={"accent": Strengths(unet=unet, te=te)}, **settings
    )
    assert relative_error(found.latents, latents) <= 1e-5


def test_clip_skip_is_that_of_diffusers(pipeline: Pipeline, reference: Reference) -> None:
    """Unguided, because diffusers leaves the negative prompt's layers in."""
    settings = {"seed": 11, "steps": 4, "guidance_scale": 1.0, "sampler": "ddim"}
    latents, _ = reference.picture(PROMPT, strengths={}, clip_skip=1, **settings)
    found = pipeline.generate(PROMPT, clip_skip=1, **settings)
    assert relative_error(found.latents, latents) <= 1e-5
    assert relative_error(pipeline.generate(PROMPT, **settings).latents, latents) > 1e-3


def test_tags_are_styles(text_bundle: Path) -> None:
    pipeline = Pipeline(Bundle.open(text_bundle))
    tagged = pipeline.generate(
        f"{PROMPT}<lora:accent:0.2:0.5>", styles={"accent": 0.3, "wobble": 1}, steps=2
    )
    styles = {"accent": Strengths(unet=0.8, te=0.5), "wobble": 1}
    chosen = pipeline.generate(PROMPT, styles=styles, steps=2)
    assert (tagged.pixels == chosen.pixels).all()
    with pytest.raises(BrushletError, match="no style 'nobody'"):
        pipeline.generate("<lora:nobody:1>")
    with pytest.raises(BrushletError, match="the words hold the style tag <lora:accent:1>"):
        pipeline.generate("x", negative_prompt="<lora:accent:1>")


def test_a_long_prompt_draws(pipeline: Pipeline) -> None:
    long = pipeline.generate(f"{PROMPT}, " * 20, negative_prompt="dark", steps=2)
    cut = pipeline.generate(f"{PROMPT}, " * 4, negative_prompt="dark", steps=2)
    assert (long.pixels != cut.pixels).any()


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
    picture = pipeline.generate(PROMPT, steps=1, size=(104, 72))
    assert picture.image.size == (104, 72)
    assert picture.latents.shape == (1, 4, 9, 13)


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
