import pytest
import torch

from trainer.batches import Batch, batch_at
from trainer.latents import Cache

PICTURES = 5


@pytest.fixture
def cache() -> Cache:
    """Picture i has latents of value i, its mirror image of 10 + i, and no spread."""
    values = torch.cat([torch.arange(PICTURES), 10 + torch.arange(PICTURES)]).float()
    mean = values[:, None, None, None].expand(-1, 4, 2, 2)
    captions = torch.arange(PICTURES).float()[:, None, None].expand(-1, 3, 2)
    return Cache(mean, torch.zeros_like(mean), captions, torch.full((3, 2), -1.0), 2.0)


def draw(cache: Cache, step: int, seed: int = 0, dropout: float = 0.0) -> Batch:
    return batch_at(
        cache, step, seed=seed, batch_size=4, num_train_timesteps=1000, caption_dropout=dropout
    )


def test_a_step_is_a_function_of_seed_and_step(cache: Cache) -> None:
    assert torch.equal(draw(cache, 7).noise, draw(cache, 7).noise)
    assert not torch.equal(draw(cache, 7).noise, draw(cache, 8).noise)
    assert not torch.equal(draw(cache, 7).noise, draw(cache, 7, seed=1 << 40).noise)


def test_every_picture_comes_once_an_epoch_and_with_its_caption(cache: Cache) -> None:
    batches = [draw(cache, step) for step in range(PICTURES)]  # 20 places: 4 epochs of 5
    latents = torch.cat([batch.latents[:, 0, 0, 0] for batch in batches]) / cache.scaling_factor
    seen = latents.remainder(10)
    assert sorted(seen.tolist()) == sorted([0.0, 1.0, 2.0, 3.0, 4.0] * 4)
    assert sorted(seen[:PICTURES].tolist()) == [0, 1, 2, 3, 4]
    captions = torch.cat([batch.encoder_hidden_states[:, 0, 0] for batch in batches])
    assert torch.equal(captions, seen)
    assert (latents >= 10).any()
    assert (latents < 10).any()


def test_timesteps_cover_the_schedule_evenly(cache: Cache) -> None:
    for step in range(20):
        assert sorted((draw(cache, step).timesteps // 250).tolist()) == [0, 1, 2, 3]


def test_captions_are_dropped_at_the_asked_rate(cache: Cache) -> None:
    states = torch.cat([draw(cache, s, dropout=0.25).encoder_hidden_states for s in range(200)])
    dropped = (states == -1).all(dim=(1, 2)).float().mean()
    assert 0.2 < dropped < 0.3  # 800 draws: 3 sigma is 0.046
