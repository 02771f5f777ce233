"""Writes the golden vectors of the web engine's tests, from torch, diffusers and runtime/.

.venv/bin/python web/tests/vectors/make_vectors.py
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from exporter.samplers import RECIPES, make_scheduler, sampler_table  # noqa: E402
from runtime.manifest import Slot, SlotTable, WeightPlace  # noqa: E402
from runtime.packs import FORMAT, Pack, PackMetadata, dump_pack, stack  # noqa: E402
from runtime.tensors import dump_tensors  # noqa: E402

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
}


def noise() -> list[dict[str, Any]]:
    """Draws that continue one stream; of a long draw only some values are kept."""
    plans = [
        (0, [1, 3, 15, 16, 17, 31, 100]),
        (42, [1024, 1024, 7]),
        (2**31 + 5, [40, 1_000_000]),
        (2**32 - 1, [48]),
        (2**40 + 7, [20]),
    ]
    cases = []
    for seed, sizes in plans:
        generator = torch.Generator().manual_seed(seed)
        draws = []
        for size in sizes:
            values = torch.randn(size, generator=generator).double().numpy()
            largest = np.abs(values).argsort()[-20:].tolist()  # where errors are largest, too
            kept = sorted({*range(min(size, 32)), *largest, *range(size)[-20:]})
            draws.append({"size": size, "at": kept, "values": values[kept].tolist()})
        cases.append({"seed": seed, "draws": draws})
    return cases


def toy_model(sample: torch.Tensor, timestep: float, condition: float) -> torch.Tensor:
    """A denoiser that is not linear, so that a wrong order of terms shows."""
    return torch.tanh(0.7 * sample + condition) + 0.1 * np.sin(timestep / 100)


def samplers() -> list[dict[str, Any]]:
    """Whole runs of diffusers schedulers with guidance, beside their tables."""
    config = dict(DDIMScheduler(**SCHEDULER).config)
    cases = []
    for name in RECIPES:
        for steps in (1, 6):
            generator = torch.Generator().manual_seed(3)
            scheduler = make_scheduler(name, config)
            scheduler.set_timesteps(steps)
            latents = torch.randn((1, 2, 4, 3), generator=generator) * scheduler.init_noise_sigma
            for timestep in scheduler.timesteps:
                sample = scheduler.scale_model_input(latents, timestep)
                uncond = toy_model(sample, float(timestep), -0.2)
                cond = toy_model(sample, float(timestep), 0.4)
                guided = uncond + 4.0 * (cond - uncond)
                options = {"generator": generator} if name in ("euler_ancestral", "lcm") else {}
                latents = scheduler.step(guided, timestep, latents, **options).prev_sample
            cases.append(
                {
                    "name": name,
                    "steps": steps,
                    "table": sampler_table(name, config, steps).model_dump(),
                    "latents": latents.flatten().double().tolist(),
                }
            )
    return cases


def packs() -> dict[str, Any]:
    """Two packs, the second of which touches one slot only, and their stack."""
    place = WeightPlace(shard="s", offset=0, shape=[1], dtype="float16", transposed=False)
    widths = {"one": (3, 5), "two": (4, 2)}
    slots = [
        Slot(
            name=name,
            kind="linear",
            in_width=wide[0],
            out_width=wide[1],
            input_a=f"{name}.lora_A",
            input_b=f"{name}.lora_B",
            aliases=[name],
            weight=place,
        )
        for name, wide in widths.items()
    ]
    table = SlotTable(slot_set="attn", slots=slots)
    random = np.random.default_rng(5)

    def pack(name: str, rank: int, touched: list[str]) -> Pack:
        tensors = {}
        for slot in slots:
            if slot.name in touched:
                A, B = (slot.in_width, rank), (rank, slot.out_width)
                tensors[slot.input_a] = random.standard_normal(A).astype(np.float16)
                tensors[slot.input_b] = random.standard_normal(B).astype(np.float16)
        metadata = PackMetadata(
            format=FORMAT,
            name=name,
            title=name,
            base_hash="a" * 64,
            base_name="tiny",
            rank=rank,
            source_sha256="b" * 64,
        )
        return Pack(metadata, tensors)

    first, second = pack("first", 2, ["one", "two"]), pack("second", 3, ["two"])
    stacked = stack([(first, 0.8), (second, -0.5)], table)
    return {
        "slots": [slot.model_dump() for slot in slots],
        "files": [base64.b64encode(dump_pack(one)).decode() for one in (first, second)],
        "strengths": [0.8, -0.5],
        "stacked": {
            name: {"shape": list(array.shape), "data": array.astype(float).ravel().tolist()}
            for name, array in stacked.items()
        },
    }


def tensors() -> dict[str, Any]:
    """A safetensors file with every dtype that the browser reads, and its values."""
    arrays = {
        "half": np.array([0, -0.0, 1, -2.5, 65504, 2**-14, 2**-24, -(2**-15)], np.float16),
        "single": np.array([[1.5, -(2.0**-130)], [3e38, 0.1]], np.float32),
    }
    file = dump_tensors(arrays, {"name": "Städte", "rank": "4"})
    bfloat = torch.tensor([1.0, -(2.0**-130), 3.1415927]).bfloat16()
    return {
        "file": base64.b64encode(file).decode(),
        "values": {name: array.astype(float).ravel().tolist() for name, array in arrays.items()},
        "bfloat16_bits": bfloat.view(torch.int16).to(torch.int32).bitwise_and(0xFFFF).tolist(),
        "bfloat16": bfloat.double().tolist(),
    }


if __name__ == "__main__":
    for make in (noise, samplers, packs, tensors):
        path = HERE / f"{make.__name__}.json"
        path.write_text(json.dumps(make(), separators=(",", ":")) + "\n")
        print(f"{path.name}: {path.stat().st_size} bytes")
