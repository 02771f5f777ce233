"""The diffusion loss, in the symbols of DDPM (arXiv 2006.11239)."""

import math
from typing import Any, Literal

import torch

from trainer.batches import Batch

Weighting = Literal["uniform", "min_snr", "velocity"]

# At the noisiest timesteps 1 / alpha_bar passes 200, and a few examples would rule the batch.
_VELOCITY_CAP = 100.0
_LEAST_SNR = 1e-8  # a schedule of zero terminal SNR (2305.08891) has weights at its end, too


def target(batch: Batch, schedule: Any) -> torch.Tensor:
    """What the UNet should say, [B, C, h, w], for the schedule's prediction type."""
    match schedule.config.prediction_type:
        case "epsilon":
            return batch.noise
        case "v_prediction":
            velocity: torch.Tensor = schedule.get_velocity(
                batch.latents, batch.noise, batch.timesteps
            )
            return velocity
        case _:
            return batch.latents


def timestep_weights(schedule: Any, weighting: Weighting, gamma: float = 5) -> torch.Tensor:
    """Weight [T] of the squared error at each timestep of the schedule.

    `min_snr` is min(SNR, gamma) in the space of x_0 (2303.09556), `velocity` the error of v
    (2202.00512), SNR + 1 there, at most _VELOCITY_CAP; both are divided by what the squared error
    of the prediction type already contains: SNR for epsilon, SNR + 1 for v, 1 for the sample.
    """
    alphas_cumprod = schedule.alphas_cumprod
    if weighting == "uniform":
        return torch.ones_like(alphas_cumprod)
    snr = (alphas_cumprod / (1 - alphas_cumprod)).clamp(min=_LEAST_SNR)
    contained = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}
    wanted = snr.clamp(max=gamma) if weighting == "min_snr" else snr + 1
    weight: torch.Tensor = wanted / contained[schedule.config.prediction_type]
    return weight.clamp(max=_VELOCITY_CAP) if weighting == "velocity" else weight


def learning_rate_at(step: int, peak: float, warmup_steps: int, steps: int) -> float:
    """Linear warm-up over `warmup_steps`, then a cosine to zero behind the last step."""
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
