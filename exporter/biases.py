"""Biases of a graph's layers, which a merge may change.

In a graph a bias has no name where it is below 1 KiB, and shares its initializer with others that
are equal; what names a layer is its weight. So a bias is found behind the weight, and the layer is
given one of its own.
"""

from collections.abc import Mapping

import onnx_ir as ir
import onnx_ir.passes.common as common

from exporter.graphs import constant, point_to
from exporter.shards import SMALL, Place, Shards
from runtime.tensors import Array

Bias = Place | Array
_PRODUCTS = {"MatMul", "MatMulNBits", "Conv"}


def store(biases: Mapping[str, Array], shards: Shards) -> dict[str, Bias]:
    """Writes biases of 1 KiB and more to a shard; the others stay in the graphs, as theirs do."""
    large = [(layer, bias) for layer, bias in biases.items() if bias.nbytes >= SMALL]
    return {**biases, **(shards.write(large) if large else {})}


def replace_biases(model: ir.Model, biases: Mapping[str, Bias]) -> None:
    """Gives layers other biases, in place, in the precision that each computes in.

    Args:
        model: a graph without slots.
        biases: layer name -> bias `[out]`, or where it lies.
    """
    for layer, bias in biases.items():
        _replace(model.graph, layer, bias)
    if biases:
        common.RemoveUnusedNodesPass()(model)


def _replace(graph: ir.Graph, layer: str, bias: Bias) -> None:
    product, dtype = _product(graph, layer)
    value = _value(graph, f"{layer}.bias.merged", bias, dtype, product)
    if product.op_type == "Conv":
        product.resize_inputs(3)
        product.replace_input_with(2, value)
        return
    output = product.outputs[0]
    uses = list(output.uses())
    if len(uses) == 1 and uses[0].node.op_type == "Add":
        add, other = uses[0].node, 1 - uses[0].idx
        if _is_constant(add.inputs[other]):
            add.replace_input_with(other, value)
            return
    add = ir.node("Add", [output, value])  # the base's was all zeros, and is gone
    graph.insert_after(product, add)
    ir.convenience.replace_all_uses_with(output, add.outputs[0])
    add.replace_input_with(0, output)


def _product(graph: ir.Graph, layer: str) -> tuple[ir.Node, ir.DataType]:
    """The node that multiplies with a layer's weight, and the precision it does that in."""
    names = [f"{layer}.{name}" for name in ("scales", "weight")]  # of a quantised one the scales
    value = graph.initializers[next(name for name in names if name in graph.initializers)]
    dtype = value.dtype
    while True:
        (use,) = value.uses()
        if use.node.op_type in _PRODUCTS:
            assert dtype is not None
            return use.node, dtype
        if use.node.op_type == "Cast":
            dtype = ir.DataType(use.node.attributes["to"].as_int())
        value = use.node.outputs[0]


def _is_constant(value: ir.Value | None) -> bool:
    producer = value.producer() if value else None
    if producer and producer.op_type == "Cast":
        return _is_constant(producer.inputs[0])
    return value is not None and value.is_initializer()


def _value(graph: ir.Graph, name: str, bias: Bias, dtype: ir.DataType, before: ir.Node) -> ir.Value:
    if not isinstance(bias, Place):
        return constant(graph, name, bias.astype(dtype.numpy()))
    value = ir.Value(name=name)
    point_to(value, bias)
    graph.register_initializer(value)
    if value.dtype == dtype:
        return value
    cast = ir.node("Cast", [value], {"to": dtype})
    graph.insert_before(before, cast)
    return cast.outputs[0]
