"""Every comparison under the promises, for pytest and for `make parity`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTokenizerFast

from exporter.golden import reference_step
from runtime.bundle import Bundle
from runtime.golden import golden_feeds
from runtime.manifest import Graph, UNetVariant
from runtime.noise import Generator
from runtime.packs import stack
from runtime.pipeline import Pipeline
from runtime.samplers import run
from runtime.unet import UNet
from tests.browser import Job, Tensors, run_jobs
from tests.parity.kinds import kinds
from tests.parity.promises import Measured
from tests.parity.reference import SCHEDULERS, merged_unet, psnr, relative_error
from tests.parity.text_kinds import text_kinds
from tests.parity.words import words
from tests.parity.world import (
    LORAS,
    MERGED,
    MERGED_STRENGTH,
    MODELS,
    NEGATIVE,
    PROMPT,
    STYLES,
    World,
)

Comparison = Callable[[World], Iterator[Measured]]

PROMPTS = [
    "",
    PROMPT,
    "miyazaki style, a lighthouse, sunset",
    "Don't   STOP: it's 3.14 (really) <|endoftext|>!",
    "一座城堡，白云，绿色的山丘",
    "naïve café 🏰🌄 ẞ",
    "a windmill, " * 60,
]
SEEDS = [0, 1, 42, 2**32 - 1, 2**32 + 5]
SIZES = [16, 17, 31, 1024, 4096, 4099]
WASM = {"WASM, 1 thread": 1, "WASM, 2 threads": 2}
STEPS = 20
GUIDANCE = 4.0


class Wanted(NamedTuple):
    """A picture; `size` is its width and height in pixels."""

    sampler: str
    styles: dict[str, float]
    size: tuple[int, int] = (128, 128)


def tokens(world: World) -> Iterator[Measured]:
    """Token ids of bare texts, start and end included."""
    tokenizer = CLIPTokenizerFast.from_pretrained(MODELS / "base" / "tokenizer")
    expected = tokenizer(PROMPTS)["input_ids"]
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    _, browser = run_jobs(world.bundle, [{"kind": "tokens", "id": "t", "prompts": PROMPTS}], {})[
        "t"
    ]
    found = {
        "runtime": [[start, *world.pipeline.text_encoder.tokenize(text), end] for text in PROMPTS],
        "browser": [browser[f"tokens_{i}"].astype(int).tolist() for i in range(len(PROMPTS))],
    }
    for runtime, rows in found.items():
        wrong = sum(a != b for a, b in zip(rows, expected, strict=True))
        yield Measured("tokens", runtime, f"{len(PROMPTS)} prompts", wrong)


def noise(world: World) -> Iterator[Measured]:
    """Consecutive draws of several sizes from one generator, for several seeds."""
    jobs = [{"kind": "noise", "id": str(seed), "seed": seed, "sizes": SIZES} for seed in SEEDS]
    browser = run_jobs(world.bundle, jobs, {})
    for seed in SEEDS:
        theirs = torch.Generator().manual_seed(seed)
        ours = Generator(seed)
        errors: dict[str, float] = {"runtime": 0.0, "browser": 0.0}
        for i, size in enumerate(SIZES):
            expected = torch.randn(size, generator=theirs).numpy()
            found = {"runtime": ours.randn((size,)), "browser": browser[str(seed)][1][f"noise_{i}"]}
            for name, values in found.items():
                errors[name] = max(errors[name], float(np.abs(values - expected).max()))
        for name, error in errors.items():
            yield Measured("noise", name, f"seed {seed}, {len(SIZES)} draws", error)


def _toy_model(sample: torch.Tensor, timestep: float) -> torch.Tensor:
    """Not linear, so that an error in the input shows in the output."""
    return torch.tanh(sample * (0.5 + timestep / 2000)) + 0.1 * sample


def samplers(world: World) -> Iterator[Measured]:
    """Whole runs on a model that costs nothing, with the noise that diffusers draws."""
    config = world.reference.scheduler_config
    assert set(SCHEDULERS) == {entry.name for entry in world.pipeline.bundle.manifest.samplers}
    jobs: list[Job] = []
    judge: dict[str, tuple[str, np.ndarray]] = {}
    for name, (kind, options) in SCHEDULERS.items():
        for steps in (1, 4, 20, 50):
            generator = torch.Generator().manual_seed(steps)
            scheduler = kind.from_config(config, **options)
            scheduler.set_timesteps(steps)
            latents = torch.randn((1, 4, 16, 16), generator=generator) * scheduler.init_noise_sigma
            for timestep in scheduler.timesteps:
                output = _toy_model(scheduler.scale_model_input(latents, timestep), float(timestep))
                # Only some schedulers draw noise; those that do not take no generator.
                extra = (
                    {"generator": generator} if name in {"ddim", "euler_ancestral", "lcm"} else {}
                )
                latents = scheduler.step(output, timestep, latents, **extra).prev_sample
            ours = Generator(steps)
            found = run(
                world.pipeline.bundle.sampler(name, steps),
                lambda ours=ours: ours.randn((1, 4, 16, 16)),
                lambda x, t: _toy_model(torch.from_numpy(x), t).numpy(),
            )
            what, expected = f"{name}, {steps} steps", latents.numpy()
            yield Measured("sampler", "runtime", what, relative_error(found, expected))
            job = {"kind": "sampler", "id": f"{name}-{steps}", "sampler": name, "steps": steps}
            jobs.append(job | {"seed": steps, "shape": expected.shape[1:]})
            judge[job["id"]] = what, expected
    for key, (_, outputs) in run_jobs(world.bundle, jobs, {}).items():
        what, expected = judge[key]
        yield Measured("sampler", "browser", what, relative_error(outputs["latents"], expected))


def _stacked(world: World, strengths: Mapping[str, float]) -> Mapping[str, np.ndarray]:
    bundle = world.pipeline.bundle
    packs = [(bundle.style_pack(name), strength) for name, strength in strengths.items()]
    return stack(packs, bundle.slot_table())


def _judged(
    graph: Graph, runtime: str, what: str, found: np.ndarray, expected: np.ndarray
) -> Iterator[Measured]:
    error = relative_error(found, expected)
    yield Measured(f"step {graph.compute}", f"{runtime} {graph.attention}", what, error)
    if graph.compute == "fp16":
        a, b = found.astype(float).ravel(), expected.astype(float).ravel()
        cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        yield Measured("cosine fp16", f"{runtime} {graph.attention}", what, cosine)


def _expected_steps(world: World, variant: UNetVariant) -> dict[tuple[str, str], np.ndarray]:
    """(styles, noise level) -> PyTorch's output."""
    if variant.slots:
        return {
            (styles, level): world.reference.step(
                x["sample"], float(x["timestep"][0]), x["encoder_hidden_states"], strengths
            )
            for styles, strengths in STYLES.items()
            for level, x in world.steps.items()
        }
    unet = merged_unet(MODELS / "base", LORAS["miyazaki"], MERGED_STRENGTH)
    with torch.no_grad():
        return {
            (variant.name, level): unet(
                *(torch.from_numpy(x[k]) for k in ("sample", "timestep", "encoder_hidden_states"))
            ).sample.numpy()
            for level, x in world.steps.items()
        }


def steps(world: World) -> Iterator[Measured]:
    """A guided UNet call at three noise levels: all graphs natively, fp32 ones in the browser."""
    jobs: list[Job] = []
    judge: dict[str, tuple[Graph, str, str, np.ndarray]] = {}
    for variant in world.pipeline.bundle.manifest.unet:
        wanted = _expected_steps(world, variant)
        # Graph by graph, and in the browser thread by thread: jobs in a row share a session.
        for graph in variant.graphs:
            unet = UNet(world.pipeline.bundle, variant, graph=graph)
            for (styles, level), expected in wanted.items():
                lora = _stacked(world, STYLES[styles]) if variant.slots else {}
                found = unet.step({**world.steps[level], **lora})
                yield from _judged(graph, "onnxruntime", f"{styles}, {level}", found, expected)
            if graph.compute == "fp16":
                continue  # no fp16 kernels in WASM; WebGPU has them where a GPU does
            for (runtime, threads), (styles, level) in product(WASM.items(), wanted):
                strengths = STYLES.get(styles, {})
                job = {
                    "kind": "step",
                    "id": f"step{len(jobs)}",
                    "variant": variant.name,
                    "provider": "wasm",
                    "threads": threads,
                    "compute": graph.compute,
                    "attention": graph.attention,
                    "inputs": f"{level}.safetensors",
                    "styles": [{"name": n, "strength": s} for n, s in strengths.items()],
                }
                jobs.append(job)
                what, expected = f"{styles}, {level}", wanted[styles, level]
                judge[job["id"]] = (graph, runtime, what, expected)
    inputs: dict[str, Tensors] = {f"{level}.safetensors": x for level, x in world.steps.items()}
    for key, (_, outputs) in run_jobs(world.bundle, jobs, inputs).items():
        graph, runtime, what, expected = judge[key]
        yield from _judged(graph, runtime, what, outputs["out_sample"], expected)


def webgpu_steps(world: World) -> Iterator[Measured]:
    """A step with a LoRA on both WebGPU providers, in SwiftShader, on a model tiny enough to end.

    In fp32: SwiftShader has no shader-f16. Of the fused graph on the native provider golden vectors
    have to say (tests/web/test_webgpu.py): its MultiHeadAttention is wrong there.
    """
    bundle = Bundle.open(world.tiny)
    feeds, expected = golden_feeds(bundle, bundle.manifest.variant("base"))
    unet = UNet2DConditionModel.from_pretrained(world.folder / "tiny" / "unet")
    lora = {name: array for name, array in feeds.items() if ".lora_" in name}
    others = {
        "high noise": feeds | {"timestep": np.array([951.0], np.float32)},
        "low noise": feeds | {"timestep": np.array([51.0], np.float32)},
        "middle noise, odd size": feeds | {"sample": feeds["sample"][:, :, 1:, 3:]},
    }
    steps = {"middle noise": (feeds, expected)}
    steps |= {step: (inputs, reference_step(unet, inputs, lora)) for step, inputs in others.items()}
    jobs: list[Job] = [
        {
            "kind": "step",
            "id": f"{provider} {attention}, {step}",
            "provider": provider,
            "compute": "fp32",
            "attention": attention,
            "inputs": f"{step}.safetensors",
        }
        for provider, attention in (("jsep", "fused"), ("jsep", "plain"), ("webgpu", "plain"))
        for step in steps
    ]
    inputs = {f"{step}.safetensors": feeds for step, (feeds, _) in steps.items()}
    for key, (_, outputs) in run_jobs(world.tiny, jobs, inputs, webgpu=True).items():
        where, step = key.split(", ", 1)
        error = relative_error(outputs["out_sample"], steps[step][1])
        yield Measured(
            "step fp32", f"WebGPU (SwiftShader), {where}", f"tiny model, golden LoRA, {step}", error
        )


def external_and_merged(world: World) -> Iterator[Measured]:
    """An external LoRA against PEFT and against itself merged, and the zero LoRA against the base.

    What is merged is held against PEFT in `steps`.
    """
    bundle = world.pipeline.bundle
    base = UNet(bundle, bundle.manifest.variant("base"))
    merged = UNet(bundle, bundle.manifest.variant("miyazaki-merged"))
    strengths = {"miyazaki": MERGED_STRENGTH}
    for level, x in world.steps.items():
        timestep, states = float(x["timestep"][0]), x["encoder_hidden_states"]
        external = base.step({**x, **_stacked(world, strengths)})
        peft = world.reference.step(x["sample"], timestep, states, strengths)
        yield Measured("lora", "onnxruntime", f"external, {level}", relative_error(external, peft))
        error = relative_error(external, merged.step(x))
        yield Measured("rounded", "onnxruntime", f"miyazaki {MERGED_STRENGTH}, {level}", error)
        world.reference.pipeline.disable_lora()
        zero = base.step({**x, **_stacked(world, {})})
        bare = world.reference.step(x["sample"], timestep, states, {})
        yield Measured("lora", "onnxruntime", f"zero, {level}", relative_error(zero, bare))


def lora_kinds(world: World) -> Iterator[Measured]:
    """Files of every key style, as other people's savers write them."""
    yield from kinds(world.folder / "kinds")


def text_encoder_loras(world: World) -> Iterator[Measured]:
    """The same for what such files change in the text encoder."""
    yield from text_kinds(world.folder / "text kinds")


def pictures(world: World) -> Iterator[Measured]:
    """20-step pictures: every sampler with a style; DDIM without, with two, merged, of odd size."""
    one, two = STYLES["miyazaki 0.8"], STYLES["miyazaki 0.7 + gothic 0.5"]
    wanted = [Wanted(name, one) for name in SCHEDULERS]
    wanted += [Wanted("ddim", {}), Wanted("ddim", two), Wanted("ddim", MERGED)]
    wanted.append(Wanted("ddim", one, size=(152, 120)))
    yield from _pictures(world, world.pipeline, "picture fp32", wanted)


def half_pictures(world: World) -> Iterator[Measured]:
    """20-step pictures of the graphs that compute in fp16, natively: WASM has no such kernels."""
    wanted = [
        Wanted("ddim", {}),
        Wanted("ddim", STYLES["miyazaki 0.7 + gothic 0.5"]),
        Wanted("euler_ancestral", MERGED),
    ]
    yield from _pictures(world, world.half, "picture fp16", wanted, browser=False)


def quantised_pictures(world: World) -> Iterator[Measured]:
    """20-step pictures from weights in 8 bits, against diffusers with the base's own."""
    wanted = [
        Wanted(sampler, styles)
        for sampler in ("ddim", "euler_ancestral")
        for styles in ({}, STYLES["miyazaki 0.8"], MERGED)
    ]
    yield from _pictures(world, world.quantised, "picture q8", wanted)


def _pictures(
    world: World,
    pipeline: Pipeline,
    promise: str,
    wanted: Sequence[Wanted],
    browser: bool = True,
) -> Iterator[Measured]:
    """Pictures of each sampler and styles, the number in the list as the seed.

    From words to pixels in every runtime: a browser's jobs read what others wrote, in `out`.
    """
    model = pipeline.bundle.manifest.model
    usual = model.sample_size * model.vae_scale
    providers = [{"provider": "wasm", "compute": "fp32", "threads": 2}]
    words = {"prompt": PROMPT, "negativePrompt": NEGATIVE, "styles": []}
    drawn: list[Job] = [{"kind": "text", "id": "words", "request": words}]
    decoded: list[Job] = []
    expected: dict[str, tuple[str, np.ndarray]] = {}
    for seed, (sampler, styles, (width, height)) in enumerate(wanted):
        theirs = {"miyazaki": MERGED_STRENGTH} if styles == MERGED else styles
        settings = {
            "seed": seed,
            "steps": STEPS,
            "guidance_scale": GUIDANCE,
            "sampler": sampler,
            "size": (width, height),
        }
        _, pixels = world.reference.picture(
            PROMPT, negative_prompt=NEGATIVE, strengths=theirs, **settings
        )
        named = " + ".join(f"{name} {strength}" for name, strength in styles.items())
        what = f"{sampler}, {named or 'no style'}"
        if (width, height) != (usual, usual):
            what += f", {width}x{height}"
        picture = pipeline.generate(PROMPT, negative_prompt=NEGATIVE, styles=styles, **settings)
        yield Measured(promise, "onnxruntime", what, _picture_psnr(picture.pixels, pixels))
        request = {
            "styles": [{"name": name, "strength": s} for name, s in styles.items()],
            "seed": seed,
            "steps": STEPS,
            "guidanceScale": GUIDANCE,
            "sampler": sampler,
            "height": height // model.vae_scale,
            "width": width // model.vae_scale,
        }
        latents, key = f"latents{seed}", f"picture{seed}"
        inputs = "out/words.safetensors"
        drawn.append({"kind": "denoise", "id": latents, "inputs": inputs, "request": request})
        decoded.append({"kind": "decode", "id": key, "inputs": f"out/{latents}.safetensors"})
        expected[key] = (what, pixels)
    if not browser:
        return
    jobs = [job | {"providers": providers} for job in drawn + decoded]
    found = run_jobs(pipeline.bundle.folder, jobs, {})
    for key, (what, pixels) in expected.items():
        quality = _picture_psnr(found[key][1]["rgba"][..., :3], pixels)
        yield Measured(promise, "WASM, 2 threads", what, quality)


def _picture_psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """Of 8-bit pictures, as people see them; `expected` is in 0..1."""
    return psnr(found / 255.0, (expected * 255).round() / 255.0)


COMPARISONS: dict[str, Comparison] = {
    "tokens": tokens,
    "words": words,
    "noise": noise,
    "samplers": samplers,
    "steps": steps,
    "WebGPU steps": webgpu_steps,
    "external and merged": external_and_merged,
    "LoRA kinds": lora_kinds,
    "text-encoder LoRAs": text_encoder_loras,
    "pictures": pictures,
    "pictures in fp16": half_pictures,
    "pictures in 8 bits": quantised_pictures,
}
