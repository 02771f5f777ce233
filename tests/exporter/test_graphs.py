from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from diffusers import UNet2DConditionModel
from onnx import TensorProto

from exporter import graphs
from exporter.merge import stored_weight
from exporter.unet import OPSET
from runtime.bundle import Bundle
from runtime.manifest import Graph


def all_graphs(bundle: Bundle) -> list[Graph]:
    manifest = bundle.manifest
    parts = (manifest.text_encoder, manifest.vae_encoder, manifest.vae_decoder)
    return [
        *(graph for variant in manifest.unet for graph in variant.graphs),
        *(part.graph for part in parts),
    ]


def load(bundle: Bundle, graph: Graph) -> onnx.ModelProto:
    return onnx.load(bundle.path(graph.file), load_external_data=False)


def unet(bundle: Bundle, compute: str, attention: str) -> onnx.ModelProto:
    (graph,) = (
        graph
        for graph in bundle.manifest.variant("base").graphs
        if (graph.compute, graph.attention) == (compute, attention)
    )
    return load(bundle, graph)


def test_graphs_hold_no_weights(bundle: Bundle) -> None:
    for graph in all_graphs(bundle):
        model = load(bundle, graph)
        shards = set()
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                where = {entry.key: entry.value for entry in tensor.external_data}
                shards.add(where["location"])
                end = int(where["offset"]) + int(where["length"])
                assert int(where["offset"]) % 64 == 0
                assert end <= bundle.manifest.shards[where["location"]].bytes
                assert tensor.data_type != TensorProto.FLOAT
            else:
                assert len(tensor.raw_data) < 1024 * (2 if tensor.data_type == 1 else 1)
        assert list(shards) == graph.shards or shards == set(graph.shards)
        assert graph.file.bytes < 120_000


def test_graphs_say_nothing_of_where_they_were_made(bundle: Bundle) -> None:
    for graph in all_graphs(bundle):
        data = bundle.path(graph.file).read_bytes()
        for trace in (b"site-packages", b"/torch/", str(Path.cwd()).encode(), b"stack_trace"):
            assert trace not in data
        model = load(bundle, graph)
        assert not model.metadata_props
        assert not model.graph.value_info
        assert not any(
            node.name or node.doc_string or node.metadata_props for node in model.graph.node
        )


def test_graphs_need_only_what_browsers_have(bundle: Bundle) -> None:
    for graph in all_graphs(bundle):
        opsets = {opset.domain: opset.version for opset in load(bundle, graph).opset_import}
        assert opsets.pop("") == OPSET
        assert opsets == ({"com.microsoft": 1} if graph.attention == "fused" else {})


def test_inputs_and_outputs_are_float32_and_of_free_size(bundle: Bundle) -> None:
    for compute in ("fp32", "fp16"):
        model = unet(bundle, compute, "fused")
        shapes = {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)
        }
        assert all(
            value.type.tensor_type.elem_type == TensorProto.FLOAT
            for value in (*model.graph.input, *model.graph.output)
        )
        assert shapes["sample"] == ["batch", 4, "height", "width"]
        assert shapes["timestep"] == [1]
        assert shapes["encoder_hidden_states"] == ["batch", "tokens", 32]
        assert shapes["out_sample"] == ["batch", 4, "height", "width"]
        names = ["sample", "timestep", "encoder_hidden_states"]
        for slot in bundle.slot_table().slots:
            assert shapes[slot.input_a] == [slot.in_width, "rank"]
            assert shapes[slot.input_b] == ["rank", slot.out_width]
            names += [slot.input_a, slot.input_b]
        assert [value.name for value in model.graph.input] == names
        assert not {tensor.name for tensor in model.graph.initializer} & set(names)


def test_attention_is_fused_or_standard(bundle: Bundle) -> None:
    fused = [node.op_type for node in unet(bundle, "fp32", "fused").graph.node]
    plain = [node.op_type for node in unet(bundle, "fp32", "plain").graph.node]
    assert fused.count("MultiHeadAttention") == plain.count("Softmax") == 8
    assert "MultiHeadAttention" not in plain
    assert "Softmax" not in fused


def test_all_graphs_of_a_variant_read_the_same_weights(bundle: Bundle) -> None:
    for variant in bundle.manifest.unet:
        assert len({tuple(sorted(graph.shards)) for graph in variant.graphs}) == 1


def test_convolutions_without_bias_get_no_computed_zeros(bundle: Bundle) -> None:
    graph = unet(bundle, "fp32", "fused").graph
    computed = {name for node in graph.node if node.op_type != "Cast" for name in node.output}
    assert not {
        name for node in graph.node if node.op_type == "Conv" for name in node.input[2:]
    } & (computed)


def test_the_slot_table_says_where_the_weights_lie(
    bundle: Bundle, tiny_unet: UNet2DConditionModel
) -> None:
    for slot in bundle.slot_table().slots:
        weight = tiny_unet.get_submodule(slot.name).weight
        assert (slot.in_width, slot.out_width) == (weight.shape[1], weight.shape[0])
        stored = torch.from_numpy(stored_weight(bundle.folder, slot.weight).copy())
        expected = weight.half()
        assert torch.equal(stored, expected.T if slot.weight.transposed else expected)


def test_slot_weights_have_shards_of_their_own(bundle: Bundle) -> None:
    slots = bundle.slot_table().slots
    held = dict.fromkeys({slot.weight.shard for slot in slots}, 0)
    for slot in slots:
        held[slot.weight.shard] += 2 * int(np.prod(slot.weight.shape))
    for shard, used in held.items():  # nothing but padding besides
        assert bundle.manifest.shards[shard].bytes < used + 64 * len(slots)


def test_a_merged_variant_shares_the_other_shards_and_has_no_slots(bundle: Bundle) -> None:
    base, merged = bundle.manifest.variant("base"), bundle.manifest.variant("wiggle-merged")
    changed = {slot.weight.shard for slot in bundle.slot_table().slots}
    for a, b in zip(base.graphs, merged.graphs, strict=True):
        assert (a.compute, a.attention) == (b.compute, b.attention)
        assert set(a.shards) - set(b.shards) == changed
        assert len(set(b.shards) - set(a.shards)) == len(changed)
        names = [value.name for value in load(bundle, b).graph.input]
        assert names == ["sample", "timestep", "encoder_hidden_states"]


def test_serializing_is_repeatable(bundle: Bundle) -> None:
    for graph in all_graphs(bundle):
        data = bundle.path(graph.file).read_bytes()
        assert graphs.serialize(graphs.parse(data)) == data


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_only_zeros_are_dropped_as_a_bias(bias: float) -> None:
    x, weight, size = (ir.Value(name=name) for name in ("x", "weight", "size"))
    graph = ir.Graph([x, weight, size], [], nodes=[], opset_imports={"": OPSET})
    zero = graphs.constant(graph, "bias", np.array(bias, np.float32))
    expand = ir.node("Expand", [zero, size])
    conv = ir.node("Conv", [x, weight, expand.outputs[0]])
    graph.extend([expand, conv])
    graph.outputs.extend(conv.outputs)
    graphs.tidy(ir.Model(graph, ir_version=9))
    assert [node.op_type for node in graph] == (["Expand", "Conv"] if bias else ["Conv"])
