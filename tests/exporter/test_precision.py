import onnx
import pytest
from onnx import TensorProto

from runtime.bundle import Bundle
from tests.exporter.test_graphs import unet


def input_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value, by onnx's own inference."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.fixture(scope="module")
def half(bundle: Bundle) -> onnx.ModelProto:
    return unet(bundle, "fp16", "plain")  # standard operators, whose types onnx can infer


def test_norm_statistics_stay_in_fp32(half: onnx.ModelProto) -> None:
    types = input_types(half)
    norms = [node for node in half.graph.node if node.op_type in ("InstanceNormalization", "Sqrt")]
    assert norms
    assert {types[name] for node in norms for name in node.input} == {TensorProto.FLOAT}
    layers = [node for node in half.graph.node if node.op_type == "LayerNormalization"]
    stash = {a.i for node in layers for a in node.attribute if a.name == "stash_type"}
    assert stash <= {TensorProto.FLOAT}  # which is the default as well


def test_the_sinusoid_of_the_timestep_stays_in_fp32(half: onnx.ModelProto) -> None:
    types = input_types(half)
    derived, projections = {"timestep"}, 0
    for node in half.graph.node:
        if not derived & set(node.input):
            continue
        if node.op_type == "Cast":  # the sinusoid is finished
            projections += 1
            continue
        derived.update(node.output)
        assert {types[name] for name in node.output} == {TensorProto.FLOAT}, node.op_type
    assert projections == 1


def test_everything_heavy_is_fp16(half: onnx.ModelProto) -> None:
    types = input_types(half)
    for node in half.graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm", "Softmax", "Erf", "LayerNormalization"):
            assert {types[name] for name in node.input} == {TensorProto.FLOAT16}, node.op_type


def test_fp16_reads_stored_weights_without_a_cast(half: onnx.ModelProto) -> None:
    weights = {tensor.name for tensor in half.graph.initializer}
    casts = [node for node in half.graph.node if node.op_type == "Cast"]
    assert not [node for node in casts if node.input[0] in weights]


def test_fp32_casts_each_weight_once(bundle: Bundle) -> None:
    graph = unet(bundle, "fp32", "fused").graph
    halves = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT16}
    uses = [name for node in graph.node for name in node.input if name in halves]
    casts = [node.input[0] for node in graph.node if node.op_type == "Cast"]
    assert sorted(uses) == sorted(casts) == sorted(halves)
