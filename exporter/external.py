"""`MODE=external`: a LoRA as a style pack. Nothing here imports torch."""

from pathlib import Path

import numpy as np
import onnx_ir as ir

from exporter import graphs
from exporter.merge import merged, stored_weight
from exporter.parity import TOLERANCE, Parity, Runner, compare
from exporter.progress import Step
from exporter.sidecar import Details
from exporter.staging import Stage
from exporter.variants import BASE_VARIANT
from runtime.bundle import Bundle
from runtime.golden import golden_feeds
from runtime.lora import LoraFile, LowRank
from runtime.manifest import FileRef, SlotTable, Style
from runtime.packs import Pack, dump_pack, make_pack, stack
from runtime.tensors import Float32


def export_external(
    bundle: Bundle, lora: LoraFile, details: Details, stage: Stage, step: Step
) -> tuple[Style, list[Parity]]:
    """Stages a LoRA as a pack; returns its style and what the gate has to judge.

    Args:
        bundle: the staged base.
        lora: the file.
        details: how the style is called and shown.
        stage: where the pack goes.
        step: shows the progress.

    Raises:
        BadFile, UnmatchedKeys, WrongBase: the LoRA does not fit the base.
    """
    table, manifest = bundle.slot_table(), bundle.manifest
    with step("style pack", 1):
        pack = make_pack(
            lora,
            table,
            base_hash=manifest.base_hash,
            base_name=manifest.name,
            name=details.name,
            title=details.title,
            trigger_words=details.trigger_words,
            strength=details.strength,
            license=details.license,
            description=details.description,
        )
        ref = stage.add(f"styles/pack-{details.name}", ".safetensors", dump_pack(pack))
    with step("parity", 1):
        measured = [_against_merged(bundle, pack, table, details.strength.default)]
    style = Style(
        name=details.name,
        title=details.title,
        kind="external",
        trigger_words=details.trigger_words,
        description=details.description,
        license=details.license,
        rank=pack.metadata.rank,
        strength=details.strength,
        pack=ref,
        thumbnail=thumbnail(details, stage),
        source_sha256=lora.sha256,
    )
    return style, measured


def thumbnail(details: Details, stage: Stage) -> FileRef | None:
    """Stages the picture that lies beside a LoRA, if there is one."""
    if details.picture is None:
        return None
    path: Path = details.picture
    return stage.add(f"styles/thumb-{details.name}", path.suffix.lower(), path.read_bytes())


def _against_merged(bundle: Bundle, pack: Pack, table: SlotTable, strength: float) -> Parity:
    """The base graph with the pack's inputs, against the graph with weights merged by NumPy."""
    variant = bundle.manifest.variant(BASE_VARIANT)
    graph = next(graph for graph in variant.graphs if graph.compute == "fp32")
    feeds, _ = golden_feeds(bundle, variant)
    feeds |= stack([(pack, strength)], table)
    path = bundle.folder / graph.file.url
    output = Runner(path)(feeds)

    model = graphs.parse(path.read_bytes())
    graphs.remove_slots(model, [slot.name for slot in table.slots])
    for slot in table.slots:
        if slot.input_a in pack.tensors:
            adapter = LowRank(_wide(pack, slot.input_a), _wide(pack, slot.input_b))
            weight = merged(stored_weight(bundle.folder, slot.weight), slot, adapter, strength)
            value = model.graph.initializers[f"{slot.name}.weight"]
            value.const_value = ir.tensor(weight, name=value.name)
            value.dtype = ir.DataType.FLOAT
    check = bundle.folder / "check.onnx"
    check.write_bytes(graphs.serialize(model))
    reference = Runner(check)(feeds)
    return compare(f"{pack.metadata.name}: external = merged", output, reference, TOLERANCE["fp32"])


def _wide(pack: Pack, name: str) -> Float32:
    return pack.tensors[name].astype(np.float32)
