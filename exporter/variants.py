"""The graphs of a UNet variant: which there are, how they are derived, how they are measured."""

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from exporter import graphs, norms, precision
from exporter.parity import TOLERANCE, Parity, Runner, compare
from exporter.shards import Place
from exporter.staging import Stage
from runtime.manifest import Graph, Provider, UNetVariant
from runtime.tensors import Array

BASE_VARIANT = "base"
# fp32 serves all; fp16 is slower than fp32 on CPUs, which widen it node by node. A provider that
# computes one attention form wrongly is found out by the golden vector and given the other.
_PROVIDERS: dict[str, list[Provider]] = {
    "fp32": ["cpu", "wasm", "jsep", "webgpu", "cuda"],
    "fp16": ["webgpu", "jsep", "cuda"],
}


def base_graphs(stage: Stage, fused: bytes, variant: str) -> list[Graph]:
    """Stages {fp32, fp16} x {fused, plain} of a detached fp32 graph with fused attention."""
    written = []
    for compute in ("fp32", "fp16"):
        for attention in ("fused", "plain"):
            model = graphs.parse(fused)
            if attention == "plain":
                graphs.unfuse(model)
            if compute == "fp16":
                precision.halve(model)
            if attention == "plain":
                norms.two_pass(model)
            written.append(_write(stage, model, variant, compute, attention))
    return written


def merged_graphs(
    stage: Stage, base: UNetVariant, slots: Sequence[str], places: Mapping[str, Place], name: str
) -> list[Graph]:
    """Stages the graphs of `base` without slots, reading the weights in `places` from there."""
    written = []
    for graph in base.graphs:
        model = graphs.parse((stage.folder / graph.file.url).read_bytes())
        graphs.remove_slots(model, slots)
        graphs.relocate(model, places)
        written.append(_write(stage, model, name, graph.compute, graph.attention))
    return written


def measure(
    stage: Stage,
    variant: str,
    written: Sequence[Graph],
    feeds: Mapping[str, Mapping[str, Array]],
    references: Mapping[str, Array],
    advance: Callable[[], None],
) -> list[Parity]:
    """Runs every graph at every noise level against the reference. `advance`: called per graph."""
    measured = []
    for graph in written:
        run = Runner(stage.folder / graph.file.url)
        measured += [
            compare(
                f"{variant} {graph.compute} {graph.attention}, {level}",
                run(feeds[level]),
                references[level],
                TOLERANCE[graph.compute],
            )
            for level in feeds
        ]
        advance()
    return measured


def _write(stage: Stage, model: ir.Model, variant: str, compute: str, attention: str) -> Graph:
    stem = f"unet-{variant}-{compute}-{attention}"
    return Graph.model_validate(
        {
            "file": stage.add(stem, ".onnx", graphs.serialize(model)),
            "compute": compute,
            "attention": attention,
            "providers": _PROVIDERS[compute],
            "shards": graphs.shards_of(model),
        }
    )
