"""A guided UNet step (batch 2) of the embedded model: PyTorch, onnxruntime, and the browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from benchmarks.timing import Ratio, ratio, rounds
from runtime.bundle import Bundle
from runtime.golden import golden_feeds
from runtime.noise import Generator
from runtime.tensors import Float32
from runtime.unet import UNet
from tests.browser import run_jobs

ROUNDS = 20
BROWSER_ROUNDS = 5  # each starts a Chromium
BROWSER_RUNS = 10
BROWSER_WARM_UP = 15  # WebAssembly is compiled a second time, for speed, while it runs
THREADS = 2

Feeds = dict[str, Float32]


def native_steps(base: Path, bundle: Bundle, merged: str) -> Iterator[Ratio]:
    """onnxruntime against PyTorch eager, and slots against the same UNet without any.

    Args:
        base: the pipeline, for PyTorch.
        bundle: its export.
        merged: a merged variant of it, whose graph has no slots.
    """
    torch.set_num_threads(THREADS)
    inputs, _ = golden_feeds(bundle, bundle.manifest.variant(merged))
    unet = UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=torch.float32)
    contestants: dict[str, Callable[[], object]] = {
        "PyTorch eager": _torch_step(unet, inputs),
        "onnxruntime, no slots": _onnx_step(bundle, merged, inputs),
    }
    for rank in (4, 16):
        feeds = inputs | random_lora(bundle, rank)
        contestants[f"onnxruntime, slots rank {rank}"] = _onnx_step(bundle, "base", feeds)
    taken = rounds(contestants, ROUNDS)
    yield ratio(taken, "onnxruntime, no slots", "PyTorch eager")
    yield ratio(taken, "onnxruntime, slots rank 4", "onnxruntime, no slots")
    yield ratio(taken, "onnxruntime, slots rank 16", "onnxruntime, no slots", limit=1.08)


def browser_steps(base: Path, bundle: Bundle) -> Iterator[Ratio]:
    """WASM with two threads and with one against native onnxruntime and PyTorch, rank-16 slots."""
    torch.set_num_threads(THREADS)
    inputs, _ = golden_feeds(bundle, bundle.manifest.variant("base"))
    inputs = {k: inputs[k] for k in ("sample", "timestep", "encoder_hidden_states")}
    feeds = inputs | random_lora(bundle, 16)
    unet = UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=torch.float32)
    native = {
        "PyTorch eager": _torch_step(unet, inputs),
        "onnxruntime": _onnx_step(bundle, "base", feeds),
    }
    wasm = {f"WASM, {n} thread{'s'[: n - 1]}": n for n in (2, 1)}
    taken: dict[str, list[float]] = {name: [] for name in [*native, *wasm]}
    for _ in range(BROWSER_ROUNDS):
        for name, seconds in rounds(native, 1, BROWSER_RUNS).items():
            taken[name] += seconds
        jobs: list[dict[str, Any]] = [
            {
                "kind": "step",
                "id": name,
                "provider": "wasm",
                "threads": threads,
                "compute": "fp32",
                "attention": "fused",
                "inputs": "feeds.safetensors",
                "repeat": BROWSER_RUNS,
                "warmUp": BROWSER_WARM_UP,
            }
            for name, threads in wasm.items()
        ]
        results = run_jobs(bundle.folder, jobs, {"feeds.safetensors": feeds})
        for name, (result, _) in results.items():
            taken[name].append(result["milliseconds"] / 1000)
    yield ratio(taken, "WASM, 2 threads", "onnxruntime", limit=4.0)
    yield ratio(taken, "WASM, 2 threads", "PyTorch eager", limit=2.0)
    yield ratio(taken, "WASM, 1 thread", "onnxruntime")


def random_lora(bundle: Bundle, rank: int) -> Feeds:
    """Every slot filled; values do not matter for time."""
    noise = Generator(0)
    feeds: Feeds = {}
    for slot in bundle.slot_table().slots:
        feeds[slot.input_a] = noise.randn((slot.in_width, rank)) * np.float32(0.02)
        feeds[slot.input_b] = noise.randn((rank, slot.out_width)) * np.float32(0.02)
    return feeds


def _torch_step(unet: Any, inputs: Feeds) -> Callable[[], object]:
    sample, states = (torch.from_numpy(inputs[k]) for k in ("sample", "encoder_hidden_states"))
    timestep = torch.from_numpy(inputs["timestep"])

    def step() -> object:
        with torch.no_grad():
            return unet(sample, timestep, states).sample

    return step


def _onnx_step(bundle: Bundle, variant: str, feeds: Feeds) -> Callable[[], object]:
    """A step as every step after a picture's first is: what the steps share is prepared."""
    unet = UNet(bundle, bundle.manifest.variant(variant))
    lora = {name: tensor for name, tensor in feeds.items() if ".lora_" in name}
    prepared = unet.prepare(feeds["encoder_hidden_states"], lora)
    return lambda: unet.predict(feeds["sample"], float(feeds["timestep"][0]), prepared)
