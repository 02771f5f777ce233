"""Passes over ONNX graphs: from a traced model to small graphs that share their weights.

The order is: `tidy` a traced fp32 model, `quantise` its matrix products where that is wanted, move
its weights into shards (`detach`), and derive from the result the plain-attention graph (`unfuse`),
fp16 compute (`exporter.precision.halve`) and the graph of a merged style (`remove_slots`,
`relocate`). The derived ones work on a parsed graph of some hundred kilobytes and read no weight.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from exporter.quantisation import BLOCK, pack
from exporter.shapes import known_shapes
from exporter.shards import SMALL, Place, Shards
from exporter.slots import input_names
from runtime.tensors import Array

_NUMBERED = re.compile(r"onnx::\w+|val_\d+")


def tidy(model: ir.Model, outputs: Sequence[str] = ()) -> None:
    """Removes what a graph does not need to run: unused nodes, duplicates, names, metadata.

    Traced graphs carry stack traces and build paths, and a name per value; a graph is a tenth of
    its size without. The result does not depend on where or when the model was traced.

    Args:
        model: changed in place.
        outputs: graph outputs to keep; all when empty.
    """
    graph = model.graph
    if outputs:
        _keep(graph, outputs)
    _drop_zero_biases(graph)
    for step in (
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.ClearMetadataAndDocStringPass(),
    ):
        step(model)
    model.producer_name, model.producer_version, model.domain = "brushlet", None, None
    model.doc_string, graph.name, graph.doc_string = None, "brushlet", None
    # The tracers number what they fold by counters that depend on what was traced before.
    numbered = [v for v in _in_order_of_use(graph) if _NUMBERED.fullmatch(v.name or "")]
    ir.convenience.rename_values(numbered, [f"folded.{i}" for i in range(len(numbered))])


def quantise(model: ir.Model, bits: int) -> None:
    """Makes every MatMul with a weight `[in, out]` a MatMulNBits, in place.

    The weight of `<path>.weight` becomes the codes, and `<path>.scales` stands beside it.
    """
    graph = model.graph
    for name, weight in list(graph.initializers.items()):
        products = [use.node for use in weight.uses() if use.node.op_type == "MatMul"]
        if not products:
            continue
        assert weight.const_value is not None
        array = weight.const_value.numpy()
        ins, outs = array.shape
        packed = pack(array, bits)
        del graph.initializers[name]
        codes = constant(graph, name, packed.codes)
        # fp32 as all of a traced graph; `detach` stores them in fp16, which holds them
        wide = packed.scales.astype(np.float32)
        scales = constant(graph, f"{name.removesuffix('.weight')}.scales", wide)
        sizes = {"K": ins, "N": outs, "bits": bits, "block_size": BLOCK}
        for node in products:
            inputs = [node.inputs[0], codes, scales]
            product = ir.node("MatMulNBits", inputs, sizes, domain="com.microsoft")
            graph.insert_before(node, product)
            ir.convenience.replace_all_uses_with(node.outputs[0], product.outputs[0])
            graph.remove(node, safe=True)
        weight.const_value = None  # 1.9 GB of Stable Diffusion 1.5
    graph.opset_imports["com.microsoft"] = 1


def detach(
    model: ir.Model, shards: Shards, groups: Sequence[Sequence[str]], narrow: bool = True
) -> dict[str, Place]:
    """Moves every initializer of 1 KiB and more into shards, floats as fp16 behind a Cast.

    Args:
        model: tidied fp32 model, changed in place.
        shards: where the weights go.
        groups: initializers that get shards of their own; the rest share the last ones.
        narrow: whether floats become fp16; else they are stored as they are.

    Returns:
        initializer name -> place.
    """
    graph = model.graph
    large = [
        name for name, value in graph.initializers.items() if _stored_bytes(value, narrow) >= SMALL
    ]
    grouped = {name for group in groups for name in group}
    places: dict[str, Place] = {}
    for group in (*groups, [name for name in large if name not in grouped]):
        places |= shards.write((name, _stored(graph.initializers[name], narrow)) for name in group)
    order = {node: number for number, node in enumerate(graph)}
    for name, place in places.items():
        value = graph.initializers.pop(name)
        weight = ir.Value(name=name)
        point_to(weight, place)
        wide = weight
        if weight.dtype != value.dtype:
            cast = ir.node("Cast", [weight], {"to": ir.DataType.FLOAT})
            wide = cast.outputs[0]
            # Where it is first used, so that no more than one wide weight has to be held.
            first = min((use.node for use in value.uses()), key=order.__getitem__)
            graph.insert_before(first, cast)
        ir.convenience.replace_all_uses_with(value, wide)
        graph.register_initializer(weight)
        value.const_value = None  # onnx-ir keeps the value, and so PyTorch's 3.4 GB, alive
    return places


def unfuse(model: ir.Model) -> None:
    """Replaces every MultiHeadAttention node by standard operators, in place."""
    graph = model.graph
    for node in [node for node in graph if node.op_type == "MultiHeadAttention"]:
        heads = node.attributes["num_heads"].as_int()
        scale = node.attributes["scale"].as_float()
        split = constant(graph, f"heads.{heads}", np.array([0, 0, heads, -1], np.int64))
        join = constant(graph, "heads.joined", np.array([0, 0, -1], np.int64))
        factor = constant(graph, f"scale.{scale:.9g}", np.array(scale, np.float32))
        nodes: list[ir.Node] = []

        def op(
            kind: str, *inputs: ir.Value, nodes: list[ir.Node] = nodes, **attributes: object
        ) -> ir.Value:
            nodes.append(ir.node(kind, inputs, attributes))  # type: ignore[arg-type]
            return nodes[-1].outputs[0]

        query, key, value = (op("Reshape", part, split) for part in node.inputs if part)
        # The scale goes to the query: in fp16 the unscaled scores could overflow.
        query = op("Mul", op("Transpose", query, perm=[0, 2, 1, 3]), factor)
        scores = op("MatMul", query, op("Transpose", key, perm=[0, 2, 3, 1]))
        weights = op("Softmax", scores, axis=-1)
        mixed = op("MatMul", weights, op("Transpose", value, perm=[0, 2, 1, 3]))
        mixed = op("Reshape", op("Transpose", mixed, perm=[0, 2, 1, 3]), join)
        graph.insert_before(node, nodes)
        ir.convenience.replace_all_uses_with(node.outputs[0], mixed)
        graph.remove(node, safe=True)
    common.RemoveUnusedOpsetsPass()(model)


def remove_slots(model: ir.Model, slots: Iterable[str]) -> None:
    """Removes the slots and their inputs, in place.

    A detour, base(x) + (x @ A) @ B, becomes base(x); a folded weight, Gemm(A, B, W), becomes W.
    """
    graph = model.graph
    inputs = {value.name: value for value in graph.inputs}
    for slot in slots:
        name_a, name_b = input_names(slot)
        value = inputs[name_b]
        while (node := _only_consumer(value)).op_type not in ("Add", "Gemm"):
            value = node.outputs[0]
        terms = node.inputs[2:] if node.op_type == "Gemm" else node.inputs
        base = next(term for term in terms if term is not None and term is not value)
        ir.convenience.replace_all_uses_with(node.outputs[0], base)
        graph.inputs.remove(inputs[name_a])
        graph.inputs.remove(inputs[name_b])
    common.RemoveUnusedNodesPass()(model)


def keep_outputs(model: ir.Model, outputs: Sequence[str]) -> None:
    """Removes the other outputs, and what only they need, in place."""
    _keep(model.graph, outputs)
    common.RemoveUnusedNodesPass()(model)


def relocate(model: ir.Model, places: Mapping[str, Place]) -> None:
    """Makes the named weights be read from other places."""
    for name, place in places.items():
        point_to(model.graph.initializers[name], place)


def shards_of(model: ir.Model) -> list[str]:
    """The shards that a graph reads, in the order of its weights."""
    tensors = (value.const_value for value in model.graph.initializers.values())
    return list(dict.fromkeys(str(t.location) for t in tensors if isinstance(t, ir.ExternalTensor)))


def point_to(value: ir.Value, place: Place) -> None:
    """Makes an initializer's bytes come from a shard."""
    dtype = ir.DataType.from_numpy(place.dtype)
    shape = ir.Shape(place.shape)
    value.dtype, value.shape = dtype, shape
    value.const_value = ir.ExternalTensor(
        place.shard, place.offset, place.length, dtype, shape=shape, name=value.name or ""
    )


def constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """The initializer of that name, made if it is not there."""
    if name not in graph.initializers:
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        value.dtype = ir.DataType.from_numpy(array.dtype)
        value.shape = ir.Shape(array.shape)
        graph.register_initializer(value)
    return graph.initializers[name]


def parse(data: bytes) -> ir.Model:
    """A model from the bytes that `serialize` gave."""
    model: ir.Model = ir.from_proto(onnx.ModelProto.FromString(data))
    return model


def serialize(model: ir.Model) -> bytes:
    """A model as bytes, without names of inner values; equal models give equal bytes."""
    _rename(model.graph)
    proto = ir.to_proto(model)
    shapes = list(known_shapes(proto.graph))
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(shapes)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _keep(graph: ir.Graph, outputs: Sequence[str]) -> None:
    graph.outputs[:] = [value for value in graph.outputs if value.name in outputs]


def _drop_zero_biases(graph: ir.Graph) -> None:
    """Removes the zeros that torch's exporter computes as a bias for convolutions without one."""
    for node in graph:
        if node.op_type == "Conv" and len(node.inputs) == 3 and node.inputs[2] is not None:
            source = node.inputs[2].producer()
            filler = source.inputs[0] if source and source.op_type == "Expand" else None
            tensor = ir.convenience.get_const_tensor(filler) if filler else None
            if tensor is not None and not tensor.numpy().any():
                node.resize_inputs(2)


def _in_order_of_use(graph: ir.Graph) -> list[ir.Value]:
    """Sorts the initializers by where the graph first uses them, and returns them."""
    used = dict.fromkeys(
        value
        for node in graph
        for value in node.inputs
        if value is not None and value.is_initializer()
    )
    graph.initializers.clear()
    for value in used:
        graph.register_initializer(value)
    return list(used)


def _rename(graph: ir.Graph) -> None:
    """Numbers inner values and inline constants in order of use; only weights keep their names."""
    initializers = _in_order_of_use(graph)
    constants = [v for v in initializers if not isinstance(v.const_value, ir.ExternalTensor)]
    ir.convenience.rename_values(constants, [f"c{i}" for i in range(len(constants))])
    outputs = set(graph.outputs)
    inner = [value for node in graph for value in node.outputs if value not in outputs]
    for value in inner:  # first none, so that a new name never meets an old one
        value.name = None
    for number, value in enumerate(inner):
        value.name = f"v{number}"
    for node in graph:
        node.name = ""


def _only_consumer(value: ir.Value) -> ir.Node:
    (use,) = value.uses()
    return use.node


def _stored(value: ir.Value, narrow: bool) -> Array:
    assert value.const_value is not None
    array = value.const_value.numpy()
    floats = value.const_value.dtype == ir.DataType.FLOAT
    return array.astype(np.float16) if narrow and floats else array


def _stored_bytes(value: ir.Value, narrow: bool) -> int:
    tensor = value.const_value
    assert tensor is not None
    return tensor.nbytes // (2 if narrow and tensor.dtype == ir.DataType.FLOAT else 1)
