import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import UNet2DConditionModel

from exporter.merge import Merge, Originals, merged, stored
from exporter.pipeline import fill
from exporter.shards import Shards
from exporter.staging import Stage
from runtime.bundle import Bundle
from runtime.errors import BadFile
from runtime.lora import LowRank
from runtime.manifest import Slot
from runtime.tensors import Array, read_tensors, write_tensors


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
    originals = Originals(tiny_base, "unet")
    for slot in slots.values():
        weight = originals.weight(slot)
        expected = tiny_unet.get_submodule(slot.name).weight.numpy()
        laid_out = expected.reshape(len(expected), -1).T if slot.weight.transposed else expected
        np.testing.assert_array_equal(weight, laid_out.reshape(slot.weight.shape))


def test_weights_go_into_a_unet_as_they_came_out(
    slots: dict[str, Slot], tiny_base: Path, tiny_unet: UNet2DConditionModel
) -> None:
    before = {name: value.clone() for name, value in tiny_unet.state_dict().items()}
    originals = Originals(tiny_base, "unet")
    weights = {name: (slot, originals.weight(slot)) for name, slot in slots.items()}
    for name in weights:
        tiny_unet.get_submodule(name).weight.data.zero_()
    fill(tiny_unet, weights)
    for name, value in tiny_unet.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())


def test_what_a_base_has_in_fp16_is_read_from_the_bundle(
    slots: dict[str, Slot], tiny_base: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    """It is the same, laid out already; of an fp32 base it would be rounded twice."""
    half = shutil.copytree(tiny_base, tmp_path / "half")
    path = half / "unet" / "diffusion_pytorch_model.safetensors"
    tensors, metadata = read_tensors(path)
    halves = {name: array.astype(np.float16) for name, array in tensors.items()}
    write_tensors(path, halves, metadata)
    for slot in slots.values():
        expected = Originals(half, "unet").weight(slot)
        np.testing.assert_array_equal(Originals(half, "unet").weight(slot, tiny_bundle), expected)
        exact = Originals(tiny_base, "unet").weight(slot, tiny_bundle)
        np.testing.assert_array_equal(exact, Originals(tiny_base, "unet").weight(slot))
    elsewhere = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError):  # so it is read there
        Originals(half, "unet").weight(slot, elsewhere)


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
    with pytest.raises(BadFile, match="has no tensor 'down_blocks"):
        Originals(base, "unet").weight(next(iter(slots.values())))
    path.unlink()
    with pytest.raises(BadFile, match="cannot be read"):
        Originals(base, "unet").weight(next(iter(slots.values())))


def test_what_is_written_is_held_against_what_was_merged(
    bundle: Bundle, slots: dict[str, Slot], tiny_base: Path, tmp_path: Path
) -> None:
    changed = dict(list(slots.items())[::3])
    adapters = {name: adapter(slot) for name, slot in changed.items()}
    merge = Merge(bundle.folder, tiny_base, bundle.slot_table(), adapters, 0.1)
    done: list[None] = []
    stage = Stage(tmp_path, tmp_path)
    places = Shards(stage).write(merge.weights(lambda: done.append(None)))
    assert len(done) == len(changed)
    for slot, weight in merge.changed(tmp_path, places).values():
        np.testing.assert_array_equal(
            weight,
            stored(merged(original(tiny_base, slot), slot, adapters[slot.name], 0.1), slot),
        )
    assert merge.parity("x", tmp_path, places).passed
    one, other = (f"{name}.weight" for name in list(changed)[2:4])
    swapped = {**places, one: replace(places[other], shape=places[one].shape)}
    assert not merge.parity("x", tmp_path, swapped).passed


def original(base: Path, slot: Slot) -> Array:
    return Originals(base, "unet").weight(slot)
