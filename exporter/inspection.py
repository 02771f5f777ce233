"""What a LoRA file is, told without exporting it: `python -m exporter inspect FILE`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Column, Table

from exporter.details import read_details
from runtime.bundle import Bundle
from runtime.commands import plain
from runtime.lora import TEXT_ENCODERS, LoraFile, misfit, model_family, read_lora
from runtime.manifest import BASE_VARIANT

HIGH_RANK = 32  # past it a style LoRA mostly learns its pictures by heart
_TAGS = 20
# What the module keys begin with, the most telling first.
_KEY_STYLES = {
    "lora_unet_input_blocks": "kohya, original (ldm) block names",
    "lora_unet_output_blocks": "kohya, original (ldm) block names",
    "lora_unet_middle_block": "kohya, original (ldm) block names",
    "lora_": "kohya",
    "lycoris_": "LyCORIS",
    "diffusion_model.": "ComfyUI, original (ldm) block names",
    "base_model.model.": "PEFT",
    "unet.base_model.model.": "PEFT",
    "unet.": "diffusers",
    "text_encoders.": "ComfyUI",
    "text_encoder.": "diffusers",
}


class Fit(BaseModel):
    """How a file meets a bundle's base."""

    bundle: str
    matched: int
    unmatched: list[str]
    misfits: dict[str, str]  # matched by name, but of other widths: made for another base
    percent_of_base: float  # of the UNet's bytes


class Inspection(BaseModel):
    """Everything a person may want to know of a LoRA file before using it."""

    file: str
    bytes: int
    sha256: str
    key_style: str
    family: str
    kinds: dict[str, int]
    ranks: dict[int, int]
    alphas: dict[str, int]
    unet_modules: int
    text_encoder_modules: int
    title: str
    trained_on: str
    resolution: str
    trigger_words: list[str]
    tags: dict[str, int]
    preferred_strength: float
    license: str
    merged_only: list[str]  # modules without an exact low-rank form
    fit: Fit | None
    warnings: list[str]


def inspect(path: Path, bundle: Bundle | None = None) -> Inspection:
    """Reads a file and, if a bundle is given, holds it against the bundle's slots.

    Raises:
        BadFile: it is no LoRA that can be read.
    """
    lora = read_lora(path)
    details = read_details(lora)
    modules = lora.modules
    text = [key for key in modules if key.startswith(TEXT_ENCODERS)]
    ranks = Counter(module.rank for module in modules.values() if module.rank is not None)
    alphas = Counter(_alpha(module) for module in modules.values())
    full_only = [key for key, module in modules.items() if module.low_rank() is None]
    metadata = lora.metadata
    return Inspection(
        file=str(path),
        bytes=path.stat().st_size,
        sha256=lora.sha256,
        key_style=_key_style(modules),
        family=model_family(modules, metadata) or "Stable Diffusion 1 or 2",
        kinds=dict(Counter(module.kind for module in modules.values())),
        ranks=dict(sorted(ranks.items())),
        alphas=dict(sorted(alphas.items())),
        unet_modules=len(modules) - len(text),
        text_encoder_modules=len(text),
        title=details.title,
        trained_on=metadata.get("ss_sd_model_name", ""),
        resolution=metadata.get("modelspec.resolution", metadata.get("ss_resolution", "")),
        trigger_words=details.trigger_words,
        tags=_tags(metadata.get("ss_tag_frequency", "")),
        preferred_strength=details.strength.default,
        license=details.license,
        merged_only=full_only,
        fit=_fit(lora, bundle) if bundle else None,
        warnings=_warnings(lora, full_only),
    )


def show(found: Inspection, console: Console) -> None:
    """Prints an inspection as a table."""
    # A hash is of use only whole.
    told = Column(plain(found.title), overflow="fold")
    console.print(plain(found.file), soft_wrap=True)  # a path is of use only in one piece
    table = Table("", told)

    def row(name: str, value: object) -> None:
        if value not in ("", {}, []):
            table.add_row(name, plain(value))

    row("size", f"{found.bytes:,} bytes")
    row("sha256", found.sha256)
    row("keys", found.key_style)
    row("for", found.family)
    row("kinds", _counted(found.kinds))
    row("ranks", _counted(found.ranks))
    row("alphas", _counted(found.alphas))
    row("modules", f"{found.unet_modules} UNet, {found.text_encoder_modules} text encoder")
    row("trained on", found.trained_on)
    row("resolution", found.resolution)
    row("trigger words", ", ".join(found.trigger_words))
    row("tags", _counted(found.tags))
    row("preferred strength", found.preferred_strength)
    row("licence", found.license)
    if found.fit:
        row("bundle", found.fit.bundle)
        row("matched", f"{found.fit.matched} modules")
        row("unmatched", ", ".join(found.fit.unmatched))
        row("of other widths", ", ".join(f"{k}: {said}" for k, said in found.fit.misfits.items()))
        row("of the base", f"{found.fit.percent_of_base:.1f} % of its UNet's bytes")
    console.print(table)
    for warning in found.warnings:
        console.print(plain(f"note: {warning}"))


def _alpha(module: Any) -> str:
    alpha = getattr(getattr(module, "change", module), "alpha", None)
    return "none (= rank)" if alpha is None else f"{alpha:g}"


def _key_style(modules: Any) -> str:
    keys = list(modules)
    if any(".processor." in key for key in keys):
        return "diffusers attention processors (before 0.21)"
    for start, style in _KEY_STYLES.items():
        if any(key.startswith(start) for key in keys):
            return style
    return "bare module paths"


def _tags(text: str) -> dict[str, int]:
    """The most frequent tags of kohya's `ss_tag_frequency`: {dataset: {tag: count}}."""
    try:
        datasets = json.loads(text or "{}")
        counts = Counter[str]()
        for tags in datasets.values():
            counts.update({str(tag).strip(): int(count) for tag, count in tags.items()})
    except (ValueError, TypeError, AttributeError):
        return {}  # a stray field of somebody's metadata is no reason to refuse the file
    return dict(counts.most_common(_TAGS))


def _fit(lora: LoraFile, bundle: Bundle) -> Fit:
    slots = [slot for table in bundle.slot_tables() for slot in table.slots]
    by_alias = {alias: slot for slot in slots for alias in slot.aliases}
    known = {key: module for key, module in lora.modules.items() if key in by_alias}
    misfits = {key: misfit(module, by_alias[key]) for key, module in known.items()}
    manifest = bundle.manifest
    shards = {shard for graph in manifest.variant(BASE_VARIANT).graphs for shard in graph.shards}
    base = sum(manifest.shards[shard].bytes for shard in shards)
    return Fit(
        bundle=f"{bundle.folder} ({manifest.name})",
        matched=sum(said is None for said in misfits.values()),
        unmatched=sorted(lora.modules.keys() - known.keys()),
        misfits={key: said for key, said in misfits.items() if said},
        percent_of_base=100 * lora.path.stat().st_size / base,
    )


def _warnings(lora: LoraFile, full_only: list[str]) -> list[str]:
    warnings = []
    highest = max((module.rank or 0 for module in lora.modules.values()), default=0)
    if highest > HIGH_RANK:
        warnings.append(
            f"rank {highest} is past {HIGH_RANK}: the file is large and easily over-fitted for what"
            " it adds; rank 8 to 32 mostly looks the same"
        )
    if full_only:
        warnings.append(
            f"{len(full_only)} modules have no exact low-rank form: export it with MODE=merged"
        )
    return warnings


def _counted(counts: Any) -> str:
    return ", ".join(f"{name} x{count}" for name, count in counts.items())
