"""Normalisation in two passes, for execution providers that take the variance in one.

onnxruntime-web's native WebGPU provider loses digits in `InstanceNormalization`: a UNet step on
SwiftShader was 1.8e-5 from PyTorch with it, and is 1.0e-6 with mean and variance as operators of
their own. JSEP is right with either and quicker with one operator, so only the plain-attention
graphs, which native WebGPU uses, are changed.
"""

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common

from exporter.graphs import constant


def two_pass(model: ir.Model) -> None:
    """Replaces every InstanceNormalization of `[batch, groups, length]`, in place.

    Those with a scale or a bias of their own stay; torch's exporter applies them afterwards.
    """
    graph = model.graph
    for node in [node for node in graph if node.op_type == "InstanceNormalization"]:
        x, scale, bias = node.inputs
        if x is None or not (_filled(scale, 1) and _filled(bias, 0)):
            continue
        last = constant(graph, "axis.last", np.array([-1], np.int64))
        epsilon = node.attributes["epsilon"].as_float()
        floor = constant(graph, f"epsilon.{epsilon:g}", np.array(epsilon, np.float32))
        nodes: list[ir.Node] = []

        def op(kind: str, *inputs: ir.Value, nodes: list[ir.Node] = nodes) -> ir.Value:
            nodes.append(ir.node(kind, inputs))
            return nodes[-1].outputs[0]

        centred = op("Sub", x, op("ReduceMean", x, last))
        variance = op("ReduceMean", op("Mul", centred, centred), last)
        result = op("Div", centred, op("Sqrt", op("Add", variance, floor)))
        graph.insert_before(node, nodes)
        ir.convenience.replace_all_uses_with(node.outputs[0], result)
        graph.remove(node, safe=True)
    common.RemoveUnusedNodesPass()(model)


def _filled(value: ir.Value | None, content: float) -> bool:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor is not None and bool((tensor.numpy() == content).all())
