import pytest
import torch
from diffusers import DDPMScheduler

from trainer.batches import Batch
from trainer.objective import Weighting, learning_rate_at, target, timestep_weights

TIMESTEPS = torch.tensor([0, 500, 999])


def schedule(prediction_type: str) -> DDPMScheduler:
    return DDPMScheduler(beta_schedule="scaled_linear", prediction_type=prediction_type)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_min_snr_is_the_same_weight_in_the_space_of_x0(prediction_type: str) -> None:
    """An error of the prediction, turned into one of x_0, is weighted by min(SNR, gamma)."""
    noises = schedule(prediction_type)
    alphas = noises.alphas_cumprod[TIMESTEPS]
    snr = alphas / (1 - alphas)
    # x_0 error for a unit error of eps, v and x_0 (DDPM eq. 4; arXiv 2202.00512, appendix D).
    x0_error = {"epsilon": 1 / snr, "v_prediction": 1 - alphas, "sample": torch.ones(3)}
    expected = snr.clamp(max=5) * x0_error[prediction_type]
    torch.testing.assert_close(timestep_weights(noises, "min_snr", 5.0)[TIMESTEPS], expected)


@pytest.mark.parametrize("weighting", ["uniform", "min_snr", "velocity"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_weights_are_numbers_to_the_end_of_a_schedule_without_signal(
    prediction_type: str, weighting: Weighting
) -> None:
    noises = DDPMScheduler(
        beta_schedule="scaled_linear", prediction_type=prediction_type, rescale_betas_zero_snr=True
    )
    weights = timestep_weights(noises, weighting)
    assert weights.isfinite().all()
    if weighting == "min_snr":
        last = {"epsilon": 1.0, "v_prediction": 0.0, "sample": 0.0}[prediction_type]
        assert weights[-1].item() == pytest.approx(last, abs=1e-6)


def test_uniform_weighs_all_alike() -> None:
    assert timestep_weights(schedule("epsilon"), "uniform").tolist() == [1] * 1000


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_velocity_is_the_error_of_v(prediction_type: str) -> None:
    """A unit error of eps, v or x_0 as the error it makes of v, up to a cap."""
    noises = schedule(prediction_type)
    alphas = noises.alphas_cumprod[TIMESTEPS]
    of_v = {"epsilon": 1 / alphas, "v_prediction": torch.ones(3), "sample": 1 / (1 - alphas)}
    expected = of_v[prediction_type].clamp(max=100)
    torch.testing.assert_close(timestep_weights(noises, "velocity")[TIMESTEPS], expected)


def test_target_follows_the_prediction_type() -> None:
    latents, noise = torch.randn(2, 3, 4, 2, 2)
    batch = Batch(latents, noise, TIMESTEPS, torch.ones(3), torch.zeros(3, 1, 1))
    noises = schedule("v_prediction")
    alphas = noises.alphas_cumprod[TIMESTEPS][:, None, None, None]
    velocity = alphas.sqrt() * noise - (1 - alphas).sqrt() * latents
    torch.testing.assert_close(target(batch, noises), velocity)
    assert target(batch, schedule("epsilon")) is noise
    assert target(batch, schedule("sample")) is latents


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    rates = [learning_rate_at(step, 1.0, 4, 24) for step in range(25)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[14] == pytest.approx(0.5)
    assert rates[24] == pytest.approx(0, abs=1e-12)
