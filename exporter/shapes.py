"""Shapes of inner values, which onnxruntime plans its memory by.

When a session is created, onnxruntime looks for every value whether the memory of one that is no
longer needed fits, by comparing shapes with all of those. Where it cannot infer shapes, none fits,
the list grows, and this search takes most of a session's creation: 0.20 of 0.27 s for the 755 nodes
of the embedded UNet, whose shapes are lost at every Reshape to computed sizes. torch knows
them; Optimum, which traces the VAE, does not.
"""

from collections.abc import Iterator

import onnx

# Sizes that the graph's inputs go by; they may mean the same in graphs that are joined.
_SHARED = ("batch", "tokens")
_RANK = "rank"


def known_shapes(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    """Those of the graph's value infos that are whole, with sizes numbered in order of appearance.

    Not among them: shapes with a LoRA's rank, which may differ from slot to slot, and weights,
    whose shapes stand there anyway.
    """
    names: dict[str, str] = {}
    infos = {info.name: info for info in graph.value_info}
    shapes = {name: _sizes(info) for name, info in infos.items()}
    for node in graph.node:
        for output in node.output:
            sizes = shapes.get(output)
            if node.op_type == "Reshape" and sizes and (source := shapes.get(node.input[0])):
                sizes = shapes[output] = _completed(sizes, source)
            if sizes is None or not all(map(_known, sizes)):
                continue
            info = infos[output]
            del info.type.tensor_type.shape.dim[:]
            for size in sizes:
                if isinstance(size, str) and size not in _SHARED:
                    size = names.setdefault(size, f"size.{len(names)}")
                info.type.tensor_type.shape.dim.add(**{_FIELD[type(size)]: size})
            yield info


_FIELD = {int: "dim_value", str: "dim_param"}


def _sizes(info: onnx.ValueInfoProto) -> list[int | str] | None:
    """Without a name and a number a size is unknown: 0."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [size.dim_param or size.dim_value for size in tensor.shape.dim]


def _completed(sizes: list[int | str], source: list[int | str]) -> list[int | str]:
    """A Reshape's sizes, of which torch does not know the one that takes what is left."""
    if not all(map(_known, source)) or sizes.count(0) != 1:
        return sizes
    left = f"what {sizes} leaves of {source}"
    return [left if size == 0 else size for size in sizes]


def _known(size: int | str) -> bool:
    return _RANK not in size if isinstance(size, str) else size > 0
