import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporter.samplers import MAX_STEPS, RECIPES, make_scheduler, sampler_table
from runtime import samplers
from runtime.manifest import Manifest, SamplerTables
from runtime.noise import Generator
from runtime.tensors import Float32

SHAPE = (1, 4, 16, 16)
Float64 = np.ndarray[Any, np.dtype[np.float64]]


@pytest.fixture(scope="module")
def config(tiny_base: Path) -> dict[str, Any]:
    text = (tiny_base / "scheduler" / "scheduler_config.json").read_text()
    return dict(json.loads(text))


def denoise(sample: Float32, timestep: float) -> Float32:
    """A stand-in for a UNet: nearly right about the noise, and not linear."""
    time = np.float32(timestep / 1000)
    return (np.float32(0.3) + np.float32(0.6) * time) * sample + np.float32(0.2) * np.sin(
        2 * sample + time
    )


def diffusers_run(
    scheduler: Any, steps: int, seed: int, picture: Float32 | None = None, first: int = 0
) -> Float32:
    """The loop of `StableDiffusionPipeline`, with its generator; over a picture's latents, the
    image-to-image one's."""
    generator = torch.Generator().manual_seed(seed)
    scheduler.set_timesteps(steps)
    latents = torch.randn(SHAPE, generator=generator)
    if picture is None:
        latents = latents * scheduler.init_noise_sigma
    else:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        begin = scheduler.timesteps[first : first + 1]
        latents = scheduler.add_noise(torch.from_numpy(picture), latents, begin)
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    extra = {"generator": generator} if takes_generator else {}
    for timestep in scheduler.timesteps[first:]:
        given = scheduler.scale_model_input(latents, timestep)
        output = torch.from_numpy(denoise(given.numpy(), float(timestep)))
        latents = scheduler.step(output, timestep, latents, **extra).prev_sample
    return latents.numpy()


# As the scheduler_config.json of checkpoints have them: SD 1.x, SD 2.1, SD Turbo.
@pytest.mark.parametrize(
    "options",
    [{}, {"prediction_type": "v_prediction"}, {"timestep_spacing": "trailing"}],
    ids=str,
)
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 20, 50])
@pytest.mark.parametrize("name", RECIPES)
# Schedulers warn that few steps lower their order; that is what is being compared.
@pytest.mark.filterwarnings("ignore")
def test_a_table_is_the_scheduler(
    name: str, steps: int, options: dict[str, Any], config: dict[str, Any]
) -> None:
    config = config | options
    table = sampler_table(name, config, steps)
    generator = Generator(7)
    found = samplers.run(table, lambda: generator.randn(SHAPE), denoise)
    expected = diffusers_run(make_scheduler(name, config), steps, 7)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    "options",
    [{}, {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}],
    ids=str,
)
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.filterwarnings("ignore")
def test_a_run_may_begin_over_a_picture_before_any_call(
    name: str, steps: int, options: dict[str, Any], config: dict[str, Any]
) -> None:
    """With the loop of `StableDiffusionImg2ImgPipeline`."""
    config = config | options
    table = sampler_table(name, config, steps)
    assert len(table.restarts) == steps
    picture = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    for first in range(steps):
        ours = Generator(7)
        over = samplers.Over(picture, first)
        found = samplers.run(table, lambda ours=ours: ours.randn(SHAPE), denoise, over=over)
        expected = diffusers_run(make_scheduler(name, config), steps, 7, picture, first)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max(), first


@pytest.mark.parametrize(
    ("name", "spacing", "timesteps"),
    [
        ("euler", "trailing", [999]),  # SD Turbo's one step
        ("euler", "leading", [1]),
        ("ddim", "trailing", [999, 749, 499, 249]),
        ("ddim", "leading", [751, 501, 251, 1]),
        ("ddim", "linspace", [999, 666, 333, 0]),
    ],
)
def test_the_base_says_how_timesteps_are_spaced(
    name: str, spacing: str, timesteps: list[int], config: dict[str, Any]
) -> None:
    table = sampler_table(name, config | {"timestep_spacing": spacing}, len(timesteps))
    assert [step.timestep for step in table.steps] == timesteps


@pytest.mark.parametrize("name", RECIPES)
def test_a_base_without_any_signal_at_the_last_timestep(name: str, config: dict[str, Any]) -> None:
    """`rescale_betas_zero_snr` (arXiv:2305.08891), which goes with v prediction and `trailing`."""
    config = config | {
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": True,
    }
    generator = Generator(7)
    table = sampler_table(name, config, 20)
    found = samplers.run(table, lambda: generator.randn(SHAPE), denoise)
    # From a first sigma of 4096 diffusers rounds Euler's latents by 1e-5, on some machines more;
    # ours, whose latents stay small, are 6e-7 from what it would compute in float64.
    run = euler_in_float64 if name == "euler" else diffusers_run
    expected = run(make_scheduler(name, config), 20, 7)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def euler_in_float64(scheduler: Any, steps: int, seed: int) -> Float64:
    """As `diffusers_run` for v prediction, by Karras' equations (arXiv:2206.00364, algorithm 1)."""
    scheduler.set_timesteps(steps)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)).double().numpy()
    sigmas = scheduler.sigmas.double().numpy()
    x = noise * float(scheduler.init_noise_sigma)
    for sigma, following, timestep in zip(sigmas, sigmas[1:], scheduler.timesteps, strict=False):
        scale = np.sqrt(sigma**2 + 1)
        given, time = x / scale, float(timestep) / 1000
        v = (0.3 + 0.6 * time) * given + 0.2 * np.sin(2 * given + time)
        original = given / scale - v * sigma / scale
        x = x + (x - original) / sigma * (following - sigma)
    return x


@pytest.mark.parametrize("name", RECIPES)
def test_rows_are_short(name: str, config: dict[str, Any]) -> None:
    table = sampler_table(name, config, 30)
    assert max(len(step.next) for step in table.steps) <= 6
    assert all(abs(weight) < 100 for step in table.steps for _, _, weight in step.next)


def test_only_the_ancestral_samplers_draw_noise(config: dict[str, Any]) -> None:
    noisy = {
        name for name in RECIPES if any(step.noise for step in sampler_table(name, config, 4).steps)
    }
    assert noisy == {"euler_ancestral", "lcm"}


def test_a_bundle_has_every_step_count_of_every_sampler(tiny_bundle: Path) -> None:
    manifest = Manifest.model_validate_json((tiny_bundle / "manifest.json").read_bytes())
    assert [sampler.name for sampler in manifest.samplers] == list(RECIPES)
    for sampler in manifest.samplers:
        tables = SamplerTables.model_validate_json((tiny_bundle / sampler.file.url).read_bytes())
        assert list(tables.tables) == [str(steps) for steps in range(1, MAX_STEPS + 1)]
        assert all(len(table.steps) == int(steps) for steps, table in tables.tables.items())
