from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from exporter.export import export
from exporter.golden import reference_step
from exporter.parity import TOLERANCE, compare
from exporter.progress import silent
from exporter.slots import SlotSet
from exporter.slotting import slot_shapes
from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.noise import Generator
from runtime.packs import stack
from runtime.tensors import Array
from runtime.unet import UNet

FORMS = [(compute, attention) for compute in ("fp32", "fp16") for attention in ("fused", "plain")]


def step_inputs(batch: int, height: int, width: int, tokens: int, timestep: float) -> Any:
    generator = Generator(5)
    return {
        "sample": generator.randn((batch, 4, height, width)),
        "timestep": np.array([timestep], np.float32),
        "encoder_hidden_states": generator.randn((batch, tokens, 32)),
    }


def random_lora(bundle: Bundle, rank: int) -> dict[str, Array]:
    generator = Generator(6)
    feeds: dict[str, Array] = {}
    for slot in bundle.slot_table().slots:
        feeds[slot.input_a] = generator.randn((slot.in_width, rank)) * np.float32(0.1)
        feeds[slot.input_b] = generator.randn((rank, slot.out_width)) * np.float32(0.1)
    return feeds


@pytest.mark.parametrize(("compute", "attention"), FORMS)
def test_a_graph_is_the_unet_at_any_size_rank_and_noise(
    compute: str, attention: str, bundle: Bundle, tiny_unet: UNet2DConditionModel
) -> None:
    (graph,) = (
        graph
        for graph in bundle.manifest.variant("base").graphs
        if (graph.compute, graph.attention) == (compute, attention)
    )
    run = UNet(bundle, bundle.manifest.variant("base"), graph=graph).step
    for size, rank, timestep in (
        ((2, 8, 8, 77), 1, 981.0),
        ((1, 16, 6, 20), 4, 501.0),
        ((3, 4, 10, 1), 17, 1.0),
        ((1, 15, 7, 20), 4, 501.0),
        ((2, 1, 2, 77), 4, 501.0),
        ((2, 8, 8, 77), 2, 499.5),
    ):
        feeds, lora = step_inputs(*size, timestep), random_lora(bundle, rank)
        parity = compare(
            f"{size} rank {rank}",
            run(feeds | lora),
            reference_step(tiny_unet, feeds, lora),
            TOLERANCE[compute],
        )
        assert parity.passed, parity


@pytest.mark.parametrize(("compute", "attention"), FORMS)
def test_a_zero_lora_is_the_base(
    compute: str, attention: str, bundle: Bundle, tiny_unet: UNet2DConditionModel
) -> None:
    feeds = step_inputs(2, 8, 8, 77, 501.0)
    for graph in bundle.manifest.variant("base").graphs:
        if (graph.compute, graph.attention) == (compute, attention):
            unet = UNet(bundle, bundle.manifest.variant("base"), graph=graph)
            output = unet.step(feeds | stack([], bundle.slot_table()))
            reference = reference_step(tiny_unet, feeds)
            assert compare("zero", output, reference, TOLERANCE[compute]).passed


def test_a_model_without_transformer_blocks_is_refused() -> None:
    with pytest.raises(BrushletError, match="no transformer blocks"):
        slot_shapes(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("slot_set", ["attn", "full"])
def test_every_slot_set_is_the_unet_with_its_lora(
    slot_set: SlotSet, tiny_base: Path, tiny_unet: UNet2DConditionModel, tmp_path: Path
) -> None:
    export(tiny_base, tmp_path / "dist", silent, slot_set=slot_set)
    bundle = Bundle.open(tmp_path / "dist")
    shapes = slot_shapes(tiny_unet, slot_set)
    assert [slot.name for slot in bundle.slot_table().slots] == list(shapes)
    feeds, lora = step_inputs(1, 15, 7, 20, 501.0), random_lora(bundle, 5)
    variant = bundle.manifest.variant("base")
    for graph in variant.graphs:
        output = UNet(bundle, variant, graph=graph).step(feeds | lora)
        reference = reference_step(tiny_unet, feeds, lora)
        assert compare(slot_set, output, reference, TOLERANCE[graph.compute]).passed
