import random

import numpy as np
import pytest
import torch

from runtime.errors import BrushletError
from runtime.noise import Generator

SEEDS = [0, 1, 42, 2**31, 2**32 - 1, 2**32, 2**40 + 5, 2**63, 2**64 - 1, -1, -(2**63)]
SIZES = [1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 100, 623, 624, 625, 4096, 65537]
LIMIT = 1e-6  # design, section 6; measured 4.8e-7 over 24 million values


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", SIZES)
def test_equals_torch(seed: int, size: int) -> None:
    expected = torch.randn(size, generator=torch.Generator().manual_seed(seed)).numpy()
    found = Generator(seed).randn((size,))
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= LIMIT


def test_consecutive_draws_continue_the_stream_as_torch_does() -> None:
    ours, theirs = Generator(7), torch.Generator().manual_seed(7)
    for size in random.Random(7).choices(SIZES, k=60):
        expected = torch.randn(size, generator=theirs).numpy()
        assert np.abs(ours.randn((size,)) - expected).max() <= LIMIT


def test_shapes_are_filled_in_torch_order() -> None:
    expected = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3)).numpy()
    found = Generator(3).randn((1, 4, 16, 16))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= LIMIT


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_refuses_the_seeds_torch_refuses(seed: int) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        torch.Generator().manual_seed(seed)
    with pytest.raises(BrushletError, match=r"64 bits.*choose one from"):
        Generator(seed)
