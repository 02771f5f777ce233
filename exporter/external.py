"""`MODE=external`: a LoRA, or several stacked, as a style pack. Nothing here imports torch."""

from collections.abc import Mapping

import numpy as np

from exporter.blend import Mixed, Mixture
from exporter.details import Details
from exporter.merge import probing_rows
from exporter.parity import TOLERANCE, Parity, compare, worst
from exporter.progress import Step
from exporter.staging import Stage
from exporter.styles import make_style
from runtime.adapters import Adapter, Sum, wide
from runtime.bundle import Bundle
from runtime.manifest import SlotTable, Style
from runtime.packs import Pack, dump_pack, make_pack
from runtime.tensors import Float32


def export_external(
    bundle: Bundle, mixture: Mixture, details: Details, stage: Stage, step: Step
) -> tuple[Style, list[Parity]]:
    """Stages LoRAs as one pack; returns its style and what the gate has to judge.

    Args:
        bundle: the staged base.
        mixture: the files.
        details: how the style is called and shown.
        stage: where the pack goes.
        step: shows the progress.

    Raises:
        BadFile, UnmatchedKeys, WrongBase: the LoRA does not fit the base.
    """
    manifest, tables = bundle.manifest, bundle.slot_tables()
    with step("style pack", 1):
        pack = make_pack(
            mixture.stacked(*tables),
            *tables,
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
        adapters = mixture.adapters(*tables)
        changed = [table for table in tables if table.model in pack.metadata.models]
        measured = [_against_file(pack, table, adapters) for table in changed]
    style = make_style(
        details,
        stage,
        kind="external",
        rank=pack.metadata.rank,
        source_sha256=mixture.sha256,
        models=pack.metadata.models,
        pack=ref,
    )
    return style, measured


def _against_file(pack: Pack, table: SlotTable, adapters: Mapping[str, Adapter | Mixed]) -> Parity:
    """x @ A @ B of the pack against what the files add to a layer's output, for random x.

    The layer that is furthest off counts, by its own size: beside strong layers a weak one could
    be all wrong. That a graph computes base(x) + (x @ A) @ B from its inputs is what the base's
    gate has seen.
    """
    measured = []
    for slot in table.slots:
        if adapter := adapters.get(slot.name):
            x = probing_rows(slot)
            A, B = (pack.tensors[name].astype(np.float32) for name in (slot.input_a, slot.input_b))
            found, expected = (x @ A) @ B, _added(adapter, x)
            measured.append(compare(slot.name, found, expected, TOLERANCE["fp16"]))
    of_model = "" if table.model == "unet" else f", {table.model.replace('_', ' ')}"
    what = f"{pack.metadata.name}{of_model}: pack = file"
    return worst(what, measured)


def _added(adapter: Adapter | Mixed, x: Float32) -> Float32:
    parts = adapter.parts if isinstance(adapter, Mixed) else ((adapter, 1.0),)
    gains = [np.float32(weight) * part.added(x) for part, weight in parts if isinstance(part, Sum)]
    assert len(gains) == len(parts)  # no other kind has a low-rank form
    return wide(np.sum(gains, axis=0))
