"""The denoising loop on WebGPU (SwiftShader, the tiny model): what is read back, what is rewritten,
and what happens when the GPU is taken away."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import Bundle
from tests.browser import run_jobs
from tests.parity.reference import relative_error

STEPS = 3
GPUS = ("webgpu", "jsep")

Results = dict[str, tuple[dict[str, Any], Any]]


def _denoise(name: str, strength: float, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "denoise",
        "id": name,
        "inputs": "embeds.safetensors",
        "request": {
            "styles": [{"name": "wiggle", "strength": strength}],
            "seed": 3,
            "steps": STEPS,
            "guidanceScale": 4,
            "sampler": "dpmpp_2m_karras",
            "height": 8,
            "width": 8,
        },
        **changes,
    }


@pytest.fixture(scope="module")
def results(tiny_bundle: Path) -> Results:
    """Pictures on each provider: with previews, without, and one whose GPU is lost."""
    random = np.random.default_rng(0)
    shape = (1, 77, Bundle.open(tiny_bundle).manifest.model.cross_attention_dim)
    embeds = {
        name: random.normal(size=shape).astype(np.float32)
        for name in ("prompt_embeds", "negative_prompt_embeds")
    }
    wasm = {"provider": "wasm", "threads": 1}
    jobs = [_denoise(f"wasm {strength}", strength, providers=[wasm]) for strength in (0.8, 0.3)]
    for gpu in GPUS:
        watched = {"providers": [{"provider": gpu}, wasm], "watch": {}}
        jobs.append(_denoise(f"{gpu} preview", 0.8, **watched))
        jobs.append(_denoise(f"{gpu} moved", 0.3, **watched, preview=False))
        if gpu == "jsep":
            jobs += [_denoise("huge", 1e36, **watched), _denoise("after", 0.3, **watched)]
        lose = watched | {"watch": {"destroyAfterStep": 2}}
        jobs.append(_denoise(f"{gpu} lost", 0.8, **lose))
    return run_jobs(
        tiny_bundle, jobs, {"embeds.safetensors": embeds}, webgpu=True, problems=["huge"]
    )


def _events(results: Results, name: str, kind: str) -> list[Any]:
    return [event for event in results[name][0]["gpu"] if event["kind"] == kind]


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize(("run", "strength"), [("preview", 0.8), ("moved", 0.3)])
def test_the_picture_is_that_of_wasm(gpu: str, run: str, strength: float, results: Results) -> None:
    result, tensors = results[f"{gpu} {run}"]
    assert result["report"]["provider"] == gpu
    expected = results[f"wasm {strength}"][1]["latents"]
    assert relative_error(tensors["latents"], expected) <= 1e-5


@pytest.mark.parametrize("gpu", GPUS)
def test_nothing_is_read_between_steps_but_the_preview(gpu: str, results: Results) -> None:
    """`read`: a mapping for reading, which is the only way from the GPU."""
    order = [event["kind"] for event in results[f"{gpu} moved"][0]["gpu"]]
    order = [kind for kind in order if kind in {"read", "step"}]
    assert order == ["step"] * STEPS + ["read"]
    order = [event["kind"] for event in results[f"{gpu} preview"][0]["gpu"]]
    first = order.index("step") - 1  # opening the bundle has read the golden step
    order = [kind for kind in order[first:] if kind in {"read", "step"}]
    assert order == ["read", "step"] * STEPS + ["read"]


@pytest.mark.parametrize("gpu", GPUS)
def test_a_moved_slider_rewrites_the_lora_in_place(gpu: str, results: Results) -> None:
    """Our buffers have labels. The first picture writes A and B, the moved one B alone."""
    first = {event["label"] for event in _events(results, f"{gpu} preview", "write")}
    halves = [{label for label in first if half in label} for half in (".lora_A", ".lora_B")]
    assert len(halves[0]) == len(halves[1]) > 0
    assert not [event for event in _events(results, f"{gpu} moved", "create") if event["label"]]
    written = {event["label"] for event in _events(results, f"{gpu} moved", "write")}
    assert {label for label in written if ".lora_" in label} == halves[1]


@pytest.mark.parametrize("gpu", GPUS)
def test_a_lost_gpu_ends_in_the_same_picture(gpu: str, results: Results) -> None:
    result, tensors = results[f"{gpu} lost"]
    [notice] = result["notices"]
    assert notice["kind"] == "lost"
    assert (notice["from"]["provider"], notice["to"]["provider"]) == (gpu, "wasm")
    assert result["report"]["provider"] == "wasm"
    np.testing.assert_array_equal(tensors["latents"], results["wasm 0.8"][1]["latents"])


def test_numbers_that_no_provider_can_hold_are_the_requests_problem(results: Results) -> None:
    """The GPU hands over to WASM, which has them too; the next picture is the GPU's again."""
    assert results["huge"][0]["problem"]["code"] == "numbers"
    assert results["after"][0]["report"]["provider"] == "jsep"
    assert not results["after"][0]["report"]["refused"][1:]  # what was before: no 16-bit shaders
