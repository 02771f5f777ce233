from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter import graphs
from exporter.golden import golden_lora
from exporter.parity import TOLERANCE, Runner, compare
from exporter.slots import SlotShape
from exporter.variants import whole_graph
from runtime.bundle import Bundle
from runtime.files import link_or_copy
from runtime.golden import golden_feeds
from runtime.manifest import UNetGraph
from runtime.unet import UNet

FORMS = [(compute, attention) for compute in ("fp32", "fp16") for attention in ("fused", "plain")]


@pytest.fixture(params=FORMS, ids=str)
def graph(request: pytest.FixtureRequest, bundle: Bundle) -> UNetGraph:
    graphs = bundle.manifest.variant("base").graphs
    return {(graph.compute, graph.attention): graph for graph in graphs}[request.param]


def test_a_step_computes_nothing_that_the_step_before_has_computed(
    graph: UNetGraph, bundle: Bundle
) -> None:
    step = onnx.load(bundle.path(graph.file), load_external_data=False).graph
    changing = {"sample", "timestep"}
    steady = {value.name for value in step.input} - changing
    for node in step.node:
        taken = set(node.input)
        assert not (taken & steady and not taken & changing), node
        if taken & changing:
            changing.update(node.output)
    assert "encoder_hidden_states" not in steady


def test_both_parts_joined_are_the_whole(graph: UNetGraph, bundle: Bundle, tmp_path: Path) -> None:
    whole = whole_graph(bundle.folder, graph)
    names = {value.name for value in whole.graph.inputs}
    assert not any(str(name).startswith("prepared.") for name in names)
    shards = graphs.shards_of(whole)
    assert set(shards) == set(graph.shards)
    for shard in shards:
        link_or_copy(bundle.path(bundle.manifest.shards[shard]), tmp_path / shard)
    (tmp_path / "whole.onnx").write_bytes(graphs.serialize(whole))
    variant = bundle.manifest.variant("base")
    feeds, _ = golden_feeds(bundle, variant)
    assert names == set(feeds)
    found = Runner(tmp_path / "whole.onnx")(feeds)
    split = UNet(bundle, variant, graph=graph).step(feeds)
    assert compare("joined", found, split, TOLERANCE[graph.compute]).passed


def test_a_picture_is_prepared_once(bundle: Bundle) -> None:
    """The same prepared values serve every step; another prompt or LoRA needs its own."""
    variant = bundle.manifest.variant("base")
    unet = UNet(bundle, variant)
    feeds, expected = golden_feeds(bundle, variant)
    lora = {name: feeds[name] for name in feeds if ".lora_" in name}
    states, sample = feeds["encoder_hidden_states"], feeds["sample"]
    prepared = unet.prepare(states, lora)
    unet.predict(sample, 3.0, prepared)
    again = unet.predict(sample, float(feeds["timestep"][0]), prepared)
    limit = variant.golden.tolerance_fp32 * np.abs(expected).max()
    assert np.abs(again - expected).max() <= limit
    shapes = {
        slot.name: SlotShape(slot.kind, slot.in_width, slot.out_width, slot.weight.transposed)
        for slot in bundle.slot_table().slots
    }
    assert lora.keys() == golden_lora(shapes).keys()
    other = unet.predict(sample, float(feeds["timestep"][0]), unet.prepare(states[::-1], lora))
    assert np.abs(other - expected).max() > 100 * limit
