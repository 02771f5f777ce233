import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from runtime.bundle import Bundle
from runtime.errors import ParityMissed
from runtime.golden import check_golden, golden_error, golden_feeds
from runtime.unet import UNet


def test_the_feeds_are_the_step_that_pytorch_took(
    bundle: Bundle, tiny_unet: UNet2DConditionModel
) -> None:
    feeds, expected = golden_feeds(bundle, bundle.manifest.variant("base"))
    for slot in bundle.slot_table().slots:
        weight = tiny_unet.get_submodule(slot.name).weight
        delta = feeds[slot.input_a] @ feeds[slot.input_b]
        weight.data += torch.from_numpy(delta.T).reshape(weight.shape)
    found = tiny_unet(
        *(torch.from_numpy(feeds[k]) for k in ("sample", "timestep", "encoder_hidden_states"))
    ).sample.numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("variant", ["base", "wiggle-merged"])
def test_every_graph_is_within_its_tolerance(variant: str, bundle: Bundle) -> None:
    found = bundle.manifest.variant(variant)
    assert {(graph.compute, graph.attention) for graph in found.graphs} == {
        (compute, attention) for compute in ("fp32", "fp16") for attention in ("fused", "plain")
    }
    for graph in found.graphs:
        error = check_golden(bundle, UNet(bundle, found, graph=graph))
        assert error <= {"fp32": 1e-5, "fp16": 5e-3}[graph.compute]


def test_a_graph_of_another_model_is_found_out(bundle: Bundle) -> None:
    merged = bundle.manifest.variant("wiggle-merged")
    impostor = merged.model_copy(update={"golden": bundle.manifest.variant("base").golden})
    unet = UNet(bundle, impostor)
    assert golden_error(bundle, unet) > 1e-2
    with pytest.raises(ParityMissed, match=r"from PyTorch on the golden step, 1e-05 is allowed"):
        check_golden(bundle, unet)
