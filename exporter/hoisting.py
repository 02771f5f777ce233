"""Splits a UNet graph by how often its values have to be computed.

What depends on neither the sample nor the timestep (weights with a LoRA folded in, the keys and
values of the prompt) is computed by a `prepare` graph, once per picture; the step graph takes it as
inputs. A `shortcut` of the step graph takes the deep features of an earlier step, too.
"""

from collections.abc import Iterable

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

DEEP = "deep_features"  # an output of the step graph
_CHANGING = {"sample", "timestep"}  # the inputs that are new at every step


def split(model: ir.Model) -> ir.Model:
    """Takes out of a whole graph what need not be computed at every step.

    Args:
        model: changed in place into the step graph; it takes `prepared.0`, `prepared.1`, ... and
            those of its inputs that it still needs itself.

    Returns:
        The prepare graph, whose outputs are `prepared.0`, ....
    """
    prepare = model.clone()
    prepare.graph.outputs.clear()
    for index, value in enumerate(_boundary(prepare.graph)):
        value.name = f"prepared.{index}"
        prepare.graph.outputs.append(value)
    _remove_unused(prepare)
    _infer_types(prepare.graph.outputs, prepare)
    both = zip(_boundary(model.graph), prepare.graph.outputs, strict=True)
    for ours, theirs in both:
        taken = ir.Value(name=theirs.name, type=theirs.type, shape=theirs.shape)
        ir.convenience.replace_all_uses_with(ours, taken)
        model.graph.inputs.append(taken)
        ours.name = None
    _remove_unused(model)
    return prepare


def join(prepare: ir.Model, step: ir.Model) -> ir.Model:
    """The whole graph that `split` took apart; uses up both parts."""
    graph, front = step.graph, prepare.graph
    ours = {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    # Inline constants are numbered per graph; weights have the same name and place in both.
    for value in [v for v in front.initializers.values() if v.name in ours]:
        if not isinstance(value.const_value, ir.ExternalTensor):
            value.name = f"prepare.{value.name}"
    nodes = list(front)
    front.remove(nodes)
    for value in front.outputs:
        ir.convenience.replace_all_uses_with(ours[value.name], value)
        graph.inputs.remove(ours[value.name])
        value.name = None
    for value in [*front.inputs, *front.initializers.values()]:
        if value.name in ours:
            ir.convenience.replace_all_uses_with(value, ours[value.name])
        elif value.is_initializer():
            del front.initializers[str(value.name)]
            graph.register_initializer(value)
        else:
            front.inputs.remove(value)
            graph.inputs.append(value)
    front.outputs.clear()
    graph.insert_before(graph[0], nodes)
    return step


def shortcut(step: ir.Model) -> ir.Model:
    """A step that computes the outermost layers alone (DeepCache, arXiv:2312.00858, branch 0).

    Args:
        step: of `split`, with the output `deep_features`; stays as it is.

    Returns:
        A graph with `deep_features` as an input, and without inputs that only deep layers need.
    """
    model = step.clone()
    graph = model.graph
    (deep,) = (value for value in graph.outputs if value.name == DEEP)
    graph.outputs.remove(deep)
    taken = ir.Value(name=DEEP, type=deep.type, shape=deep.shape)
    deep.name = None
    source = deep.producer()
    if source and source.op_type == "Cast" and not deep.uses():  # widened to leave the graph
        inner, narrow = source.inputs[0], ir.node("Cast", [taken], {"to": ir.DataType.FLOAT16})
        graph.insert_before(graph[0], narrow)
        replacement = narrow.outputs[0]
    else:
        inner, replacement = deep, taken
    assert inner is not None
    ir.convenience.replace_all_uses_with(inner, replacement)
    graph.inputs.append(taken)
    _remove_unused(model)
    return model


def _remove_unused(model: ir.Model) -> None:
    common.RemoveUnusedNodesPass()(model)
    model.graph.inputs[:] = [value for value in model.graph.inputs if value.uses()]


def _infer_types(values: Iterable[ir.Value], model: ir.Model) -> None:
    """Sets types and shapes by onnx's own inference: JSEP needs them to split what comes of it."""
    inferred = ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(_standard(model))))
    types = {value.name: value for value in inferred.graph.outputs}
    for value in values:
        value.type, value.shape = types[value.name].type, types[value.name].shape


def _standard(model: ir.Model) -> ir.Model:
    """A copy that onnx's inference understands: each MatMulNBits as the MatMul it stands for."""
    copy = model.clone()
    for node in [node for node in copy.graph if node.op_type == "MatMulNBits"]:
        x, _, scales = node.inputs
        assert scales is not None
        sizes = [node.attributes[name].as_int() for name in ("K", "N")]
        dtype = ir.TensorType(scales.dtype or ir.DataType.FLOAT)  # fp32: a Cast, not yet typed
        weight = ir.Value(name=f"{node.outputs[0].name}.weight", type=dtype, shape=ir.Shape(sizes))
        copy.graph.inputs.append(weight)
        product = ir.node("MatMul", [x, weight])
        copy.graph.insert_before(node, product)
        product.outputs[0].name = node.outputs[0].name
        ir.convenience.replace_all_uses_with(
            node.outputs[0], product.outputs[0], replace_graph_outputs=True
        )
        copy.graph.remove(node, safe=True)
    return copy


def _boundary(graph: ir.Graph) -> list[ir.Value]:
    """The computed values that stay the same between steps and that changing nodes take.

    Sizes of inputs are not among them: they cost nothing, and both graphs compute their own.
    """
    changing = {value for value in graph.inputs if value.name in _CHANGING}
    inputs = set(graph.inputs) - changing
    steady = set(inputs)
    sizes: set[ir.Value] = set()
    boundary: dict[ir.Value, None] = {}
    for node in graph:
        taken = {value for value in node.inputs if value is not None}
        if taken & changing:
            changing.update(node.outputs)
            computed = [value for value in node.inputs if value in steady - inputs]
            boundary |= dict.fromkeys(computed)
        elif (node.op_type == "Shape" and taken <= inputs) or (
            taken & sizes and not taken & steady
        ):
            sizes.update(node.outputs)
        elif taken & (steady | sizes):
            steady.update(node.outputs)
    return list(boundary)
