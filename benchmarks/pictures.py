"""Whole pictures, from words to pixels: what makes them quicker in the browser, and its price.

Each way is measured in Chromium beside PyTorch eager with the plain setting, and its pictures are
held against that setting's own: PSNR, the mean over `PROMPTS`.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from benchmarks.timing import Ratio, ratio, rounds
from runtime.bundle import Bundle
from runtime.pipeline import Pipeline
from tests.browser import run_jobs
from tests.parity.reference import SCHEDULERS, psnr

PROMPTS = (
    "a castle, clouds, green hills, day",
    "a sailboat, sea, sunset",
    "a house, snow, night, stars",
    "a lighthouse, sea, day, clouds",
)
GUIDANCE, SEED, THREADS = 4.0, 1, 2
ROUNDS = 3  # each starts a Chromium
PLAIN: dict[str, Any] = {"sampler": "ddim", "steps": 25}
GUIDED_PART: dict[str, Any] = {"guidance_range": (0.0, 0.8)}
CACHE: dict[str, Any] = {"cache_interval": 2}
FEW_STEPS: dict[str, Any] = {"sampler": "dpmpp_2m_karras", "steps": 12}
WAYS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "guidance in 0:0.8": PLAIN | GUIDED_PART,
    "cache interval 2": PLAIN | CACHE,
    "DPM++ 2M, 12 steps": FEW_STEPS,
    "DPM++ 2M, 12 steps, cache 2": FEW_STEPS | CACHE,
    "all of these": FEW_STEPS | CACHE | GUIDED_PART,
}
FASTEST, LIMIT = "all of these", 1.0
NAMES = {"guidance_range": "guidanceRange", "cache_interval": "cacheInterval"}


def pictures(base: Path, bundle: Bundle) -> Iterator[Ratio]:
    """Every way against PyTorch eager.

    Args:
        base: the pipeline, for PyTorch.
        bundle: its export.
    """
    torch.set_num_threads(THREADS)
    kept = {name: _kept(bundle, settings) for name, settings in WAYS.items()}
    eager = _eager(base)
    taken: dict[str, list[float]] = {"PyTorch eager": [], **{name: [] for name in WAYS}}
    for _ in range(ROUNDS):
        taken["PyTorch eager"] += rounds({"it": lambda: eager(PROMPTS[0])}, 1, runs=2)["it"]
        for name, seconds in _in_chromium(bundle).items():
            taken[name].append(seconds)
    for name in WAYS:
        shown = f"{name}" if name == "plain" else f"{name}: {kept[name]:.0f} dB"
        named = {shown: taken[name], "PyTorch eager": taken["PyTorch eager"]}
        yield ratio(named, shown, "PyTorch eager", LIMIT if name == FASTEST else None)


def _eager(base: Path) -> Any:
    pipeline = StableDiffusionPipeline.from_pretrained(
        base, torch_dtype=torch.float32, safety_checker=None
    )
    kind, options = SCHEDULERS[PLAIN["sampler"]]
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **options)
    pipeline.set_progress_bar_config(disable=True)
    steps, guidance = PLAIN["steps"], GUIDANCE
    return lambda prompt: pipeline(
        prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(SEED),
        output_type="np",
    )


def _kept(bundle: Bundle, settings: dict[str, Any]) -> float:
    """How near its pictures are to the plain ones, in dB; the browser's are the runtime's."""
    pipeline = Pipeline(bundle)
    found = []
    for prompt in PROMPTS:
        plain, other = (
            pipeline.generate(prompt, seed=SEED, guidance_scale=GUIDANCE, **way).pixels / 255.0
            for way in (PLAIN, settings)
        )
        found.append(min(psnr(other, plain), 99.0))
    return statistics.fmean(found)


def _in_chromium(bundle: Bundle) -> dict[str, float]:
    """Seconds of words, denoising and pixels together, each once more after a first time."""
    manifest = bundle.manifest
    side = manifest.model.sample_size
    providers = [{"provider": "wasm", "threads": THREADS}]
    words = {"prompt": PROMPTS[0], "negativePrompt": "", "styles": []}
    states = Pipeline(bundle).text_encoder.encode(["", PROMPTS[0]])
    latents = np.zeros((1, manifest.model.latent_channels, side, side), np.float32)
    common = {"providers": providers, "inputs": "in.safetensors"}
    jobs: list[dict[str, Any]] = []
    for number in range(2):  # the first opens sessions, and WebAssembly warms up
        jobs.append(common | {"kind": "text", "id": f"text {number}", "request": words})
        jobs.append(common | {"kind": "decode", "id": f"decode {number}"})
        for name, settings in WAYS.items():
            asked = {NAMES.get(key, key): value for key, value in settings.items()}
            asked |= {"styles": [], "seed": SEED, "guidanceScale": GUIDANCE}
            asked |= {"height": side, "width": side}
            jobs.append(common | {"kind": "denoise", "id": f"{name} {number}", "request": asked})
    inputs = {
        "prompt_embeds": states[1:],
        "negative_prompt_embeds": states[:1],
        "latents": latents,
    }
    results = run_jobs(bundle.folder, jobs, {"in.safetensors": inputs})
    around = sum(results[f"{kind} 1"][0]["milliseconds"] for kind in ("text", "decode"))
    return {name: (around + results[f"{name} 1"][0]["milliseconds"]) / 1000 for name in WAYS}
