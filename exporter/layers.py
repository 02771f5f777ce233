"""Every layer of a bundle's UNet that a LoRA can be merged into, with a slot or without."""

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir

from exporter import graphs
from exporter.merge import Originals
from exporter.shards import Place
from exporter.slots import Kind, SlotShape, aliases, make_slots, slot_paths
from runtime.bundle import Bundle
from runtime.manifest import BASE_VARIANT, SlotTable


def every_layer(bundle: Bundle, base: Path) -> SlotTable:
    """The bundle's slots, and the layers of the slot set `full` that have none as if they had.

    Their weights lie among the others that no LoRA of the bundle's slot set changes; graphs know
    them by name.

    Args:
        bundle: opened.
        base: the folder of the original model.

    Raises:
        BadFile: the base has no UNet in safetensors.
    """
    table = bundle.slot_table()
    if table.slot_set == "full":
        return table
    slots = {slot.name: slot for slot in table.slots}
    places = _places(bundle)
    shapes = {}
    for name, shape in Originals(base, "unet").shapes().items():
        path, _, leaf = name.rpartition(".")
        if leaf == "weight" and path not in slots and name in places and slot_paths([path], "full"):
            quantised = f"{path}.scales" in places
            transposed = quantised or len(places[name].shape) == 2
            shapes[path] = SlotShape(_kind(shape), int(np.prod(shape[1:])), shape[0], transposed)
    config = json.loads((base / "unet" / "config.json").read_bytes())
    others = make_slots(shapes, places, lambda path: aliases(path, config))
    return SlotTable(slot_set="full", slots=[*table.slots, *others])


def _kind(shape: tuple[int, ...]) -> Kind:
    if len(shape) == 2:
        return "linear"
    return "conv1x1" if shape[2:] == (1, 1) else "conv3x3"


def _places(bundle: Bundle) -> dict[str, Place]:
    """Where the base's weights lie, by name."""
    graph = bundle.graph(bundle.manifest.variant(BASE_VARIANT))
    found = {}
    for ref in (graph.file, graph.prepare):
        model = graphs.parse(bundle.path(ref).read_bytes())
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor):
                shape = tuple(tensor.shape.numpy())
                offset = tensor.offset or 0
                found[name] = Place(str(tensor.location), offset, shape, tensor.dtype.numpy())
    return found
