from pathlib import Path

import numpy as np
import pytest

from exporter.golden import golden_inputs
from exporter.parity import TOLERANCE
from runtime.bundle import Bundle
from runtime.golden import check_golden, golden_error, golden_feeds
from runtime.unet import UNet


def test_every_variant_passes_its_golden_vector_in_the_runtime(bundle: Bundle) -> None:
    for variant in bundle.manifest.unet:
        assert check_golden(bundle, UNet(bundle, variant)) <= TOLERANCE["fp32"]


def test_a_golden_vector_has_all_inputs_of_its_unet(
    inpainting_bundle: Path, lcm_bundle: Path
) -> None:
    """Nine channels, or the guidance, which has to show."""
    inpainting, lcm = Bundle.open(inpainting_bundle), Bundle.open(lcm_bundle)
    feeds, expected = golden_feeds(inpainting, inpainting.manifest.variant("base"))
    assert (feeds["sample"].shape[1], expected.shape[1]) == (9, 4)
    for bundle in (inpainting, lcm):
        for variant in bundle.manifest.unet:
            unet = UNet(bundle, variant)
            assert golden_error(bundle, unet) <= TOLERANCE["fp32"]
    feeds, expected = golden_feeds(lcm, variant)
    feeds["timestep_cond"] = np.zeros_like(feeds["timestep_cond"])
    output = unet.step(feeds)
    assert np.abs(output - expected).max() > 10 * TOLERANCE["fp16"] * np.abs(expected).max()


def test_the_golden_lora_shows(bundle: Bundle) -> None:
    """A provider that loses the LoRA inputs must fail the vector by far."""
    variant = bundle.manifest.variant("base")
    feeds, expected = golden_feeds(bundle, variant)
    for slot in bundle.slot_table().slots:
        feeds[slot.input_b] = np.zeros_like(feeds[slot.input_b])
    output = UNet(bundle, variant).step(feeds)
    error = np.abs(output - expected).max() / np.abs(expected).max()
    assert error > 10 * variant.golden.tolerance_fp16


@pytest.mark.parametrize(
    ("sample_size", "levels", "expected"), [(8, 2, (8, 4)), (64, 4, (16, 8)), (16, 3, (16, 8))]
)
def test_inputs_are_not_square_and_once_not_to_be_halved(
    sample_size: int, levels: int, expected: tuple[int, int]
) -> None:
    config = {
        "sample_size": sample_size,
        "block_out_channels": [1] * levels,
        "in_channels": 4,
        "cross_attention_dim": 32,
    }
    inputs = golden_inputs(config, 1000)
    assert [feeds["timestep"].item() for feeds in inputs.values()] == [980, 500, 20]
    height, width = expected
    odd = (2, 4, height - 1, width - 1)
    even = (2, 4, height, width)
    assert [feeds["sample"].shape for feeds in inputs.values()] == [odd, even, even]
