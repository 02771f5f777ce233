import shutil
from pathlib import Path

import numpy as np
import pytest
from diffusers import UNet2DConditionModel

from exporter.merge import merged, original_weights, stored
from runtime.bundle import Bundle
from runtime.errors import BadFile
from runtime.lora import LowRank
from runtime.manifest import Slot


@pytest.fixture
def slots(bundle: Bundle) -> dict[str, Slot]:
    return {slot.name: slot for slot in bundle.slot_table().slots}


def adapter(slot: Slot) -> LowRank:
    random = np.random.default_rng(0)
    return LowRank(
        A=random.normal(size=(slot.in_width, 3)).astype(np.float32),
        B=random.normal(size=(3, slot.out_width)).astype(np.float32),
    )


def test_original_weights_are_the_models(
    slots: dict[str, Slot], tiny_base: Path, tiny_unet: UNet2DConditionModel
) -> None:
    found = list(original_weights(tiny_base, slots))
    assert [slot.name for slot, _ in found] == list(slots)
    for slot, weight in found:
        expected = tiny_unet.get_submodule(slot.name).weight.numpy()
        np.testing.assert_array_equal(weight, expected.T if slot.weight.transposed else expected)


def test_merging_follows_the_layout(slots: dict[str, Slot]) -> None:
    for slot in slots.values():
        low_rank = adapter(slot)
        delta = 0.5 * low_rank.A @ low_rank.B
        weight = merged(np.ones(slot.weight.shape, np.float16), slot, low_rank, 0.5)
        assert weight.dtype == np.float32
        plain = weight if slot.weight.transposed else weight.reshape(weight.shape[:2]).T
        np.testing.assert_allclose(plain, 1 + delta, rtol=1e-6, atol=1e-6)


def test_a_weight_that_fp16_cannot_hold_is_refused(slots: dict[str, Slot]) -> None:
    slot = next(iter(slots.values()))
    with pytest.raises(BadFile, match="lower strength"):
        stored(np.full(slot.weight.shape, 1e5, np.float32), slot)


def test_a_base_without_the_weights_is_refused(
    slots: dict[str, Slot], tiny_base: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "tiny")
    path = base / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes((base / "vae" / "diffusion_pytorch_model.safetensors").read_bytes())
    with pytest.raises(BadFile, match="has no weight of"):
        list(original_weights(base, slots))
    path.unlink()
    with pytest.raises(BadFile, match="has no weight of"):
        list(original_weights(base, slots))
