"""fp16 compute: rewrites a graph so that only what must be is computed in fp32.

What must be: the statistics of normalisation (squares of activations overflow fp16), the
timestep's sinusoid (angles up to 1,000 have no digits left in fp16), and the graph's own inputs
and outputs, which are float32 by contract.
"""

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common

from exporter.graphs import constant

_WIDE, _NARROW = ir.DataType.FLOAT, ir.DataType.FLOAT16
# LayerNormalization is not among them: its `stash_type` keeps the statistics in fp32 by itself.
_FP32_OPS = {"InstanceNormalization", "GroupNormalization"}
_PROJECTIONS = {"MatMul", "MatMulNBits", "Gemm", "Conv"}
_INTEGER_OPS = {"Shape", "Size"}
_LEADING_ONLY = {"Resize": 1}  # inputs behind these stay float32 by the operator's signature


def halve(model: ir.Model) -> None:
    """Makes a detached fp32 graph compute in fp16, in place."""
    _Halving(model.graph).run()
    common.RemoveUnusedNodesPass()(model)


class _Halving:
    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.dtypes: dict[ir.Value, ir.DataType] = {}  # of values as they are computed now
        self.casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self.sinusoid: set[ir.Value] = set()  # derived from the timestep, before any projection

    def run(self) -> None:
        graph = self.graph
        for value in (*graph.inputs, *graph.initializers.values()):
            if value.dtype is not None:
                self.dtypes[value] = value.dtype
            if value.name == "timestep":
                self.sinusoid.add(value)
        for node in list(graph):
            self._rewrite(node)
        for index, value in enumerate(graph.outputs):
            if self.dtypes[value] == _NARROW:
                self._widen_output(index, value)

    def _rewrite(self, node: ir.Node) -> None:
        first = node.inputs[0]
        assert first is not None
        if node.op_type == "Cast":
            self._rewrite_cast(node, first)
            return
        if node.op_type in _INTEGER_OPS:
            self.dtypes[node.outputs[0]] = ir.DataType.INT64
            return
        timed = any(value in self.sinusoid for value in node.inputs)
        wide = node.op_type in _FP32_OPS or (timed and node.op_type not in _PROJECTIONS)
        if wide and timed:
            self.sinusoid.update(node.outputs)
        wanted = _WIDE if wide else _NARROW
        for index, value in enumerate(node.inputs[: _LEADING_ONLY.get(node.op_type)]):
            if value is not None and self.dtypes[value] in (_WIDE, _NARROW):
                node.replace_input_with(index, self._as(value, wanted, node))
        for output in node.outputs:
            dtype = self.dtypes[first]
            self._set(output, wanted if dtype in (_WIDE, _NARROW) else dtype)

    def _rewrite_cast(self, node: ir.Node, source: ir.Value) -> None:
        target = ir.DataType(node.attributes["to"].as_int())
        self._set(node.outputs[0], target)
        if source.is_initializer() and self.dtypes[source] == _NARROW and target == _WIDE:
            self.casts[node.outputs[0], _NARROW] = source  # the stored weight is fp16 already

    def _set(self, value: ir.Value, dtype: ir.DataType) -> None:
        self.dtypes[value] = dtype
        value.dtype = dtype

    def _as(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        """`value` in another precision, by an fp16 twin where it is a constant, else by a Cast."""
        if self.dtypes[value] == dtype:
            return value
        if (value, dtype) not in self.casts:
            tensor = value.const_value
            if value.is_initializer() and tensor is not None:
                array = tensor.numpy().astype(np.float16)
                twin = constant(self.graph, f"{value.name}.fp16", array)
            else:
                cast = ir.node("Cast", [value], {"to": dtype})
                self.graph.insert_before(before, cast)
                twin = cast.outputs[0]
            self._set(twin, dtype)
            self.casts[value, dtype] = twin
        return self.casts[value, dtype]

    def _widen_output(self, index: int, value: ir.Value) -> None:
        name, shape = value.name, value.shape
        value.name = f"{name}.fp16"
        cast = ir.node("Cast", [value], {"to": _WIDE})
        self.graph.append(cast)
        output = cast.outputs[0]
        output.name, output.shape = name, shape
        output.dtype = _WIDE
        self.graph.outputs[index] = output
