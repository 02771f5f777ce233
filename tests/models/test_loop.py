"""The loop that every training of the embedded model shares."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.training.loop import Run


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], Run]:
    def make() -> Run:
        torch.manual_seed(0)
        module = torch.nn.Linear(4, 1)
        return Run("line", module, tmp_path / "line.pt", minutes=60, rate=0.05, warmup=1)

    return make


def learn(run: Run, steps: int) -> list[float]:
    losses = []
    for _, _step in zip(range(steps), run.steps(), strict=False):
        x = torch.from_numpy(run.rng.normal(size=(32, 4)).astype("float32"))
        loss = (run.module(x) - x.sum(1, keepdim=True)).square().mean()
        run.learn(loss)
        losses.append(loss.item())
    return losses


def test_it_learns_and_the_mean_weights_follow(start: Callable[[], Run]) -> None:
    run = start()
    losses = learn(run, 200)
    assert losses[-1] < 0.01 < losses[0]
    mean = torch.nn.Linear(4, 1)
    run.ema.copy_to(mean)
    torch.testing.assert_close(mean.weight, torch.ones(1, 4), atol=0.2, rtol=0)


def test_a_second_start_goes_on_where_the_first_was_saved(start: Callable[[], Run]) -> None:
    first = start()
    losses = learn(first, 60)
    first.save()
    second = start()
    assert second.budget.step == first.budget.step + 1
    assert second.budget.spent == first.budget.spent
    torch.testing.assert_close(second.module.weight, first.module.weight)
    assert learn(second, 5)[0] < losses[0] / 2
    assert second.rng.random() != start().rng.random()
