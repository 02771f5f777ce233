from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.schedulers import scheduling_euler_ancestral_discrete as ancestral
from diffusers.schedulers.scheduling_ddim import DDIMScheduler as Ddim

from exporter.unit_runs import noised, unit_run
from runtime.errors import BrushletError


def ddim(steps: int) -> DDIMScheduler:
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False)
    scheduler.set_timesteps(steps)
    return scheduler


def test_ddim_is_its_formula() -> None:
    """arXiv 2010.02502, equation 12 without noise."""
    scheduler = ddim(5)
    alphas = scheduler.alphas_cumprod.double().numpy()
    before = np.eye(11)[0]
    for i, run in unit_run(scheduler):
        t = int(scheduler.timesteps[i])
        a, b = alphas[t], alphas[t - 200] if t >= 200 else float(scheduler.final_alpha_cumprod)
        output = run.vectors["e", i]
        clean = (before - np.sqrt(1 - a) * output) / np.sqrt(a)
        expected = np.sqrt(b) * clean + np.sqrt(1 - b) * output
        np.testing.assert_allclose(run.vectors["x", i + 1], expected, atol=1e-6)
        before = run.vectors["x", i + 1]


def test_the_scheduler_is_left_as_it_was() -> None:
    scheduler = ddim(4)
    before = {key: str(value) for key, value in vars(scheduler).items()}
    assert len(list(unit_run(scheduler))) == 4
    assert {key: str(value) for key, value in vars(scheduler).items()} == before


def test_a_picture_is_noised_as_the_schedule_says() -> None:
    scheduler = ddim(4)
    a = float(scheduler.alphas_cumprod[scheduler.timesteps[1]])
    assert noised(scheduler, 1) == pytest.approx((a**0.5, (1 - a) ** 0.5), rel=1e-6)


class Twice(Ddim):
    """Draws noise twice in a step."""

    def step(self, output: Any, timestep: Any, sample: Any, **_: Any) -> Any:
        noise = [ancestral.randn_tensor(sample.shape, dtype=sample.dtype) for _ in range(2)]
        return SimpleNamespace(prev_sample=sample + torch.stack(noise).sum(0))


Twice.__module__ = ancestral.__name__


def test_two_draws_in_a_step_have_no_table() -> None:
    scheduler = Twice(clip_sample=False)
    scheduler.set_timesteps(2)
    with pytest.raises(BrushletError, match="Twice draws noise twice in a step"):
        list(unit_run(scheduler))
