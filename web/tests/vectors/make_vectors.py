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
from runtime.errors import BrushletError  # noqa: E402
from runtime.manifest import Slot, SlotTable, WeightPlace  # noqa: E402
from runtime.packs import FORMAT, Pack, PackMetadata, dump_pack, stack  # noqa: E402
from runtime.prompts import make_chunks, parse_attention, weigh  # noqa: E402
from runtime.tags import take_tags  # noqa: E402
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


def scheduler_run(
    scheduler: Any, steps: int, picture: torch.Tensor | None, first: int, guided: range
) -> list[float]:
    """A whole run with guidance on some calls; over a picture's latents from call `first` on."""
    generator = torch.Generator().manual_seed(3)
    scheduler.set_timesteps(steps)
    latents = torch.randn((1, 2, 4, 3), generator=generator)
    if picture is None:
        latents = latents * scheduler.init_noise_sigma
    else:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        begin = scheduler.timesteps[first : first + 1]
        latents = scheduler.add_noise(picture, latents, begin)
    draws = type(scheduler).__name__ in ("EulerAncestralDiscreteScheduler", "LCMScheduler")
    options = {"generator": generator} if draws else {}
    for call, timestep in enumerate(scheduler.timesteps[first:]):
        sample = scheduler.scale_model_input(latents, timestep)
        output = toy_model(sample, float(timestep), 0.4)
        if call in guided:
            uncond = toy_model(sample, float(timestep), -0.2)
            output = uncond + 4.0 * (output - uncond)
        latents = scheduler.step(output, timestep, latents, **options).prev_sample
    return latents.flatten().double().tolist()


def samplers() -> list[dict[str, Any]]:
    """Whole runs of diffusers schedulers with guidance, beside their tables."""
    config = dict(DDIMScheduler(**SCHEDULER).config)
    cases = []
    for name in RECIPES:
        for steps in (1, 6):
            scheduler = make_scheduler(name, config)
            cases.append(
                {
                    "name": name,
                    "steps": steps,
                    "table": sampler_table(name, config, steps).model_dump(),
                    "latents": scheduler_run(scheduler, steps, None, 0, range(steps)),
                }
            )
    return cases


def imagetoimage() -> dict[str, Any]:
    """Runs of six steps over a picture, and with guidance on a part of them."""
    config = dict(DDIMScheduler(**SCHEDULER).config)
    picture = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 2, 4, 3))).float()
    runs = [
        {
            "name": name,
            "strength": strength,
            "guidance_range": fractions,
            "latents": scheduler_run(make_scheduler(name, config), 6, picture, first, guided),
        }
        for name in RECIPES
        for strength, fractions, first, guided in (
            (1.0, [0, 1], 0, range(6)),
            (0.7, [0, 1], 2, range(4)),
            (0.7, [0.25, 0.8], 2, range(1, 3)),
            (0.2, [0.5, 0.5], 5, range(0)),
        )
    ]
    posterior = torch.cat([picture, picture.abs() + 0.1], dim=1)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(3))
    return {
        "picture": picture.flatten().double().tolist(),
        "runs": runs,
        "posterior": posterior.flatten().double().tolist(),
        "drawn": (picture + posterior[:, 2:] * noise).flatten().double().tolist(),
    }


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


PROMPTS = [
    "",
    "a castle, day",
    "a (castle) [fog] ((hill)) [[sea]]",
    "(castle:1.3) (x : +.5 ) (y:-2.) (z:0)",
    "(a [b:1.2) c] d) e]",
    r"castle \(ruin\) \[\]\\ \x \\",
    "(left (open, [twice",
    ":: 3:4 (a:b) (c:1.2.3) (d:) (e:1e3) (f:\u0661)",
    "(one)(word) (two:1.1)(words)",
    "a BREAK b (c BREAK d:1.4) BREAKFAST _BREAK 城BREAK ,BREAK",
    "BREAK BREAK\nBREAK",
    "一座城堡\uff0c(白云:1.2)\uff0c[绿色的山丘]",
    "naïve (café:1.1) 🏰🌄 ẞ",
    "( \t\v\f\xa0\u2003:\n1.5\r) x",
    "a, " * 200,
]
# A hostile prompt is its parts, each with how often it is repeated.
HOSTILE = [
    [("(", 2000)],
    [("(", 200), ("a", 1), (":1.01)", 200)],
    [("[(", 100), ("a])", 150)],
    [("(a", 60), ("]b)", 60)],
    [("\\", 1001), (":", 1000), (" ", 3000)],
]
TAGGED = [
    "a castle",
    "<lora:ink>, a (castle:1.2)<lora:oil:0.5>",
    "<lora: ink : .5 : -1. >",
    "<lora:ink:te=0.5> <lora:oil:unet=0.5> <lora:x:te=0.2:unet=0.7> <lora:y:0.8:unet = 0>",
    "<lora:ink:0.5><lora:ink:0.25:1>",
    "a < b > c <lora:> <lora:ink <hypernet:x:1>",
    "<lora:<lora:ink:1>>",
    "<lora: :1>",
    "<lora:ink:much>",
    "<lora:ink:>",
    "<lora:ink:1:1:8>",
    "<lora:ink:dyn=8>",
    "<lora:ink:te=0=1>",
]


def prompts() -> dict[str, Any]:
    """Prompts of all sorts: their weighted parts, their chunks, their tags, and weighted states.

    Chunks are made of characters as tokens, the comma among them.
    """

    def case(parts: list[tuple[str, int]]) -> dict[str, Any]:
        prompt = "".join(text * count for text, count in parts)
        sections = parse_attention(prompt)
        tokens = [[([ord(c) for c in text], weight) for text, weight in s] for s in sections]
        chunks = make_chunks(tokens, 75, ord(","))
        return {
            "parts": parts,
            "sections": sections,
            "chunks": [[len(ids), sum(ids), float(np.sum(weights))] for ids, weights in chunks],
        }

    def tagged(prompt: str) -> dict[str, Any]:
        try:
            rest, styles = take_tags(prompt)
        except BrushletError as error:
            return {"prompt": prompt, "refused": error.what}
        named = [{"name": name, **strengths._asdict()} for name, strengths in styles.items()]
        return {"prompt": prompt, "rest": rest, "styles": named}

    random = np.random.default_rng(6)
    weights = [1.0, 1.3, 0.7, -0.5, 1.0]
    states = [random.normal(mean, 1, (5, 4)).astype(np.float32) for mean in (0.3, 0)]
    states[1] -= states[1].mean()  # nothing to restore
    return {
        "parsed": [case([(prompt, 1)]) for prompt in PROMPTS] + [case(parts) for parts in HOSTILE],
        "tagged": [tagged(prompt) for prompt in TAGGED],
        "weights": weights,
        "weighed": [
            {
                "states": before.astype(float).ravel().tolist(),
                "expected": weigh(before, weights).astype(float).ravel().tolist(),
            }
            for before in states
        ],
    }


if __name__ == "__main__":
    for make in (noise, samplers, imagetoimage, packs, tensors, prompts):
        path = HERE / f"{make.__name__}.json"
        path.write_text(json.dumps(make(), separators=(",", ":")) + "\n")
        print(f"{path.name}: {path.stat().st_size} bytes")
