"""`MODE=merged`: a LoRA as a UNet variant without slots, which shares unchanged shards."""

from collections.abc import Iterator
from pathlib import Path

import torch

from exporter.external import thumbnail
from exporter.golden import GOLDEN_LEVEL, golden_inputs, reference_step, write_golden
from exporter.merge import merged, original_weights, stored, stored_weight
from exporter.parity import Parity
from exporter.pipeline import load_unet
from exporter.progress import Step
from exporter.shards import Shards
from exporter.sidecar import Details
from exporter.staging import Stage
from exporter.variants import BASE_VARIANT, measure, merged_graphs
from runtime.bundle import Bundle
from runtime.lora import LoraFile, match_slots
from runtime.manifest import FileRef, Style, UNetVariant
from runtime.tensors import Array, Float32


def export_merged(
    bundle: Bundle,
    base: Path,
    lora: LoraFile,
    details: Details,
    strength: float,
    stage: Stage,
    step: Step,
) -> tuple[Style, UNetVariant, dict[str, FileRef], list[Parity]]:
    """Stages a LoRA merged at a fixed strength.

    Args:
        bundle: the staged base.
        base: the folder of the original model, whose weights are merged in fp32 and cast once.
        lora: the file.
        details: how the style is called and shown.
        strength: of the merge.
        stage: where the files go.
        step: shows the progress.

    Returns:
        The style, its variant, the new shards, and what the gate has to judge.

    Raises:
        BadFile, UnmatchedKeys, WrongBase: the LoRA does not fit the base.
    """
    table = bundle.slot_table()
    adapters = match_slots(lora, table)
    slots = {slot.name: slot for slot in table.slots}
    touched = {slots[name].weight.shard for name in adapters}
    changed: dict[str, Array] = {}
    shards = Shards(stage)

    def weights() -> Iterator[tuple[str, Array]]:
        for name, slot in slots.items():
            if slot.weight.shard in touched:
                yield f"{name}.weight", changed.get(name, stored_weight(bundle.folder, slot.weight))

    with step("merging", len(adapters)) as advance:
        for slot, weight in original_weights(base, {name: slots[name] for name in adapters}):
            changed[slot.name] = stored(merged(weight, slot, adapters[slot.name], strength), slot)
            advance()
        places = shards.write(weights())
        written = merged_graphs(
            stage, bundle.manifest.variant(BASE_VARIANT), list(slots), places, details.name
        )
    with step("PyTorch reference", 1):
        unet = load_unet(base)
        for name, weight in changed.items():
            layout = weight.T if slots[name].weight.transposed else weight
            unet.get_submodule(name).weight.data = torch.from_numpy(layout.astype("float32"))
        levels = golden_inputs(unet.config, bundle.manifest.model.num_train_timesteps)
        references: dict[str, Float32] = {
            level: reference_step(unet, feeds) for level, feeds in levels.items()
        }
    golden = write_golden(stage, details.name, levels[GOLDEN_LEVEL], references[GOLDEN_LEVEL])
    with step("parity", len(written)) as advance:
        measured = measure(stage, details.name, written, levels, references, advance)
    style = Style(
        name=details.name,
        title=details.title,
        kind="merged",
        trigger_words=details.trigger_words,
        description=details.description,
        license=details.license,
        rank=max(adapter.A.shape[1] for adapter in adapters.values()),
        strength=details.strength,
        merged_strength=strength,
        variant=details.name,
        thumbnail=thumbnail(details, stage),
        source_sha256=lora.sha256,
    )
    variant = UNetVariant(name=details.name, slots=False, graphs=written, golden=golden)
    return style, variant, shards.files, measured
