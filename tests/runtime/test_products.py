"""LoHa and LoKr at the module's own level: torch computes what they are held against."""

import numpy as np
import pytest
import torch

from runtime.products import Factors, LohaModule, LokrModule
from tests.runtime.conftest import normals

some = normals(3)


def loha(outs: int, ins: int, rank: int, alpha: float | None = 3, scalar: float = 1) -> LohaModule:
    up1, up2 = some(outs, rank), some(outs, rank)
    return LohaModule(up1, some(rank, ins), up2, some(rank, ins), alpha, scalar=scalar)


def expected(module: LohaModule | LokrModule) -> np.ndarray:
    if isinstance(module, LohaModule):
        halves = (module.up1, module.down1), (module.up2, module.down2)
        one, two = (torch.from_numpy(up) @ torch.from_numpy(down) for up, down in halves)
        return module.scale * (one * two).numpy()
    one, two = (torch.from_numpy(w.matrix()) for w in (module.w1, module.w2))
    return module.scale * torch.kron(one, two).numpy()


def test_loha_is_a_product_by_elements_that_alpha_scales_once() -> None:
    module = loha(outs=12, ins=20, rank=3, alpha=6, scalar=0.5)
    assert (module.outs, module.ins, module.rank) == (12, 20, 3)
    assert module.scale == 6 / 3 * 0.5
    assert module.delta() == pytest.approx(expected(module), abs=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_ranks_of_loha_multiply(rank: int) -> None:
    module = loha(outs=12, ins=20, rank=rank)
    low_rank = module.low_rank()
    assert low_rank is not None
    assert low_rank.A.shape == (20, rank**2)
    assert low_rank.B.shape == (rank**2, 12)
    assert pytest.approx(expected(module), abs=1e-5) == (low_rank.A @ low_rank.B).T


def test_loha_of_a_rank_that_the_layer_has_not_gives_no_factors() -> None:
    assert loha(outs=12, ins=20, rank=4).low_rank() is None


@pytest.mark.parametrize(("outs", "ins"), [(4, 16), (16, 4)])
def test_a_narrow_layer_gives_its_matrix_beside_an_identity(outs: int, ins: int) -> None:
    module = loha(outs, ins, rank=3)
    low_rank = module.low_rank()
    assert low_rank is not None
    assert low_rank.A.shape == (ins, 4)
    assert pytest.approx(expected(module), abs=1e-5) == (low_rank.A @ low_rank.B).T


W1 = Factors(some(4, 2))
W2 = Factors(some(6, 5))


@pytest.mark.parametrize(
    ("w1", "w2", "rank"),
    [
        (W1, Factors(some(6, 3), some(3, 5)), 3),
        (Factors(some(4, 1), some(1, 2)), W2, 1),
        (Factors(some(4, 1), some(1, 2)), Factors(some(6, 1), some(1, 5)), 1),
        (W1, W2, None),
    ],
    ids=["right decomposed", "left decomposed", "both", "neither"],
)
def test_lokr_is_a_kronecker_product(w1: Factors, w2: Factors, rank: int | None) -> None:
    module = LokrModule(w1, w2, alpha=6)
    assert (module.outs, module.ins, module.rank) == (24, 10, rank)
    assert module.scale == (1 if rank is None else 6 / rank)
    assert module.delta() == pytest.approx(expected(module), abs=1e-5)
    low_rank = module.low_rank()
    ranks = w1.rank * w2.rank
    assert (low_rank is None) == (ranks >= 10)
    if low_rank is not None:
        assert low_rank.A.shape == (10, ranks)
        assert pytest.approx(expected(module), abs=1e-5) == (low_rank.A @ low_rank.B).T


@pytest.mark.parametrize("shape", [(6, 2), (2, 6)])
def test_factors_wider_than_their_matrix_are_shortened(shape: tuple[int, int]) -> None:
    rows, columns = shape
    wide = Factors(some(rows, 5), some(5, columns))
    assert (wide.shape, wide.rank) == (shape, 2)
    left, right = wide.shortest()
    assert (left.shape[1], right.shape[0]) == (2, 2)
    assert left @ right == pytest.approx(wide.matrix(), abs=1e-6)


def test_a_kernel_is_part_of_the_fit() -> None:
    up, down = some(8, 2), some(2, 4 * 9)
    module = LohaModule(up, down, up, down, alpha=None, kernel=(3, 3))
    assert module.fits(4, 9, 8)
    assert not module.fits(36, 1, 8)
    weight = some(8, 4, 3, 3)
    change = expected(module).reshape(weight.shape)
    assert module.apply(weight, -0.5) == pytest.approx(weight - 0.5 * change, abs=1e-5)
