"""`MODE=merged`: LoRAs as a UNet variant without slots, which shares unchanged shards."""

from pathlib import Path

from exporter import biases
from exporter.blend import Mixture
from exporter.details import Details
from exporter.layers import every_layer
from exporter.merge import Merge
from exporter.parity import Parity
from exporter.progress import Step
from exporter.shards import Shards
from exporter.staging import Stage
from exporter.styles import make_style
from exporter.variants import merged_graphs
from runtime.bundle import Bundle
from runtime.manifest import BASE_VARIANT, FileRef, Style, UNetVariant

# Bytes of weights up to which PyTorch takes a golden step with the merged UNet: above it takes a
# minute and 5 GB, where the merge takes seconds.
GOLDEN_UP_TO = 256 << 20


def export_merged(
    bundle: Bundle,
    base: Path,
    mixture: Mixture,
    details: Details,
    strength: float,
    stage: Stage,
    step: Step,
) -> tuple[Style, UNetVariant, dict[str, FileRef], list[Parity]]:
    """Stages LoRAs, of any kind, merged at a fixed strength.

    Args:
        bundle: the staged base.
        base: the folder of the original model, whose weights are merged in fp32 and cast once.
        mixture: the files.
        details: how the style is called and shown.
        strength: of the merge, times each file's weight.
        stage: where the files go.
        step: shows the progress.

    Returns:
        The style, its variant, the new shards, and what the gate has to judge.

    Raises:
        BadFile, UnmatchedKeys, WrongBase: the LoRA does not fit the base.
    """
    table, text_table = bundle.slot_tables()
    slots = [slot.name for slot in table.slots]
    table = every_layer(bundle, base)  # a merge needs no slot
    adapters = mixture.adapters(table, text_table)
    rank = max(adapter.rank or 0 for adapter in adapters.values())
    text_slots = [slot.name for slot in text_table.slots if slot.name in adapters]
    text_adapters = {name: adapters.pop(name) for name in text_slots}
    shards, measured = Shards(stage), []
    with step("merging", len(adapters)) as advance:
        merge = Merge(bundle.folder, base, table, adapters, strength, slots)
        places = shards.write(merge.weights(advance))
        if adapters:
            measured.append(merge.parity(details.name, stage.folder, places))
        written = merged_graphs(
            stage,
            bundle.manifest.variant(BASE_VARIANT),
            slots,
            places,
            biases.store(merge.biases, shards),
            details.name,
        )
    golden = None
    if _weight_bytes(bundle) <= GOLDEN_UP_TO:
        from exporter.merged_golden import merged_golden  # imports torch

        golden, parity = merged_golden(bundle, base, merge, places, written, details, stage, step)
        measured += parity
    text_encoder = None
    if text_adapters:
        from exporter.text_encoder import merge_text_encoder  # imports torch

        with step("merging the text encoder", 1):
            text_merge = Merge(bundle.folder, base, text_table, text_adapters, strength)
            text_encoder, text_parity = merge_text_encoder(
                bundle, base, text_merge, details.name, shards, stage
            )
            measured += text_parity
    of_model = {"unet": adapters, "text_encoder": text_adapters}
    style = make_style(
        details,
        stage,
        kind="merged",
        rank=rank,  # 0: of no rank
        source_sha256=mixture.sha256,
        models=[model for model, own in of_model.items() if own],
        merged_strength=strength,
        variant=details.name,
    )
    variant = UNetVariant(
        name=details.name, slots=False, graphs=written, golden=golden, text_encoder=text_encoder
    )
    return style, variant, shards.files, measured


def _weight_bytes(bundle: Bundle) -> int:
    graph = bundle.graph(bundle.manifest.variant(BASE_VARIANT))
    return sum(bundle.manifest.shards[shard].bytes for shard in graph.shards)
