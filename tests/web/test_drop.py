"""LoRA files dropped on the page, in a real Chromium."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.pipeline import Pipeline
from runtime.shares import shares
from runtime.tensors import read_tensors, write_tensors
from tests.browser import BrowserError, Job, run_jobs

WASM = {"providers": [{"provider": "wasm", "threads": 1}]}
CHOSEN = [{"name": "wiggle", "strength": 0.5}, {"name": "accent", "strength": -1.2}]


def draws(job: str, bundle: Bundle, *styles: dict[str, Any]) -> Job:
    """A job that denoises with these styles."""
    size = bundle.manifest.model.sample_size
    request = {"styles": styles, "seed": 5, "steps": 3, "sampler": "ddim", "guidanceScale": 4}
    request |= {"height": size, "width": size}
    return {"kind": "denoise", "id": job, "inputs": "prompt.safetensors", "request": request} | WASM


def asks(job: str, call: str, request: Any, **file: str) -> Job:
    """A job that makes a call of the worker."""
    return {"kind": "call", "id": job, "call": call, "request": request} | WASM | file


def test_a_dropped_file_is_the_exporters_style_and_stays(
    text_bundle: Path, text_loras: dict[str, Path], tmp_path: Path
) -> None:
    """The bundle has the exporter's pack of the same tensors, under another hash."""
    dropped = tmp_path / "Mine.safetensors"
    tensors, _ = read_tensors(text_loras["accent"])
    write_tensors(dropped, tensors, {"modelspec.trigger_phrase": "castle", "note": "another hash"})
    bundle = Bundle.open(text_bundle)
    states = Pipeline(bundle).text_encoder.encode(["", "a castle"])
    prompt = {"prompt_embeds": states[1:], "negative_prompt_embeds": states[:1]}
    mine = {"name": "mine", "strength": 0.7}
    add = asks("add", "add-style", {"name": dropped.name}, file=dropped.name)
    jobs: list[Job] = [
        draws("exported", bundle, {"name": "accent", "strength": 0.7}),
        add,
        add | {"id": "again"},
        draws("dropped", bundle, mine),
        {"kind": "reload", "id": "reload"},
        asks("kept", "local-styles", None),
        draws("reloaded", bundle, mine),
        draws("base", bundle),
        asks("shares", "contributions", [*CHOSEN, {"name": "mine", "strength": 0}]),
        asks("remove", "remove-style", "mine"),
        {"kind": "reload", "id": "once more"},
        asks("gone", "local-styles", None),
    ]
    inputs = {"prompt.safetensors": prompt, dropped.name: dropped}
    results = run_jobs(text_bundle, jobs, inputs)

    style = results["add"][0]["value"]
    exported = bundle.style("accent")
    assert style | {"notes": []} == results["again"][0]["value"] | {"notes": []}
    assert (style["name"], style["title"], style["kept"]) == ("mine", "Mine", "device")
    assert style["trigger_words"] == ["castle"]
    assert (style["rank"], style["models"]) == (exported.rank, exported.models)
    assert style["source_sha256"] == hashlib.sha256(dropped.read_bytes()).hexdigest()
    assert results["kept"][0]["value"] == [style]
    assert results["gone"][0]["value"] == []

    latents = {name: results[name][1]["latents"] for name in ("dropped", "reloaded", "base")}
    expected = results["exported"][1]["latents"]
    np.testing.assert_array_equal(latents["dropped"], expected)
    np.testing.assert_array_equal(latents["reloaded"], expected)
    assert np.abs(latents["base"] - expected).max() > 0.01

    reference = shares(bundle, {choice["name"]: choice["strength"] for choice in CHOSEN})
    found = {entry["name"]: entry["share"] for entry in results["shares"][0]["value"]}
    assert found == pytest.approx(reference | {"mine": 0.0}, rel=1e-6)
    assert sum(found.values()) == pytest.approx(1)

    # Nothing but what the tests themselves ask for leaves the page.
    sent = [line for result, _ in results.values() for line in result.get("sent", [])]
    assert sorted(sent) == sorted(
        f"POST /outputs/{job['id']}.safetensors" for job in jobs if job["kind"] == "denoise"
    )


def test_a_file_that_cannot_be_a_style_says_why(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "xl.safetensors"
    key = "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q"
    tensors = {f"{key}.lora_down.weight": np.ones((2, 3), np.float32)}
    tensors[f"{key}.lora_up.weight"] = np.ones((3, 2), np.float32)
    write_tensors(path, tensors, {})
    job = asks("add", "add-style", {"name": path.name}, file=path.name)
    with pytest.raises(BrowserError, match=r"xl\.safetensors: is a LoRA for SDXL"):
        run_jobs(tiny_bundle, [job], {path.name: path})
