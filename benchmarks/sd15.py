"""What exports and steps cost at the size of Stable Diffusion 1.5, beside what users do else.

Weights are random (`tests.sizes`): cost does not depend on them. Exports are whole processes, as
`make export` starts them; peak memory is the largest resident set of such a process.
"""

import gc
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from benchmarks.steps import random_lora
from benchmarks.timing import Ratio, ratio, rounds
from runtime.bundle import Bundle
from runtime.manifest import BASE_VARIANT, SlotTable
from runtime.noise import Generator
from runtime.tensors import Float32, write_tensors
from runtime.unet import UNet
from tests.sizes import random_base

STEPS = 3  # rounds of UNet steps, some ten seconds each
SIZE, TOKENS = 64, 77  # latent pixels a side, text tokens: a guided step at 512x512
RANK = 16
STYLE = "random"


@dataclass(frozen=True)
class Cost:
    """Of a process: wall seconds, and the peak of its resident set in bytes."""

    seconds: float
    peak: int


def measure_sd15(folder: Path) -> Iterator[Ratio]:
    """Every row of the exporter's cost table; `folder` takes some 10 GB."""
    base = random_base(folder / "base", "sd15")
    out, optimum = folder / "dist", folder / "optimum"
    ours = _process(sys.executable, "-m", "exporter", "base", "--base", base, "--out", out)
    theirs = _optimum(base, optimum)
    yield _costs("base export", ours.seconds, "optimum-cli export", theirs.seconds, 0.9)
    yield _costs("base export, peak", ours.peak, "optimum-cli, peak", theirs.peak, 0.5, "B")

    bundle = Bundle.open(out)
    lora = folder / f"{STYLE}.safetensors"
    write_lora(lora, bundle.slot_table(), RANK)
    yield from _external(base, lora, out)
    yield from _merged(base, lora, out, folder)
    yield from _steps(base, out, optimum)


def _external(base: Path, lora: Path, out: Path) -> Iterator[Ratio]:
    cost = _export(base, lora, out)
    yield _costs("external export", cost.seconds, "allowed", 1.5, 1)
    yield _costs("external export, peak", cost.peak, "allowed", 400e6, 1, "B")
    pack = Bundle.open(out).style(STYLE).pack
    assert pack is not None
    tensors = lora.stat().st_size
    yield _costs("style pack", pack.bytes, "the LoRA file", tensors, 1.01, "B")


def _merged(base: Path, lora: Path, out: Path, folder: Path) -> Iterator[Ratio]:
    before = {path.name for path in out.glob("weights-*")}
    cost = _export(base, lora, out, "--mode", "merged")
    new = [path for path in out.glob("weights-*") if path.name not in before]
    copies = folder / "copies"
    copies.mkdir()
    copied = _process("cp", *new, copies)
    shutil.rmtree(copies)
    yield _costs("merged export", cost.seconds, "cp of its shards", copied.seconds, 3)
    yield _costs("merged export, peak", cost.peak, "allowed", 1e9, 1, "B")
    fused = folder / "fused"
    start = time.perf_counter()
    _process(sys.executable, "-m", "benchmarks.sd15", base, lora, fused)
    _optimum(fused, folder / "fused-onnx")
    taken = time.perf_counter() - start
    for name in ("fused", "fused-onnx"):
        shutil.rmtree(folder / name)
    yield _costs("merged export", cost.seconds, "fuse, optimum-cli export", taken, 0.1)


def _steps(base: Path, out: Path, optimum: Path) -> Iterator[Ratio]:
    """A guided step. PyTorch and Optimum take theirs alone, since each holds 4 GB and more; ours
    take turns, since slots cost less than the machine's mood changes in a quarter of an hour."""
    bundle, noise = Bundle.open(out), Generator(0)
    feeds = {
        "sample": noise.randn((2, 4, SIZE, SIZE)),
        "timestep": np.array([501], np.float32),
        "encoder_hidden_states": noise.randn((2, TOKENS, 768)),
    }
    taken: dict[str, list[float]] = {}

    def time_of(name: str, run: Callable[[], object]) -> None:
        taken.update(rounds({name: run}, STEPS, runs=2))

    time_of("PyTorch eager", _torch_step(base, feeds))
    gc.collect()
    time_of("Optimum's graph", _optimum_step(optimum, feeds))
    gc.collect()
    merged = UNet(bundle, bundle.manifest.variant(f"{STYLE}-merged"))
    slotted = UNet(bundle, bundle.manifest.variant(BASE_VARIANT))
    contestants = {"exported graph": _prepared_step(merged, feeds, {})}
    for rank in (4, 16, 64):
        lora = random_lora(bundle, rank)
        contestants[f"with slots, rank {rank}"] = _prepared_step(slotted, feeds, lora)
    taken |= rounds(contestants, STEPS, runs=2)
    yield ratio(taken, "exported graph", "PyTorch eager", 0.6)
    yield ratio(taken, "exported graph", "Optimum's graph", 0.5)
    for rank, limit in ((4, 1.04), (16, 1.06), (64, 1.1)):
        yield ratio(taken, f"with slots, rank {rank}", "exported graph", limit)


def write_lora(path: Path, table: SlotTable, rank: int) -> None:
    """A kohya file in fp16 with random values for every slot."""
    noise, tensors = Generator(1), {}
    for slot in table.slots:
        kernel = (1, 1) if slot.kind == "conv1x1" else ()  # diffusers asks for them
        down = noise.randn((rank, slot.in_width, *kernel)) * np.float32(0.02)
        up = noise.randn((slot.out_width, rank, *kernel)) * np.float32(0.02)
        tensors[f"{slot.aliases[0]}.lora_down.weight"] = down.astype(np.float16)
        tensors[f"{slot.aliases[0]}.lora_up.weight"] = up.astype(np.float16)
    write_tensors(path, tensors, {"ss_network_dim": str(rank)})


def _export(base: Path, lora: Path, out: Path, *options: str) -> Cost:
    where = ("--base", base, "--out", out, "--lora", lora)
    return _process(sys.executable, "-m", "exporter", "export", *where, *options)


def _optimum(base: Path, out: Path) -> Cost:
    command = Path(sys.executable).with_name("optimum-cli")
    return _process(command, "export", "onnx", "--task", "text-to-image", "--model", base, out)


# A process that is started out of a large one is charged the large one's peak (Linux carries it
# over exec), so a small one stands in between.
_LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - start
print(json.dumps([code, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def _process(*command: str | Path) -> Cost:
    launched = [sys.executable, "-S", "-c", _LAUNCHER, *map(str, command)]
    done = subprocess.run(launched, stdout=subprocess.PIPE, check=True)
    code, seconds, peak = json.loads(done.stdout)
    if code:
        raise subprocess.CalledProcessError(code, launched[4:])
    return Cost(seconds, peak * 1024)


def _costs(
    what: str, value: float, against: str, other: float, limit: float, unit: Any = "s"
) -> Ratio:
    return Ratio(what, value, against, other, value / other, limit, unit)


def _torch_step(base: Path, feeds: dict[str, Float32]) -> Callable[[], object]:
    unet = UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=torch.float32)
    inputs = [torch.from_numpy(feed) for feed in feeds.values()]

    def step() -> object:
        with torch.no_grad():
            return unet(*inputs).sample

    return step


def _optimum_step(folder: Path, feeds: dict[str, Float32]) -> Callable[[], object]:
    path = str(folder / "unet" / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    types = {value.name: value for value in session.get_inputs()}
    given: dict[str, Any] = dict(feeds)
    given["timestep"] = feeds["timestep"].reshape(types["timestep"].shape and (1,))
    if "int64" in types["timestep"].type:
        given["timestep"] = given["timestep"].astype(np.int64)
    return lambda: session.run(None, given)


def _prepared_step(
    unet: UNet, feeds: dict[str, Float32], lora: dict[str, Float32]
) -> Callable[[], object]:
    prepared = unet.prepare(feeds["encoder_hidden_states"], lora)
    return lambda: unet.predict(feeds["sample"], 501.0, prepared)


def fuse(base: Path, lora: Path, out: Path) -> None:
    """What a user of diffusers does before an export: the LoRA in the weights, a new pipeline."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(out)


if __name__ == "__main__":
    fuse(*map(Path, sys.argv[1:]))
