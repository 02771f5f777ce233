import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporter.quantisation import BLOCK, Packed, pack, rounded, unpack
from runtime.tensors import Float32


def weights(ins: int, outs: int, size: float = 0.05) -> Float32:
    return np.random.default_rng(ins).normal(0, size, (ins, outs)).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("ins", [BLOCK, 48, 320])
def test_onnxruntime_multiplies_with_the_weight_that_codes_stand_for(bits: int, ins: int) -> None:
    weight = weights(ins, 24)
    codes, scales = pack(weight, bits)
    node = helper.make_node(
        "MatMulNBits", ["x", "codes", "scales"], ["y"], domain="com.microsoft",
        K=ins, N=24, bits=bits, block_size=BLOCK,
    )  # fmt: skip
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [ins, width])
        for name, width in (("x", ins), ("y", 24))
    )
    constants = [
        numpy_helper.from_array(codes, "codes"),
        numpy_helper.from_array(scales.astype(np.float32), "scales"),
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "product", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": np.eye(ins, dtype=np.float32)})
    np.testing.assert_array_equal(found, unpack(Packed(codes, scales), bits, ins))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("size", [0.05, 1e-3, 1e-5, 1e-7, 0.0])
def test_rounding_what_is_rounded_changes_nothing(bits: int, size: float) -> None:
    """Also where scales are subnormal in fp16 and have few digits."""
    once = rounded(weights(4096, 40, size), bits)
    np.testing.assert_array_equal(rounded(once, bits), once)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_weight_moves_by_half_a_step_at_most(bits: int) -> None:
    """But for the last step of the side without the largest element, and what a scale rounds."""
    weight = weights(320, 64)
    blocks = np.abs(weight.reshape(-1, BLOCK, 64)).max(axis=1, keepdims=True)
    steps = blocks / (1 << (bits - 1))
    moved = np.abs(rounded(weight, bits) - weight).reshape(-1, BLOCK, 64)
    assert (moved <= 1.13 * steps).all()  # 1 and 2**-10 of the 128 steps
    assert np.mean(moved <= 0.5 * steps * (1 + 2**-9)) > 0.97
