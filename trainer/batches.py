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
    encoder_hidden_states: torch.Tensor
    """[B, T, D]."""


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
    num_train_timesteps: int,
    caption_dropout: float,
) -> Batch:
    """The batch of `step` (from 0). Every picture comes once before any comes again.

    Timesteps are stratified over the batch, one from each of B equal parts of the schedule,
    which makes the loss less noisy than independent draws (arXiv 2107.00630, appendix I.1).
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
    timesteps = (shares * num_train_timesteps).long().clamp_(max=num_train_timesteps - 1)

    dropped = torch.rand(batch_size, generator=generator) < caption_dropout
    embeddings = torch.where(
        dropped[:, None, None].to(cache.empty.device), cache.empty, cache.embeddings[picked]
    )
    return Batch(
        latents=latents * cache.scaling_factor,
        noise=noise,
        timesteps=timesteps.to(cache.mean.device),
        encoder_hidden_states=embeddings,
    )


def _picture(pictures: int, place: int, seed: int) -> int:
    epoch, position = divmod(place, pictures)
    order = torch.randperm(pictures, generator=generator_for(seed, 2, epoch))
    return int(order[position])
