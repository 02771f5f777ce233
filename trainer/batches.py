"""What each step trains on: a function of seed and step alone, so that a resume is exact."""

from dataclasses import dataclass

import numpy as np
import torch

from trainer.latents import Cache


@dataclass(frozen=True)
class Batch:
    """One step's data; B pictures, all on the training device."""

    latents: torch.Tensor
    """[B, C, h, w], in UNet space."""
    noise: torch.Tensor
    """Standard normal, like `latents`."""
    timesteps: torch.Tensor
    """int64 [B]."""
    weights: torch.Tensor
    """[B]; their mean product with a quantity is the weighted mean of it over the schedule."""
    encoder_hidden_states: torch.Tensor
    """[B, T, D]."""
    strength: float = 1
    """The one at which the adapters act."""


def generator_for(*key: int) -> torch.Generator:
    """A CPU generator whose stream depends on every number of `key`.

    torch's own generator would only look at the seed's lower 32 bits.
    """
    state = np.random.SeedSequence(key).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))


def batch_at(
    cache: Cache,
    step: int,
    *,
    seed: int,
    batch_size: int,
    timestep_weights: torch.Tensor,
    caption_dropout: float,
    least_strength: float = 1,
) -> Batch:
    """The batch of `step` (from 0). Every picture comes once before any comes again.

    A timestep of weight w (`timestep_weights`, [T]) is drawn as often as sqrt(w) says and counts
    sqrt(w), so that no single example rules the batch (importance sampling, arXiv 2102.09672,
    section 3.3). The draws are stratified, one from each of B equally likely parts of the schedule,
    which makes the loss less noisy than independent ones (arXiv 2107.00630, appendix I.1).
    """
    generator = generator_for(seed, 1, step)
    places = range(step * batch_size, (step + 1) * batch_size)
    picked = torch.tensor([_picture(cache.pictures, place, seed) for place in places])
    variant = torch.randint(cache.variants, (batch_size,), generator=generator)
    stored = variant * cache.pictures + picked

    posterior_noise, noise = torch.randn(
        (2, batch_size, *cache.mean.shape[1:]), generator=generator
    ).to(cache.mean.device)
    latents = cache.mean[stored] + cache.std[stored] * posterior_noise

    shift = torch.rand(1, generator=generator)
    shares = (torch.randperm(batch_size, generator=generator) + shift) / batch_size
    likely = timestep_weights.to("cpu", torch.float64).sqrt()
    below = likely.cumsum(0)
    timesteps = torch.searchsorted(below, shares * below[-1], right=True).clamp_(
        max=len(likely) - 1
    )
    weights = (likely[timesteps] * likely.mean()).float()

    dropped = torch.rand(batch_size, generator=generator) < caption_dropout
    embeddings = torch.where(
        dropped[:, None, None].to(cache.empty.device), cache.empty, cache.embeddings[picked]
    )
    share = torch.rand(1, generator=generator).item()
    return Batch(
        latents=latents * cache.scaling_factor,
        noise=noise,
        timesteps=timesteps.to(cache.mean.device),
        weights=weights.to(cache.mean.device),
        encoder_hidden_states=embeddings,
        strength=least_strength + (1 - least_strength) * share,
    )


def _picture(pictures: int, place: int, seed: int) -> int:
    epoch, position = divmod(place, pictures)
    order = torch.randperm(pictures, generator=generator_for(seed, 2, epoch))
    return int(order[position])
