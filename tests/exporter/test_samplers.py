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


def diffusers_run(scheduler: Any, steps: int, seed: int) -> Float32:
    """The loop of `StableDiffusionPipeline`, with its generator."""
    generator = torch.Generator().manual_seed(seed)
    scheduler.set_timesteps(steps)
    latents = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    extra = {"generator": generator} if takes_generator else {}
    for timestep in scheduler.timesteps:
        given = scheduler.scale_model_input(latents, timestep)
        output = torch.from_numpy(denoise(given.numpy(), float(timestep)))
        latents = scheduler.step(output, timestep, latents, **extra).prev_sample
    return latents.numpy()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [1, 2, 3, 8, 20, 50])
@pytest.mark.parametrize("name", RECIPES)
# Schedulers warn that few steps lower their order; that is what is being compared.
@pytest.mark.filterwarnings("ignore")
def test_a_table_is_the_scheduler(
    name: str, steps: int, prediction: str, config: dict[str, Any]
) -> None:
    config = config | {"prediction_type": prediction}
    table = sampler_table(name, config, steps)
    generator = Generator(7)
    found = samplers.run(table, lambda: generator.randn(SHAPE), denoise)
    expected = diffusers_run(make_scheduler(name, config), steps, 7)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


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
