"""The diffusion loss, in the symbols of DDPM (arXiv 2006.11239) and min-SNR (2303.09556)."""

import math
from typing import Any

import torch

from trainer.batches import Batch


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


def loss_weight(timesteps: torch.Tensor, schedule: Any, gamma: float) -> torch.Tensor:
    """Min-SNR weight [B] of each example; ones for `gamma` 0.

    The weight is min(SNR, gamma) in the space of x_0, divided by what the squared error of the
    prediction type already contains: SNR for epsilon, SNR + 1 for v, 1 for the sample.
    """
    if gamma == 0:
        return torch.ones(len(timesteps), device=timesteps.device)
    alphas_cumprod = schedule.alphas_cumprod.to(timesteps.device)[timesteps]
    snr = alphas_cumprod / (1 - alphas_cumprod)
    contained = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}
    weight: torch.Tensor = snr.clamp(max=gamma) / contained[schedule.config.prediction_type]
    return weight


def learning_rate_at(step: int, peak: float, warmup_steps: int, steps: int) -> float:
    """Linear warm-up over `warmup_steps`, then a cosine to zero behind the last step."""
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
