"""A whole export: the base if it is not there, the style, the gate, and the bundle made public."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exporter import NAME
from exporter.bases import Base, find_base
from exporter.blend import Blend, Mixture, read_mixture
from exporter.details import Details, check_name, check_strength
from exporter.examples import draw_pictures
from exporter.external import export_external
from exporter.fitting import check_fit, lora_notes, telling
from exporter.hints import read_hints
from exporter.parity import Parity, gate
from exporter.progress import Step
from exporter.report import REPORT_NAME, Report, report_file
from exporter.slots import SlotSet
from exporter.staging import Stage, dump, grammar_file, read_manifest, staging
from runtime.bundle import Bundle
from runtime.digests import altered_files, base_hash, remember
from runtime.manifest import (
    MANIFEST_NAME,
    Dtype,
    FileRef,
    Graph,
    Manifest,
    SlotTable,
    Style,
    UNetVariant,
    file_refs,
)

Mode = Literal["external", "merged"]


@dataclass(frozen=True)
class Outcome(Report):
    """What an export into a bundle did."""

    manifest: Manifest


@dataclass(frozen=True)
class StyleRequest:
    """LoRAs and what to make of them.

    `strength`: of the merge, or where the slider starts. `examples`: whether a thumbnail and
    examples are drawn where no pictures lie beside the file.
    """

    lora: Path | Blend
    mode: Mode
    name: str | None = None
    strength: float | None = None
    examples: bool = False


def export(
    base: Path | Base,
    out: Path,
    step: Step,
    style: StyleRequest | None = None,
    fresh: bool = False,
    slot_set: SlotSet | None = None,
    dtype: Dtype | None = None,
) -> Outcome:
    """Writes a base, and a style if asked for, into the bundle at `out`.

    `out` changes only when all is written and has passed the gate; on any error, and on an
    interrupt at any moment, it stays the bundle it was.

    Args:
        base: pipeline in the diffusers layout, or what `find_base` found.
        out: the bundle's folder, made if it is not there.
        step: shows the progress.
        style: the LoRAs to add; a style of the same name is replaced.
        fresh: exports the base again even if `out` has it.
        slot_set: where LoRAs can attach; default: as the base in `out` has it, or `transformer`.
        dtype: how the UNet's weights are stored; default: as the base in `out` has it, or `fp16`.

    Raises:
        BadFile, UnmatchedKeys, WrongBase: of the input files.
        ParityMissed: a graph does not compute what it must.
        BrushletError: another export is writing into `out`.
    """
    mixture = read_mixture(style.lora) if style else None
    details = _details(mixture, style) if style and mixture else None
    if isinstance(base, Path):
        base = find_base(str(base))
    with staging(out) as stage:
        with step("base model", 1):
            digest = base_hash(base.folder)
        had_manifest = (out / MANIFEST_NAME).exists()
        old = read_manifest(out)
        old_slots = _slot_set(out, old)
        damaged = altered_files(out, file_refs(old)) if old else []
        kept = None if fresh else _reusable(out, old, digest, slot_set, dtype, damaged)
        parity: list[Parity] = []
        if kept:
            current = {"hints": read_hints(base.folder), "lora": grammar_file(stage)}
            manifest = kept.model_copy(update=current)
            for ref in file_refs(manifest):
                stage.keep(ref)
        else:
            # Imported here because it imports torch, which a second export does without.
            from exporter.base import export_base

            slot_set = slot_set or old_slots or "transformer"
            if style and mixture:
                with step("LoRA and base", 1):
                    check_fit(mixture, base.folder, base.name, digest, style.mode, slot_set)
            manifest, parity = export_base(
                base,
                digest,
                slot_set,
                dtype or (old.storage.dtype if old else "fp16"),
                stage,
                step,
            )
            lines = [item.measurement() for item in gate(parity)]
            manifest = manifest.model_copy(update={"parity": lines})
            manifest = _with_packs(manifest, old, stage, damaged)
        if style and mixture and details:
            manifest, measured = _add_style(
                manifest, base.folder, mixture, details, style, stage, step
            )
            parity += measured
        outcome = Outcome(
            written=_new_files(old, manifest),
            parity=parity,
            notes=[
                *_notes(had_manifest, old, kept, manifest),
                *_slot_notes(old_slots, slot_set),
                *_replaced(old, manifest, details),
                *lora_notes(mixture, base.name, digest),
            ],
            manifest=manifest,
        )
        if damaged:
            said = f"Missing or altered since the last export: {', '.join(damaged)}."
            outcome.notes.insert(0, said)
        report = stage.folder / REPORT_NAME  # staged, so that a full disk is met before the bundle
        report.write_bytes(dump(report_file(outcome)))
        stage.publish(manifest)
        report.replace(out / REPORT_NAME)
        remember(out, file_refs(manifest))
    return outcome


def _new_files(old: Manifest | None, new: Manifest) -> list[FileRef]:
    before = {ref.url for ref in file_refs(old)}
    after = {ref.url: ref for ref in file_refs(new)}
    return [ref for url, ref in after.items() if url not in before]


def _notes(
    had_manifest: bool, old: Manifest | None, kept: Manifest | None, new: Manifest
) -> Iterator[str]:
    if kept:
        yield "The base model was there already and was not exported again."
    storage = new.storage
    if old and old.storage.dtype != storage.dtype:
        yield (
            f"The weights were stored as {old.storage.dtype}; the base model was exported again, as"
            f" {storage.dtype}."
        )
    if not kept and storage.error is not None:
        yield (
            f"Stored as {storage.dtype}, a step is {storage.error:.1e} of its largest value from"
            f" the one with fp16 weights (cosine {storage.cosine:.6f}), as PyTorch computes both."
        )
    if had_manifest and not old:
        yield "The manifest that was there is of another version or damaged; its styles are gone."
    names = {style.name for style in new.styles}
    if lost := [style.name for style in old.styles if style.name not in names] if old else []:
        yield (
            "These styles belong to a base model that was exported anew, or were damaged, and are"
            f" gone; export them again: {', '.join(lost)}."
        )


def _replaced(old: Manifest | None, new: Manifest, details: Details | None) -> Iterator[str]:
    """A style of the same name may be an older one of the same file, or another by accident."""
    if not old or not details:
        return
    before, now = (
        [style for style in manifest.styles if style.name == details.name]
        for manifest in (old, new)
    )
    if before and now and before[0].source_sha256 != now[0].source_sha256:
        yield (
            f"It takes the place of the style {details.name} ({before[0].title}), which was made"
            " from another file; STYLE= would have kept both."
        )


def _slot_notes(before: SlotSet | None, wanted: SlotSet | None) -> Iterator[str]:
    if before and wanted and before != wanted:
        yield f"The slots were those of SLOTS={before}; the base model now has those of {wanted}."


def _reusable(
    out: Path,
    old: Manifest | None,
    digest: str,
    slot_set: SlotSet | None,
    dtype: Dtype | None,
    damaged: Sequence[str],
) -> Manifest | None:
    """The bundle's manifest if its base is the wanted one and whole; without damaged styles."""
    if old is None or old.base_hash != digest or old.exporter != NAME:
        return None
    if dtype not in (None, old.storage.dtype):
        return None
    sound = old.model_copy(update={"styles": _sound_styles(old, damaged)})
    if {ref.url for ref in file_refs(sound)} & set(damaged):
        return None
    table = _slot_table(out, old)
    return sound if table and slot_set in (None, table.slot_set) else None


def _sound_styles(manifest: Manifest, damaged: Sequence[str]) -> list[Style]:
    return [
        style
        for style in manifest.styles
        if not {ref.url for ref in file_refs(style)} & set(damaged)
    ]


def _slot_table(folder: Path, manifest: Manifest) -> SlotTable | None:
    try:
        return SlotTable.model_validate_json((folder / manifest.slots.url).read_bytes())
    except (OSError, ValueError):
        return None


def _slot_set(folder: Path, manifest: Manifest | None) -> SlotSet | None:
    table = _slot_table(folder, manifest) if manifest else None
    return table.slot_set if table else None


def _with_packs(
    manifest: Manifest, old: Manifest | None, stage: Stage, damaged: Sequence[str]
) -> Manifest:
    """Takes over the packs of a bundle with the same base, if the new one has all their slots.

    Merged styles are gone: they refer to old weights.
    """
    if old is None or old.base_hash != manifest.base_hash:
        return manifest
    before, now = _slot_table(stage.out, old), _slot_table(stage.folder, manifest)
    if not before or not now or not {s.name for s in before.slots} <= {s.name for s in now.slots}:
        return manifest
    styles = [style for style in _sound_styles(old, damaged) if style.kind == "external"]
    for ref in file_refs(styles):
        stage.keep(ref)
    return manifest.model_copy(update={"styles": styles})


def _details(mixture: Mixture, request: StyleRequest) -> Details:
    """How the style is called and shown.

    Raises:
        BadFile, BrushletError: a sidecar is damaged, or the name or the strength cannot be.
    """
    check_strength(request.strength)
    if request.mode == "external":
        details = mixture.details(request.name, request.strength)
    else:
        details = mixture.details(request.name)
        # Of another name than the external style of the same LoRA, so that both fit a bundle.
        if request.name is None:
            details = details.renamed(f"{details.name}-merged", f"{details.title} (merged)")
    check_name(details.name)
    return details


def _add_style(
    manifest: Manifest,
    base: Path,
    mixture: Mixture,
    details: Details,
    request: StyleRequest,
    stage: Stage,
    step: Step,
) -> tuple[Manifest, list[Parity]]:
    (stage.folder / MANIFEST_NAME).write_bytes(dump(manifest))
    bundle = Bundle.open(stage.folder)
    tables = bundle.slot_tables()

    def every() -> list[SlotTable]:
        from exporter.layers import every_layer  # imports ONNX, for the graphs

        return [every_layer(bundle, base), tables[1]]

    variants: list[UNetVariant] = []
    shards: dict[str, FileRef] = {}
    with telling(mixture, manifest.name, manifest.base_hash, tables, every):
        if request.mode == "external":
            style, measured = export_external(bundle, mixture, details, stage, step)
        else:
            from exporter.merged import export_merged  # imports torch, for the golden vector

            strength = 1.0 if request.strength is None else request.strength
            style, variant, shards, measured = export_merged(
                bundle, base, mixture, details, strength, stage, step
            )
            variants = [variant]
    lines = [item.measurement() for item in gate(measured)]
    style = style.model_copy(update={"parity": lines})
    unet = [item for item in manifest.unet if item.name != style.name] + variants
    used = {shard for graph in _graphs(manifest, unet) for shard in graph.shards}
    others = [item for item in manifest.styles if item.name != style.name]
    added = manifest.model_copy(
        update={
            "styles": [*others, style],
            "unet": unet,
            "shards": {url: ref for url, ref in (manifest.shards | shards).items() if url in used},
        }
    )
    if request.examples:
        (stage.folder / MANIFEST_NAME).write_bytes(dump(added))
        shown = draw_pictures(Bundle.open(stage.folder), style.name, stage, step)
        added = added.model_copy(update={"styles": [*others, shown]})
    return added, measured


def _graphs(manifest: Manifest, unet: list[UNetVariant]) -> Iterator[Graph]:
    for variant in unet:
        yield from variant.graphs
        if variant.text_encoder:
            yield variant.text_encoder.graph
    for part in (manifest.text_encoder, manifest.vae_encoder, manifest.vae_decoder):
        yield part.graph
