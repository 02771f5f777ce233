"""A whole export: the base if it is not there, the style, the gate, and the bundle made public."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exporter import NAME
from exporter.digests import base_hash
from exporter.external import export_external
from exporter.parity import Parity, gate
from exporter.progress import Step
from exporter.sidecar import read_details
from exporter.staging import Stage, dump, read_manifest, staging
from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.lora import LoraFile, read_lora
from runtime.manifest import (
    MANIFEST_NAME,
    FileRef,
    Graph,
    Manifest,
    SlotTable,
    UNetVariant,
    file_refs,
)

Mode = Literal["external", "merged"]
SLOT_SET = "transformer"
_LORAS = Path(__file__).parents[1] / "models" / "loras"


@dataclass(frozen=True)
class Outcome:
    """What an export did."""

    manifest: Manifest
    written: list[FileRef]  # files that the bundle did not have before
    parity: list[Parity]
    notes: list[str]  # what else the person should know


@dataclass(frozen=True)
class StyleRequest:
    """A LoRA and what to make of it. `strength`: of the merge, or where the slider starts."""

    lora: Path
    mode: Mode
    name: str | None = None
    strength: float | None = None


def find_lora(name_or_path: str) -> Path:
    """The LoRA file of that name under `models/loras/`, or at that path.

    Raises:
        BrushletError: there is none; the names that exist are listed.
    """
    for path in (_LORAS / f"{name_or_path}.safetensors", Path(name_or_path)):
        if path.is_file():
            return path
    names = sorted(path.stem for path in _LORAS.glob("*.safetensors"))
    raise BrushletError(
        "there is no such LoRA",
        where=name_or_path,
        todo=f"give a path, or one of: {', '.join(names) or '(models/loras is empty)'}",
    )


def export(
    base: Path, out: Path, step: Step, style: StyleRequest | None = None, fresh: bool = False
) -> Outcome:
    """Writes a base, and a style if asked for, into the bundle at `out`.

    `out` changes only when all is written and has passed the gate; on any error, and on an
    interrupt at any moment, it stays the bundle it was.

    Args:
        base: pipeline in the diffusers layout.
        out: the bundle's folder, made if it is not there.
        step: shows the progress.
        style: the LoRA to add; a style of the same name is replaced.
        fresh: exports the base again even if `out` has it.

    Raises:
        BadFile, UnmatchedKeys, WrongBase: of the input files.
        ParityMissed: a graph does not compute what it must.
        BrushletError: another export is writing into `out`.
    """
    lora = read_lora(style.lora) if style else None
    with staging(out) as stage:
        with step("base model", 1):
            digest = base_hash(base)
        had_manifest = (out / MANIFEST_NAME).exists()
        old = read_manifest(out)
        kept = None if fresh else _reusable(out, old, digest)
        parity: list[Parity] = []
        if kept:
            manifest = kept
            for ref in file_refs(manifest):
                stage.keep(ref)
        else:
            # Imported here because it imports torch, which a second export does without.
            from exporter.base import export_base

            manifest, parity = export_base(base, digest, stage, step)
            gate(parity)
            manifest = _with_packs(manifest, old, stage)
        if style and lora:
            manifest, measured = _add_style(manifest, base, lora, style, stage, step)
            parity += gate(measured)
        stage.publish(manifest)
    before = {ref.url for ref in file_refs(old)}
    after = {ref.url: ref for ref in file_refs(manifest)}
    written = [ref for url, ref in after.items() if url not in before]
    return Outcome(manifest, written, parity, list(_notes(had_manifest, old, kept, manifest)))


def _notes(
    had_manifest: bool, old: Manifest | None, kept: Manifest | None, new: Manifest
) -> Iterator[str]:
    if kept:
        yield "The base model was there already and was not exported again."
    if had_manifest and not old:
        yield "The manifest that was there is of another version or damaged; its styles are gone."
    names = {style.name for style in new.styles}
    if lost := [style.name for style in old.styles if style.name not in names] if old else []:
        yield (
            "The base model was exported anew. These styles belong to the old one and are gone,"
            f" export them again: {', '.join(lost)}."
        )


def _reusable(out: Path, old: Manifest | None, digest: str) -> Manifest | None:
    if old is None or old.base_hash != digest or old.exporter != NAME:
        return None
    try:
        table = SlotTable.model_validate_json((out / old.slots.url).read_bytes())
    except (OSError, ValueError):
        return None
    return old if table.slot_set == SLOT_SET else None


def _with_packs(manifest: Manifest, old: Manifest | None, stage: Stage) -> Manifest:
    """Takes over the packs of a bundle with the same base; merged styles refer to old weights."""
    if old is None or old.base_hash != manifest.base_hash:
        return manifest
    styles = [style for style in old.styles if style.kind == "external"]
    for ref in file_refs(styles):
        stage.keep(ref)
    return manifest.model_copy(update={"styles": styles})


def _add_style(
    manifest: Manifest,
    base: Path,
    lora: LoraFile,
    request: StyleRequest,
    stage: Stage,
    step: Step,
) -> tuple[Manifest, list[Parity]]:
    (stage.folder / MANIFEST_NAME).write_bytes(dump(manifest))
    bundle = Bundle.open(stage.folder)
    if request.mode == "external":
        details = read_details(lora, request.name, request.strength)
        style, measured = export_external(bundle, lora, details, stage, step)
        variants: list[UNetVariant] = []
        shards: dict[str, FileRef] = {}
    else:
        from exporter.merged import export_merged  # imports torch, for the golden vector

        # Of another name than the external style of the same LoRA, so that both fit a bundle.
        details = read_details(lora, request.name)
        if request.name is None:
            details = details.renamed(f"{details.name}-merged", f"{details.title} (merged)")
        strength = 1.0 if request.strength is None else request.strength
        style, variant, shards, measured = export_merged(
            bundle, base, lora, details, strength, stage, step
        )
        variants = [variant]
    unet = [item for item in manifest.unet if item.name != style.name] + variants
    used = {shard for graph in _graphs(manifest, unet) for shard in graph.shards}
    return manifest.model_copy(
        update={
            "styles": [item for item in manifest.styles if item.name != style.name] + [style],
            "unet": unet,
            "shards": {url: ref for url, ref in (manifest.shards | shards).items() if url in used},
        }
    ), measured


def _graphs(manifest: Manifest, unet: list[UNetVariant]) -> Iterator[Graph]:
    for variant in unet:
        yield from variant.graphs
    for part in (manifest.text_encoder, manifest.vae_encoder, manifest.vae_decoder):
        yield part.graph
