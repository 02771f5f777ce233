import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from runtime import samplers
from runtime.errors import BadFile
from runtime.manifest import Restart, SamplerStep, SamplerTable
from runtime.noise import Generator
from runtime.tensors import Float32

SHAPE = (1, 4, 8, 8)


def denoise(sample: Float32, timestep: float) -> Float32:
    """Stands in for a UNet: depends on both arguments, not linear."""
    return np.tanh(sample) + np.float32(timestep / 1000)


def table_of(steps: list[SamplerStep], start_scale: float = 1) -> SamplerTable:
    """A run over a picture begins anywhere with the picture alone."""
    restarts = [Restart(image=1, noise=0) for _ in steps]
    return SamplerTable(start_scale=start_scale, steps=steps, restarts=restarts)


def test_ddim_written_as_a_table_is_diffusers_ddim() -> None:
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    scheduler.set_timesteps(10)
    alphas = scheduler.alphas_cumprod.double().numpy()
    steps = []
    for i, t in enumerate(scheduler.timesteps.tolist()):
        a, previous = alphas[t], alphas[t - 100] if t >= 100 else 1.0
        # DDIM, arXiv:2010.02502, equation 12 with sigma = 0.
        x, e = (previous / a) ** 0.5, (1 - previous) ** 0.5 - (previous * (1 - a) / a) ** 0.5
        step = {"input": [("x", i, 1)], "next": [("x", i, x), ("e", i, e)]}
        steps.append(SamplerStep(timestep=t, noise=False, **step))

    found = samplers.run(table_of(steps), lambda: Generator(0).randn(SHAPE), denoise)
    latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        out = torch.from_numpy(denoise(latents.numpy(), float(t)))
        latents = scheduler.step(out, t, latents).prev_sample
    assert np.abs(found - latents.numpy()).max() <= 1e-5 * latents.abs().max()  # measured 1e-6


def test_noise_is_drawn_for_the_start_and_where_a_step_says_so() -> None:
    quiet = SamplerStep(timestep=2, input=[("x", 0, 1)], next=[("x", 0, 1)], noise=False)
    noisy = SamplerStep(timestep=1, input=[("x", 1, 1)], next=[("z", 1, 3)], noise=True)
    draws = iter([np.full(SHAPE, 1.0, np.float32), np.full(SHAPE, 2.0, np.float32)])
    found = samplers.run(table_of([quiet, noisy]), lambda: next(draws), denoise)
    assert (found == 6).all()
    assert next(draws, None) is None


def test_terms_may_reach_back_to_any_earlier_step() -> None:
    far = [
        SamplerStep(timestep=3, input=[("x", 0, 1)], next=[("x", 0, 2)], noise=False),
        SamplerStep(timestep=2, input=[("x", 1, 1)], next=[("x", 1, 2)], noise=False),
        SamplerStep(timestep=1, input=[("x", 2, 1)], next=[("x", 0, 5), ("e", 0, 1)], noise=False),
    ]
    start = np.full(SHAPE, 0.5, np.float32)
    found = samplers.run(table_of(far, start_scale=2), lambda: start, denoise)
    assert found == pytest.approx(5 + np.tanh(1) + 0.003)


def test_every_step_is_reported_with_its_latents() -> None:
    step = SamplerStep(timestep=1, input=[("x", 0, 1)], next=[("x", 0, 0.5)], noise=False)
    seen: list[tuple[int, float]] = []
    samplers.run(
        table_of([step]),
        lambda: np.ones(SHAPE, np.float32),
        denoise,
        lambda done, latents: seen.append((done, float(latents.max()))),
    )
    assert seen == [(1, 0.5)]


@pytest.mark.parametrize("term", [("e", 1, 1.0), ("x", 2, 1.0), ("z", 0, 1.0)])
def test_a_term_that_does_not_exist_yet_is_named(term: tuple[str, int, float]) -> None:
    step = SamplerStep(timestep=1, input=[("x", 0, 1)], next=[term], noise=False)
    table = table_of([step])
    with pytest.raises(BadFile, match=f"step 0 uses {term[0]}{term[1]}"):
        samplers.run(table, lambda: np.ones(SHAPE, np.float32), denoise)
