import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from exporter.biases import replace_biases
from exporter.graphs import parse, serialize

random = np.random.default_rng(0)
WEIGHTS = {name: random.normal(size=(4, 4)).astype(np.float32) for name in ("one", "two", "bare")}
KERNEL = random.normal(size=(4, 4, 1, 1)).astype(np.float32)
SHARED = random.normal(size=4).astype(np.float32)
X = random.normal(size=(1, 4)).astype(np.float32)


def graph() -> ir.Model:
    """x -> one -> two (one bias for both) -> bare (none) -> a convolution with that bias too."""
    tensors = {f"{name}.weight": weight for name, weight in WEIGHTS.items()}
    tensors |= {"conv.weight": KERNEL, "shared": SHARED, "shape": np.array([1, 4, 1, 1])}
    nodes = [
        helper.make_node("MatMul", ["x", "one.weight"], ["a"]),
        helper.make_node("Add", ["shared", "a"], ["b"]),
        helper.make_node("MatMul", ["b", "two.weight"], ["c"]),
        helper.make_node("Add", ["c", "shared"], ["d"]),
        helper.make_node("MatMul", ["d", "bare.weight"], ["e"]),
        helper.make_node("Reshape", ["e", "shape"], ["f"]),
        helper.make_node("Conv", ["f", "conv.weight", "shared"], ["y"]),
    ]
    value = onnx.TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "layers",
            [helper.make_tensor_value_info("x", value, [1, 4])],
            [helper.make_tensor_value_info("y", value, [1, 4, 1, 1])],
            [numpy_helper.from_array(array, name) for name, array in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    return parse(model.SerializeToString())


def expected(biases: dict[str, np.ndarray]) -> np.ndarray:
    y = X @ WEIGHTS["one"] + biases.get("one", SHARED)
    y = y @ WEIGHTS["two"] + biases.get("two", SHARED)
    y = y @ WEIGHTS["bare"] + biases.get("bare", np.float32(0))
    return y @ KERNEL[:, :, 0, 0].T + biases.get("conv", SHARED)


@pytest.mark.parametrize(
    "layers", [(), ("one",), ("two",), ("bare",), ("conv",), ("one", "two", "bare", "conv")]
)
def test_a_layer_gets_another_bias_and_no_other_does(layers: tuple[str, ...]) -> None:
    biases = {layer: np.full(4, i + 2, np.float32) for i, layer in enumerate(layers)}
    model = graph()
    replace_biases(model, biases)
    session = onnxruntime.InferenceSession(serialize(model))
    found = session.run(None, {"x": X})[0].reshape(1, 4)
    np.testing.assert_allclose(found, expected(biases), rtol=1e-5, atol=1e-5)
