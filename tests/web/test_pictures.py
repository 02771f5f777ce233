"""Pictures in, and pictures out, in a real Chromium: the VAE, image-to-image, other sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.bundle import Bundle
from runtime.pictures import fitted
from runtime.pipeline import Pipeline
from runtime.vae import VaeDecoder, VaeEncoder
from tests.browser import BrowserError, Job, Tensors, run_jobs
from tests.parity.reference import relative_error

PROMPT, NEGATIVE = "a castle, clouds", "dark"
SIZE = (96, 160)
STYLES = {"wiggle": 0.7, "wobble": -0.4}


@pytest.fixture(scope="module")
def image() -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    return Image.fromarray(noise)


def rgba(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA"), np.float32)


def posterior(bundle: Bundle, image: Image.Image) -> np.ndarray:
    """What `encode-image` answers, by onnxruntime and NumPy."""
    graph = bundle.session(bundle.manifest.vae_encoder.graph)
    (parameters,) = graph.run(["latent_parameters"], {"sample": fitted(image, image.size)})
    mean, log_variance = np.split(parameters, [bundle.manifest.model.latent_channels], axis=1)
    deviation = np.exp(0.5 * np.clip(log_variance, -30, 20))
    scale = bundle.manifest.model.vae_scaling_factor
    return np.concatenate([mean, deviation], axis=1) * np.float32(scale)


def asked(threads: int, **settings: Any) -> tuple[dict[str, Any], Job]:
    """The same picture for the runtime and for the worker."""
    sampler, steps, guided = settings["sampler"], settings["steps"], settings["guidance_range"]
    request = {
        "styles": [{"name": name, "strength": strength} for name, strength in STYLES.items()],
        "seed": 5,
        "steps": steps,
        "sampler": sampler,
        "guidanceScale": 4.0,
        "guidanceRange": guided,
        "width": SIZE[0] // 8,
        "height": SIZE[1] // 8,
    }
    ours = {"styles": STYLES, "seed": 5, "guidance_scale": 4.0, "negative_prompt": NEGATIVE}
    providers = [{"provider": "wasm", "threads": threads}]
    job = {"kind": "denoise", "inputs": "inputs.safetensors", "providers": providers}
    return ours | settings | {"size": SIZE}, job | {"request": request}


def test_the_browsers_picture_is_the_runtimes(tiny_bundle: Path, image: Image.Image) -> None:
    """Over a picture and from noise, 96x160, guided on a part of the run, decoded and encoded."""
    pipeline = Pipeline(Bundle.open(tiny_bundle))
    states = pipeline.text_encoder.encode([NEGATIVE, PROMPT])
    encoded = posterior(pipeline.bundle, image)
    settings = {"sampler": "unipc", "steps": 6, "guidance_range": (0.2, 0.8)}
    jobs: list[Job] = []
    expected: dict[str, np.ndarray] = {}
    for threads in (1, 2):
        ours, job = asked(threads, **settings)
        noise, over = f"noise {threads}", f"over {threads}"
        expected[noise] = pipeline.generate(PROMPT, **ours).latents
        short = f"short {threads}"
        expected[short] = pipeline.generate(PROMPT, **ours, cache_interval=2).latents
        assert relative_error(expected[short], expected[noise]) > 1e-4
        drawn = pipeline.generate(PROMPT, **ours, image=image, image_strength=0.6)
        expected[over] = drawn.latents
        common = {"providers": job["providers"], "inputs": "inputs.safetensors"}
        jobs += [
            job | {"id": noise},
            job | {"id": short, "request": job["request"] | {"cacheInterval": 2}},
            job | {"id": over, "imageStrength": 0.6},
            common | {"kind": "encode", "id": f"encode {threads}"},
            common | {"kind": "decode", "id": f"decode {threads}"},
        ]
    inputs: Tensors = {
        "negative_prompt_embeds": states[:1],
        "prompt_embeds": states[1:],
        "start": encoded,
        "rgba": rgba(image),
        "latents": expected["over 1"],
    }
    results = run_jobs(tiny_bundle, jobs, {"inputs.safetensors": inputs})
    for threads in (1, 2):
        for key, steps in {"noise": 6, "short": 6, "over": 3}.items():
            result, outputs = results[f"{key} {threads}"]
            error = relative_error(outputs["latents"], expected[f"{key} {threads}"])
            assert error <= 1e-5, key
            assert result["steps"] == steps
        found = results[f"encode {threads}"][1]["encoded"]
        assert relative_error(found, encoded) <= 1e-5
        pixels = results[f"decode {threads}"][1]["rgba"]
        assert pixels.shape == (SIZE[1], SIZE[0], 4)
        assert (pixels[..., 3] == 255).all()
        difference = np.abs(pixels[..., :3] - VaeDecoder(pipeline.bundle).decode(drawn.latents)[0])
        assert difference.max() <= 1  # a value may lie on either side of a rounding edge
        assert (difference > 0).mean() <= 1e-3


def test_a_cancelled_picture_ends_within_a_step(tiny_bundle: Path) -> None:
    """At 64x64 latents, where a step takes longer than a word takes to the worker and back."""
    states = Pipeline(Bundle.open(tiny_bundle)).text_encoder.encode([NEGATIVE, PROMPT])
    inputs = {"negative_prompt_embeds": states[:1], "prompt_embeds": states[1:]}
    _, job = asked(1, sampler="unipc", steps=20, guidance_range=(0, 1))
    job["request"] |= {"width": 64, "height": 64}
    jobs = [job | {"id": f"after {step}", "cancelAfterStep": step} for step in (1, 4)]
    ends = [job["id"] for job in jobs]
    results = run_jobs(tiny_bundle, jobs, {"inputs.safetensors": inputs}, problems=ends)
    for job in jobs:
        result, _ = results[job["id"]]
        assert not result["ok"]
        assert result["problem"]["code"] == "cancelled"
        assert result["steps"] in (job["cancelAfterStep"], job["cancelAfterStep"] + 1)


def test_a_taesd_in_the_browser(lcm_bundle: Path, image: Image.Image) -> None:
    bundle = Bundle.open(lcm_bundle)
    latents = VaeEncoder(bundle).encode(np.asarray(image)[None])
    inputs: Tensors = {"rgba": rgba(image), "latents": latents}
    job = {"inputs": "in.safetensors", "providers": [{"provider": "wasm", "threads": 1}]}
    jobs = [job | {"id": kind, "kind": kind} for kind in ("encode", "decode")]
    results = run_jobs(lcm_bundle, jobs, {"in.safetensors": inputs})
    assert results["encode"][1]["encoded"].shape == latents.shape
    assert relative_error(results["encode"][1]["encoded"], latents) <= 1e-5
    expected = VaeDecoder(bundle).decode(latents)[0].astype(int)
    assert np.abs(results["decode"][1]["rgba"][..., :3] - expected).max() <= 1


def test_what_cannot_be_encoded_is_told(tiny_bundle: Path) -> None:
    job = {"kind": "encode", "id": "odd", "inputs": "in.safetensors"}
    job |= {"providers": [{"provider": "wasm", "threads": 1}]}
    inputs: Tensors = {"rgba": np.zeros((32, 30, 4), np.float32)}
    with pytest.raises(BrowserError, match=r"30x32 is no whole number of latents.*multiples of 8"):
        run_jobs(tiny_bundle, [job], {"in.safetensors": inputs})
