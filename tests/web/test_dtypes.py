"""Bundles stored in other forms than fp16 in a real Chromium."""

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.golden import reference_step
from exporter.pipeline import load_unet
from runtime.bundle import Bundle
from runtime.golden import golden_feeds
from runtime.manifest import Dtype
from runtime.packs import stack
from tests.browser import Job, run_jobs
from tests.exporter.test_unet import step_inputs
from tests.parity.reference import relative_error


@pytest.mark.parametrize("dtype", ["q8", "q4", "fp32"])
def test_a_wasm_step_is_pytorchs_on_the_stored_weights(
    dtype: Dtype, stored_bundle: Callable[[Dtype], Path], tiny_base: Path
) -> None:
    folder = stored_bundle(dtype)
    bundle = Bundle.open(folder)
    feeds = step_inputs(2, 8, 8, 77, 501.0)
    lora = stack([(bundle.style_pack("wiggle"), 0.7)], bundle.slot_table())
    golden, expected_golden = golden_feeds(bundle, bundle.manifest.variant("wiggle-merged"))
    inputs = {"feeds.safetensors": feeds, "golden.safetensors": golden}
    step = {"kind": "step", "provider": "wasm", "compute": "fp32"}
    wiggle = {"inputs": "feeds.safetensors", "styles": [{"name": "wiggle", "strength": 0.7}]}
    merged = {"inputs": "golden.safetensors", "variant": "wiggle-merged"}
    jobs: list[Job] = [
        step | {"id": f"{what} {attention} {threads}", "attention": attention, "threads": threads}
        | job
        for what, job in (("external", wiggle), ("merged", merged))
        for attention in ("fused", "plain")
        for threads in (1, 2)
    ]  # fmt: skip
    expected = {
        "external": reference_step(load_unet(tiny_base, dtype), feeds, lora),
        "merged": expected_golden,
    }
    for key, (_, outputs) in run_jobs(folder, jobs, inputs).items():
        error = relative_error(outputs["out_sample"], expected[key.split()[0]])
        assert error <= 1e-5, (key, error)


@pytest.mark.parametrize("dtype", ["q8", "q4"])
def test_the_page_accepts_it(dtype: Dtype, stored_bundle: Callable[[Dtype], Path]) -> None:
    """And is not offered JSEP, which has no kernel for eight bits."""
    bundle = Bundle.open(stored_bundle(dtype))
    report = run_jobs(bundle.folder, [{"kind": "load", "id": "load"}], {})["load"][0]["report"]
    assert report["provider"] == "wasm"
    assert report["error"] <= 1e-5
    providers = {
        name for graph in bundle.manifest.variant("base").graphs for name in graph.providers
    }
    assert ("jsep" in providers) == (dtype == "q4")
