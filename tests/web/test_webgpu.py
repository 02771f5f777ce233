"""WebGPU in software (SwiftShader), on a model tiny enough to end: each provider is judged by its
golden vector, and one that computes wrongly is not used. Steps: tests/parity."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.pipeline import Pipeline
from tests.browser import run_jobs
from tests.parity.reference import relative_error


@pytest.fixture(scope="module")
def results(tiny_bundle: Path) -> dict[str, tuple[dict[str, Any], Any]]:
    """What the page would choose, and a run that is guided in part."""
    # Named ones are tried on software adapters too, in this order.
    wanted = [{"provider": name} for name in ("webgpu", "jsep", "wasm")]
    jobs: list[dict[str, Any]] = [{"kind": "load", "id": "chosen", "providers": wanted}]
    jobs.append({"kind": "load", "id": "by default"})
    states = Pipeline(Bundle.open(tiny_bundle)).text_encoder.encode(["dark", "a castle"])
    prompts = {"negative_prompt_embeds": states[:1], "prompt_embeds": states[1:]}
    request = {"styles": [{"name": "wiggle", "strength": 0.7}], "seed": 5, "height": 8, "width": 8}
    request |= {"steps": 3, "sampler": "ddim", "guidanceScale": 4.0, "guidanceRange": [0.34, 1]}
    partly = {"kind": "denoise", "id": "partly guided", "inputs": "prompts.safetensors"}
    jobs.append(partly | {"request": request, "providers": [{"provider": "jsep"}]})
    return run_jobs(tiny_bundle, jobs, {"prompts.safetensors": prompts}, webgpu=True)


def test_guidance_on_a_part_of_the_run(
    results: dict[str, tuple[dict[str, Any], Any]], tiny_bundle: Path
) -> None:
    """Its first step sees the prompt alone, whose keys and values are on the GPU."""
    expected = Pipeline(Bundle.open(tiny_bundle)).generate(
        "a castle",
        negative_prompt="dark",
        styles={"wiggle": 0.7},
        seed=5,
        steps=3,
        sampler="ddim",
        guidance_scale=4.0,
        guidance_range=(0.34, 1),
    )
    found = results["partly guided"][1]["latents"]
    assert relative_error(found, expected.latents) <= 1e-5


def test_the_provider_chosen_is_within_tolerance(
    results: dict[str, tuple[dict[str, Any], Any]],
) -> None:
    report = results["chosen"][0]["report"]
    assert np.isfinite(report["error"])
    assert report["error"] <= report["tolerance"]
    assert report["provider"] in {"webgpu", "jsep"}
    # The native provider's MultiHeadAttention is wrong there, and the golden vector sees it.
    reasons = [one["reason"] for one in report["refused"] if one["provider"] == "webgpu"]
    assert any("fused attention is" in reason and "from PyTorch" in reason for reason in reasons)


def test_a_software_gpu_is_not_chosen_by_itself(
    results: dict[str, tuple[dict[str, Any], Any]],
) -> None:
    report = results["by default"][0]["report"]
    assert report["provider"] == "wasm"
    assert any("software" in refusal["reason"] for refusal in report["refused"])
