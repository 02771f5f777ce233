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


ALIKE = torch.ones(1000)


def draw(
    cache: Cache,
    step: int,
    seed: int = 0,
    dropout: float = 0.0,
    weights: torch.Tensor = ALIKE,
    least_strength: float = 1,
) -> Batch:
    return batch_at(
        cache,
        step,
        seed=seed,
        batch_size=4,
        timestep_weights=weights,
        caption_dropout=dropout,
        least_strength=least_strength,
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


def test_weights_say_how_much_a_timestep_counts(cache: Cache) -> None:
    weights = torch.linspace(0.1, 10, 1000) ** 2
    batches = [draw(cache, step, weights=weights) for step in range(3000)]
    timesteps = torch.cat([batch.timesteps for batch in batches])
    counted = torch.cat([batch.weights for batch in batches])
    for quantity in (torch.ones(1000), torch.arange(1000.0), torch.linspace(-1, 1, 1000).cos()):
        expected = (weights * quantity).mean()
        torch.testing.assert_close(
            (counted * quantity[timesteps]).mean(), expected, rtol=0.02, atol=0
        )
    often = (timesteps >= 500).float().mean()
    assert often == pytest.approx(0.75, abs=0.01)  # sqrt(w) is a ramp: 3 of 4 in its upper half


def test_timesteps_of_no_weight_are_not_drawn(cache: Cache) -> None:
    weights = torch.zeros(1000)
    weights[300:400] = 1
    for step in range(50):
        batch = draw(cache, step, weights=weights)
        assert ((batch.timesteps >= 300) & (batch.timesteps < 400)).all()
        assert batch.weights.tolist() == pytest.approx([0.1] * 4)


def test_captions_are_dropped_at_the_asked_rate(cache: Cache) -> None:
    states = torch.cat([draw(cache, s, dropout=0.25).encoder_hidden_states for s in range(200)])
    dropped = (states == -1).all(dim=(1, 2)).float().mean()
    assert 0.2 < dropped < 0.3  # 800 draws: 3 sigma is 0.046


def test_strengths_fill_the_range_and_change_nothing_else(cache: Cache) -> None:
    batches = [draw(cache, step, least_strength=0.6) for step in range(400)]
    strengths = torch.tensor([batch.strength for batch in batches])
    shares = torch.histc(strengths, bins=4, min=0.6, max=1.0) / 400
    assert shares.sum() == 1
    assert ((shares > 0.18) & (shares < 0.32)).all()  # 3 sigma is 0.065
    at_one = draw(cache, 7)
    assert at_one.strength == 1
    assert torch.equal(at_one.noise, batches[7].noise)
    assert torch.equal(at_one.timesteps, batches[7].timesteps)
