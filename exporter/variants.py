"""The graphs of a UNet variant: which there are, how they are derived, how they are measured."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from exporter import graphs, hoisting, norms, precision
from exporter.biases import Bias, replace_biases
from exporter.parity import TOLERANCE, Parity, Runner, compare
from exporter.shards import Place
from exporter.staging import Stage
from runtime.manifest import Dtype, Provider, UNetGraph, UNetVariant
from runtime.tensors import Array

# fp32 serves all; fp16 is slower than fp32 on CPUs, which widen it node by node. A provider that
# computes one attention form wrongly is found out by the golden vector and given the other. So is
# WebNN, which no machine of ours has.
_PROVIDERS: dict[str, list[Provider]] = {
    "fp32": ["cpu", "wasm", "jsep", "webgpu", "webnn", "cuda"],
    "fp16": ["webgpu", "jsep", "webnn", "cuda"],
}
# onnxruntime-web 1.30's JSEP refuses MatMulNBits of 8 bits; the other providers have 4 and 8.
# WebNN's MatMulNBits takes 4 bits.
_WITHOUT: dict[Dtype, set[Provider]] = {"q8": {"jsep", "webnn"}}


def base_graphs(stage: Stage, fused: bytes, variant: str, dtype: Dtype) -> list[UNetGraph]:
    """Stages {fp32, fp16} x {fused, plain} of a detached fp32 graph with fused attention.

    Where weights are stored in fp32 there is no fp16 compute, which would round them again.
    """
    written = []
    for compute in ("fp32",) if dtype == "fp32" else ("fp32", "fp16"):
        providers = [name for name in _PROVIDERS[compute] if name not in _WITHOUT.get(dtype, ())]
        for attention in ("fused", "plain"):
            model = graphs.parse(fused)
            if attention == "plain":
                graphs.unfuse(model)
            if compute == "fp16":
                precision.halve(model)
            if attention == "plain":
                norms.two_pass(model)
            written.append(_write(stage, model, variant, compute, attention, providers))
    return written


def merged_graphs(
    stage: Stage,
    base: UNetVariant,
    slots: Sequence[str],
    places: Mapping[str, Place],
    biases: Mapping[str, Bias],
    name: str,
) -> list[UNetGraph]:
    """Stages the graphs of `base` without slots, reading the weights in `places` from there, and
    with other biases where they are given."""
    written = []
    for graph in base.graphs:
        model = whole_graph(stage.folder, graph)
        graphs.remove_slots(model, slots)
        graphs.relocate(model, places)
        replace_biases(model, biases)
        written.append(_write(stage, model, name, graph.compute, graph.attention, graph.providers))
    return written


def whole_graph(folder: Path, graph: UNetGraph) -> ir.Model:
    """A UNet graph of the bundle in `folder` as one: prepare and step joined."""
    prepare, step = (
        graphs.parse((folder / ref.url).read_bytes()) for ref in (graph.prepare, graph.file)
    )
    return hoisting.join(prepare, step)


def measure(
    stage: Stage,
    variant: str,
    written: Sequence[UNetGraph],
    feeds: Mapping[str, Mapping[str, Array]],
    references: Mapping[str, Array],
    advance: Callable[[], None],
) -> list[Parity]:
    """Runs every graph at every noise level against the reference. `advance`: called per graph."""
    measured: list[Parity] = []
    for graph in written:
        urls = graph.prepare.url, graph.file.url, graph.shortcut.url
        run = Runner(*(stage.folder / url for url in urls))
        for level in feeds:
            _, whole, short = run.each(feeds[level])
            # The shortcut of a step is the step, from the deep features of that very step.
            for name, found in ((level, whole), (f"{level}, shortcut", short)):
                what = f"{variant} {graph.compute} {graph.attention}, {name}"
                output, tolerance = found["out_sample"], TOLERANCE[graph.compute]
                measured.append(compare(what, output, references[level], tolerance))
        del run  # before the next is opened: each holds 4 GB of Stable Diffusion 1.5
        advance()
    return measured


def _write(
    stage: Stage,
    model: ir.Model,
    variant: str,
    compute: str,
    attention: str,
    providers: Sequence[Provider],
) -> UNetGraph:
    stem = f"unet-{variant}-{compute}-{attention}"
    shards = graphs.shards_of(model)
    prepare = hoisting.split(model)
    short = hoisting.shortcut(model)
    return UNetGraph.model_validate(
        {
            "file": stage.add(stem, ".onnx", graphs.serialize(model)),
            "prepare": stage.add(f"{stem}-prepare", ".onnx", graphs.serialize(prepare)),
            "shortcut": stage.add(f"{stem}-shortcut", ".onnx", graphs.serialize(short)),
            "compute": compute,
            "attention": attention,
            "providers": providers,
            "shards": shards,
        }
    )
