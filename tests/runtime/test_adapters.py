"""Each kind's formula on one layer, held against torch and PEFT; files are for other tests."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from runtime.adapters import (
    Adapter,
    BiasedModule,
    DoraModule,
    FullModule,
    Ia3Module,
    LoraModule,
    low_rank_of,
)
from tests.runtime.conftest import normals

some = normals(5)
STRENGTHS = (-0.5, 0.0, 0.7, 1.0)

WEIGHT = some(6, 4, 3, 3)
LORA = LoraModule(down=some(2, 4, 3, 3), up=some(6, 2, 1, 1), alpha=1)


def merged_by_torch(lora: LoraModule, x: torch.Tensor, strength: float) -> torch.Tensor:
    """A LoCon layer as kohya runs it: two convolutions beside the layer's own."""
    conv = torch.nn.functional.conv2d
    down, up = torch.from_numpy(lora.down), torch.from_numpy(lora.up)
    return conv(x, torch.from_numpy(WEIGHT)) + strength * lora.scale * conv(conv(x, down), up)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_merged_convolution_computes_what_two_beside_it_do(strength: float) -> None:
    x = torch.from_numpy(some(1, 4, 5, 5))
    found = torch.nn.functional.conv2d(x, torch.from_numpy(LORA.apply(WEIGHT, strength)))
    assert found.numpy() == pytest.approx(merged_by_torch(LORA, x, strength).numpy(), abs=1e-4)


def test_a_low_rank_form_is_the_change() -> None:
    low_rank = LORA.low_rank()
    assert low_rank.A.shape == (36, 2)
    assert low_rank.B.shape == (2, 6)
    assert low_rank.apply(WEIGHT, 0.7) == pytest.approx(LORA.apply(WEIGHT, 0.7), abs=1e-5)
    x = some(3, 36)
    assert LORA.added(x) == pytest.approx(x @ low_rank.A @ low_rank.B, abs=1e-4)


def test_factors_of_unlike_sizes_meet_in_the_middle_exactly() -> None:
    up, down = some(6, 3), some(3, 8)
    up[:, 1], down[2] = 0, 0  # ranks that do nothing stay as they are
    low_rank = low_rank_of(up * np.float32(2**-12), down * np.float32(2**4), 2**-7)
    sides = np.abs(low_rank.A).max(axis=0), np.abs(low_rank.B).max(axis=1)
    assert 0.25 <= sides[0][0] / sides[1][0] <= 4
    exact = (up.astype(float) @ down.astype(float)) * 2.0**-15
    assert pytest.approx(exact, rel=1e-12, abs=1e-18) == (low_rank.A.astype(float) @ low_rank.B).T


def test_without_alpha_the_scale_is_one_and_a_scalar_counts() -> None:
    assert replace(LORA, alpha=None).scale == 1
    assert replace(LORA, alpha=None, scalar=0.25).scale == 0.25
    assert replace(LORA, alpha=3.0, scalar=0.5).scale == 3 / 2 * 0.5


def test_dora_at_full_strength_is_what_peft_merges() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(8, 5, bias=False))
    base = layer[0].weight.detach().numpy().copy()
    config = LoraConfig(
        r=2, lora_alpha=3, use_dora=True, init_lora_weights=False, target_modules=["0"]
    )
    model = get_peft_model(layer, config)
    adapted = model.base_model.model[0]
    with torch.no_grad():
        adapted.lora_magnitude_vector["default"].weight.mul_(torch.rand(5) + 0.5)
    down, up = (side["default"].weight for side in (adapted.lora_A, adapted.lora_B))
    magnitude = adapted.lora_magnitude_vector["default"].weight
    ours = DoraModule(
        LoraModule(down.detach().numpy(), up.detach().numpy(), alpha=3),
        magnitude.detach().numpy().copy(),
        "out",
    )
    merged = model.merge_and_unload()[0].weight.detach().numpy()
    assert ours.apply(base, 1) == pytest.approx(merged, abs=1e-5)
    assert ours.apply(base, 0) == pytest.approx(base, abs=1e-7)
    halfway = (ours.apply(base, 1) + base) / 2
    assert ours.apply(base, 0.5) == pytest.approx(halfway, abs=1e-6)


def test_dora_over_inputs_gives_each_input_its_magnitude() -> None:
    magnitude = np.abs(some(4)) + 0.1
    found = DoraModule(LORA, magnitude, "in").apply(WEIGHT, 1)
    norms = torch.linalg.vector_norm(torch.from_numpy(found), dim=(0, 2, 3))
    assert norms.numpy() == pytest.approx(magnitude, abs=1e-5)
    assert DoraModule(LORA, magnitude, "in").fits(4, 9, 6)
    assert not DoraModule(LORA, magnitude, "out").fits(4, 9, 6)


@pytest.mark.parametrize("on_input", [True, False])
def test_ia3_scales_what_goes_in_or_what_comes_out(on_input: bool) -> None:
    vector = some(4 if on_input else 6)
    x = torch.from_numpy(some(1, 4, 5, 5))
    factor = torch.from_numpy(1 + np.float32(0.7) * vector)[None, :, None, None]
    weight = torch.from_numpy(WEIGHT)
    conv = torch.nn.functional.conv2d
    expected = conv(x * factor, weight) if on_input else conv(x, weight) * factor
    merged = torch.from_numpy(Ia3Module(vector, on_input).apply(WEIGHT, 0.7))
    assert conv(x, merged).numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_only_some_kinds_touch_the_bias() -> None:
    bias, change = some(6), some(6)
    assert not LORA.touches_bias
    assert (LORA.apply_bias(bias, 0.5) == bias).all()
    biased = BiasedModule(LORA, change)
    assert biased.touches_bias
    assert biased.apply_bias(bias, -0.5) == pytest.approx(bias - 0.5 * change)
    assert (biased.apply(WEIGHT, 0.7) == LORA.apply(WEIGHT, 0.7)).all()
    assert not biased.fits(4, 9, 5)
    scaled = Ia3Module(change, on_input=False, scales_bias=True)
    assert scaled.apply_bias(bias, 0.5) == pytest.approx(bias * (1 + 0.5 * change))


@pytest.mark.parametrize(
    ("adapter", "size"),
    [
        (LORA, "4 -> 6 (3x3)"),
        (FullModule(some(6, 4)), "4 -> 6"),
        (DoraModule(LORA, some(6), "out"), "4 -> 6 (3x3) with 6 magnitudes over outputs"),
        (Ia3Module(some(4), on_input=True), "for 4 inputs"),
        (BiasedModule(FullModule(some(6, 4)), some(6)), "4 -> 6 with a bias of 6"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_sizes_are_told_in_words(adapter: Adapter, size: str) -> None:
    assert adapter.size == size
    has_factors = isinstance(adapter, LoraModule)
    assert (adapter.low_rank() is not None) == has_factors
