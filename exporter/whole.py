"""The base UNet as one whole fp32 graph, for formats that do not know of bundles."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from exporter import graphs
from exporter.bases import Base
from exporter.biases import replace_biases
from exporter.export import Outcome, export
from exporter.progress import Step
from exporter.slots import SlotSet
from exporter.variants import whole_graph
from runtime.bundle import Bundle
from runtime.manifest import BASE_VARIANT, SlotTable
from runtime.tensors import Float32


@contextmanager
def base_bundle(
    base: Base, folder: Path, step: Step, slot_set: SlotSet | None
) -> Iterator[tuple[Bundle, Outcome]]:
    """A bundle of the base alone inside `folder`, gone at the end.

    Raises:
        BadFile, ParityMissed, BrushletError: as `export`.
    """
    scratch = folder / ".bundle"
    try:
        outcome = export(base, scratch, step, slot_set=slot_set)
        yield Bundle.open(scratch), outcome
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def whole_unet(bundle: Bundle) -> bytes:
    """The graph, fp32 compute and fused attention, its weights in the bundle's shards.

    Inputs `sample`, `timestep [1]`, `encoder_hidden_states` and two for each slot; output
    `out_sample`.
    """
    graph = bundle.graph(bundle.manifest.variant(BASE_VARIANT), "cpu")
    model = whole_graph(bundle.folder, graph)
    graphs.keep_outputs(model, ["out_sample"])
    return graphs.serialize(model)


def without_slots(
    whole: bytes,
    table: SlotTable,
    weights: Mapping[str, Float32],
    biases: Mapping[str, Float32] | None = None,
) -> ir.Model:
    """A whole graph without LoRA inputs, some of its weights replaced.

    Args:
        whole: of `whole_unet`, or of a part.
        table: its slots.
        weights: slot name -> weight in the bundle's layout, which stays fp32.
        biases: slot name -> bias `[out]`.
    """
    model = graphs.parse(whole)
    graphs.remove_slots(model, [slot.name for slot in table.slots])
    for name, weight in weights.items():
        value = model.graph.initializers[f"{name}.weight"]
        value.const_value = ir.tensor(weight, name=value.name)
        value.dtype = ir.DataType.FLOAT  # the Cast behind it then does nothing
    replace_biases(model, biases or {})
    return model
