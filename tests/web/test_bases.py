"""Kinds of base models in a real Chromium: what is particular of each is data of its bundle."""

from pathlib import Path

import pytest

from runtime.bundle import Bundle
from runtime.pipeline import Pipeline
from tests.browser import BrowserError, Job, Tensors, run_jobs
from tests.parity.reference import relative_error

PROMPT = "a castle, clouds"


def drawing(pipeline: Pipeline, guidance_scale: float) -> tuple[Job, Tensors]:
    """A job that draws `PROMPT` in the worker, and its inputs."""
    states = pipeline.text_encoder.encode(["", PROMPT])
    size = pipeline.bundle.manifest.model.sample_size
    request = {"styles": [], "seed": 5, "steps": 4, "sampler": "lcm"}
    request |= {"guidanceScale": guidance_scale, "height": size, "width": size}
    job = {"kind": "denoise", "id": str(guidance_scale), "inputs": "prompt.safetensors"}
    inputs = {"prompt_embeds": states[1:], "negative_prompt_embeds": states[:1]}
    return job | {"request": request, "providers": [{"provider": "wasm", "threads": 1}]}, inputs


def test_an_lcm_is_told_the_guidance(lcm_bundle: Path) -> None:
    pipeline = Pipeline(Bundle.open(lcm_bundle))
    jobs = [drawing(pipeline, scale) for scale in (8.5, 1.0)]
    results = run_jobs(lcm_bundle, [job for job, _ in jobs], {"prompt.safetensors": jobs[0][1]})
    for scale in (8.5, 1.0):
        expected = pipeline.generate(
            PROMPT, seed=5, steps=4, sampler="lcm", guidance_scale=scale
        ).latents
        assert relative_error(results[str(scale)][1]["latents"], expected) <= 1e-5


def test_an_inpainting_base_is_refused_in_words(inpainting_bundle: Path) -> None:
    job, inputs = drawing(Pipeline(Bundle.open(inpainting_bundle)), 4.0)
    with pytest.raises(BrowserError, match="is an inpainting model"):
        run_jobs(inpainting_bundle, [job], {"prompt.safetensors": inputs})
