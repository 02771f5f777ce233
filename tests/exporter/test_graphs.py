from collections.abc import Iterator
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
from exporter.traces import OPSET
from exporter.variants import whole_graph
from runtime.bundle import Bundle
from runtime.manifest import FileRef, Graph, UNetGraph, file_refs


def all_graphs(bundle: Bundle) -> list[Graph]:
    manifest = bundle.manifest
    parts = (manifest.text_encoder, manifest.vae_encoder, manifest.vae_decoder)
    return [
        *(graph for variant in manifest.unet for graph in variant.graphs),
        *(part.graph for part in parts),
    ]


def all_models(bundle: Bundle) -> Iterator[tuple[Graph, onnx.ModelProto]]:
    for graph in all_graphs(bundle):
        for ref in file_refs(graph):
            yield graph, load(bundle, ref)


def load(bundle: Bundle, ref: FileRef) -> onnx.ModelProto:
    return onnx.load(bundle.path(ref), load_external_data=False)


def unet(bundle: Bundle, compute: str, attention: str) -> onnx.ModelProto:
    """Prepare and step as one graph."""
    whole = whole_graph(bundle.folder, unet_graph(bundle, compute, attention))
    return onnx.load_from_string(graphs.serialize(whole))


def unet_graph(bundle: Bundle, compute: str, attention: str) -> UNetGraph:
    (graph,) = (
        graph
        for graph in bundle.manifest.variant("base").graphs
        if (graph.compute, graph.attention) == (compute, attention)
    )
    return graph


def step_and_prepare(bundle: Bundle, graph: UNetGraph) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    return load(bundle, graph.file), load(bundle, graph.prepare)


def test_graphs_hold_no_weights(bundle: Bundle) -> None:
    for graph in all_graphs(bundle):
        shards = set()
        for ref in file_refs(graph):
            for tensor in load(bundle, ref).graph.initializer:
                if tensor.data_location == TensorProto.EXTERNAL:
                    where = {entry.key: entry.value for entry in tensor.external_data}
                    shards.add(where["location"])
                    end = int(where["offset"]) + int(where["length"])
                    assert int(where["offset"]) % 64 == 0
                    assert end <= bundle.manifest.shards[where["location"]].bytes
                    assert tensor.data_type != TensorProto.FLOAT
                else:
                    assert len(tensor.raw_data) < 1024 * (2 if tensor.data_type == 1 else 1)
            assert ref.bytes < 120_000
        assert shards == set(graph.shards)


def test_graphs_say_nothing_of_where_they_were_made(bundle: Bundle) -> None:
    for _, model in all_models(bundle):
        data = model.SerializeToString()
        for trace in (b"site-packages", b"/torch/", str(Path.cwd()).encode(), b"stack_trace"):
            assert trace not in data
        assert not model.metadata_props
        assert not any(
            node.name or node.doc_string or node.metadata_props for node in model.graph.node
        )


def test_graphs_need_only_what_browsers_have(bundle: Bundle) -> None:
    for graph, model in all_models(bundle):
        opsets = {opset.domain: opset.version for opset in model.opset_import}
        assert opsets.pop("") == OPSET
        assert opsets in ([{"com.microsoft": 1}, {}] if graph.attention == "fused" else [{}])


def test_inputs_and_outputs_are_float32_and_of_free_size(bundle: Bundle) -> None:
    for compute in ("fp32", "fp16"):
        step, prepare = step_and_prepare(bundle, unet_graph(bundle, compute, "fused"))
        values = {v.name: v for v in (*prepare.graph.input, *step.graph.input, *step.graph.output)}
        shared = {value.name for value in prepare.graph.output}
        assert shared <= values.keys()
        own = [value for name, value in values.items() if name not in shared]
        shapes = {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in own
        }
        assert {value.type.tensor_type.elem_type for value in own} == {TensorProto.FLOAT}
        expected = {
            "sample": ["batch", 4, "height", "width"],
            "timestep": [1],
            "encoder_hidden_states": ["batch", "tokens", 32],
            "out_sample": ["batch", 4, "height", "width"],
            "deep_features": ["batch", 32, "height", "width"],
        }
        for slot in bundle.slot_table().slots:
            expected[slot.input_a] = [slot.in_width, "rank"]
            expected[slot.input_b] = ["rank", slot.out_width]
        assert shapes == expected
        for model in (step, prepare):
            constants = {tensor.name for tensor in model.graph.initializer}
            assert not constants & {value.name for value in model.graph.input}


def test_attention_is_fused_or_standard(bundle: Bundle) -> None:
    fused, plain = (
        [node.op_type for node in unet(bundle, "fp32", form).graph.node]
        for form in ("fused", "plain")
    )
    assert fused.count("MultiHeadAttention") == plain.count("Softmax") == 8
    assert "MultiHeadAttention" not in plain
    assert "Softmax" not in fused


def test_a_slot_is_folded_where_its_weight_is_smaller_than_what_flows_through(
    bundle: Bundle,
) -> None:
    step, prepare = step_and_prepare(bundle, unet_graph(bundle, "fp32", "fused"))
    folded = {node.input[0] for node in prepare.graph.node if node.op_type == "Gemm"}
    beside = {value.name for value in step.graph.input}
    # 2 * 8 * 8 pixels of 32 channels, and of 64 channels at half the size; 2 * 77 tokens
    for path, folds in (
        ("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", True),
        ("down_blocks.0.attentions.0.proj_in", True),
        ("mid_block.attentions.0.transformer_blocks.0.attn2.to_k", True),
        ("mid_block.attentions.0.transformer_blocks.0.attn1.to_q", False),
        ("mid_block.attentions.0.proj_in", False),
    ):
        name = f"{path}.lora_A"
        assert ((name in folded), (name in beside)) == (folds, not folds)


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
        expected = weight.half().flatten(1)
        laid_out = expected.T if slot.weight.transposed else expected
        assert torch.equal(stored, laid_out.reshape(slot.weight.shape))


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
        step, prepare = step_and_prepare(bundle, b)
        assert [value.name for value in prepare.graph.input] == ["encoder_hidden_states"]
        prepared = [value.name for value in prepare.graph.output]
        assert [v.name for v in step.graph.input] == ["sample", "timestep", *prepared]


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
