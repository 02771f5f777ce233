"""Style packs: a LoRA as a bundle's graphs take it.

A pack is safetensors, fp16, with tensors named like graph inputs and alpha / rank folded into B.
Each slot has a rank of its own, at most the pack's; `stack` fills up with zeros, so that all have
one. Slots that the LoRA does not touch are absent and fed zeros.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from runtime.errors import BadFile, BrushletError, WrongBase
from runtime.lora import LoraFile, match_slots
from runtime.manifest import Sha256, Slot, SlotTable, SlottedModel, Strength, Strict
from runtime.tensors import Array, Float32, dump_tensors, parse_tensors, read_bytes

FORMAT: Literal["brushlet-pack/1"] = "brushlet-pack/1"


class PackMetadata(Strict):
    """What a pack says about itself. In the file every value is a text, lists and records JSON."""

    format: Literal["brushlet-pack/1"] = FORMAT
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    trigger_words: list[str] = Field(default=[])
    strength: Strength = Strength()
    base_hash: Sha256 = Field(description="Manifest.base_hash of the only base it fits")
    base_name: str
    rank: int = Field(ge=1, description="the highest of its slots'")
    models: list[SlottedModel] = Field(
        default=["unet"], description="which it has tensors for; see SlotTable for their names"
    )
    source_sha256: Sha256 = Field(description="of the LoRA file it was made from")
    license: str = ""
    description: str = ""


@dataclass(frozen=True)
class Pack:
    """A style pack. `tensors`: graph input name -> A [in, rank] or B [rank, out], float16."""

    metadata: PackMetadata
    tensors: Mapping[str, Array]


def make_pack(
    lora: LoraFile,
    *tables: SlotTable,
    base_hash: str,
    base_name: str,
    name: str,
    title: str,
    trigger_words: Sequence[str] = (),
    strength: Strength | None = None,
    license: str = "",
    description: str = "",
) -> Pack:
    """Turns a LoRA into a pack.

    `tables`: the slots of each model that it may change; what follows is `PackMetadata`.

    Raises:
        BadFile, WrongBase, UnmatchedKeys: as `match_slots`; BadFile also for values that
            fp16 cannot hold, and for a name or title the format does not allow.
    """
    adapters = match_slots(lora, *tables)
    rank = max(adapter.A.shape[1] for adapter in adapters.values())
    tensors: dict[str, Array] = {}
    for slot in (slot for table in tables for slot in table.slots):
        if adapter := adapters.get(slot.name):
            tensors[slot.input_a] = _half(adapter.A, slot.name, lora.path)
            tensors[slot.input_b] = _half(adapter.B, slot.name, lora.path)
    fields = {
        "name": name,
        "title": title,
        "trigger_words": list(trigger_words),
        "strength": strength or Strength(),
        "base_hash": base_hash,
        "base_name": base_name,
        "rank": rank,
        "models": [
            table.model for table in tables if any(slot.name in adapters for slot in table.slots)
        ],
        "source_sha256": lora.sha256,
        "license": license,
        "description": description,
    }
    return Pack(_checked_metadata(fields, f"pack {name}"), tensors)


def dump_pack(pack: Pack) -> bytes:
    """The pack's file; the same pack always gives the same bytes."""
    fields = pack.metadata.model_dump()
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in fields.items()
    }
    return dump_tensors(pack.tensors, texts)


def read_pack(source: Path | bytes, base_hash: str, base_name: str) -> Pack:
    """Reads a pack for the base with these (Manifest's) `base_hash` and name.

    Raises:
        BadFile: no valid pack.
        WrongBase: a pack for another base.
    """
    where = str(source) if isinstance(source, Path) else "style pack"
    data = read_bytes(source) if isinstance(source, Path) else source
    tensors, texts = parse_tensors(data, where)
    if texts.get("format") != FORMAT:
        what = f"is not a style pack of format {FORMAT}"
        raise BadFile(what, where=where, todo="export the LoRA with this version of brushlet")
    texts_only = {"format", "name", "title", "base_hash", "base_name", "source_sha256"}
    texts_only |= {"license", "description"}
    try:
        fields = {k: v if k in texts_only else json.loads(v) for k, v in texts.items()}
    except (ValueError, RecursionError):
        raise BadFile(
            "has metadata that is not JSON", where=where, todo="export it again"
        ) from None
    pack = Pack(_checked_metadata(fields, where), tensors)
    if pack.metadata.base_hash != base_hash:
        raise WrongBase(
            f"is made for the base {pack.metadata.base_name} ({pack.metadata.base_hash[:16]}),"
            f" this bundle's base is {base_name} ({base_hash[:16]})",
            where=where,
            todo=f"export its LoRA on {base_name}, or open a bundle of {pack.metadata.base_name}",
        )
    return pack


def check_pack(pack: Pack, table: SlotTable) -> None:
    """Raises BadFile unless the tensors of `table`'s model are whole slots, of at most its rank."""
    where = f"pack {pack.metadata.name}"
    expected = {}
    for slot in table.slots:
        if slot.input_a in pack.tensors or slot.input_b in pack.tensors:
            rank = _rank(pack, slot)
            expected[slot.input_a] = (slot.in_width, rank)
            expected[slot.input_b] = (rank, slot.out_width)
    found = {
        name: array.shape for name, array in pack.tensors.items() if _model(name) == table.model
    }
    wrong = [name for name in expected | found if expected.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        what = (
            f"{len(wrong)} tensors do not fit the slots; {name} should have the shape"
            f" {expected.get(name, 'none')} and has {found.get(name, 'none')}"
        )
        raise BadFile(what, where=where, todo="export the LoRA again")


def stack(packs: Sequence[tuple[Pack, float]], table: SlotTable) -> dict[str, Float32]:
    """The LoRA inputs of the graph for several styles at once, each with its strength.

    For each slot A = [A_1 | A_2 | ...] and B = [s_1 B_1; s_2 B_2; ...], so that
    A @ B = sum of s_i A_i @ B_i. Without styles, or with all at strength 0, rank-1 zeros:
    not every execution provider computes a matrix product over an axis of length 0.

    Returns:
        graph input name -> A [in, R] or B [R, out], float32, for every slot.

    Raises:
        BrushletError: a strength that is no finite float32; BadFile as `check_pack`.
    """
    for pack, strength in packs:
        check_pack(pack, table)
        if not abs(strength) <= float(np.finfo(np.float32).max):  # NaN is not, either
            where = f"style {pack.metadata.name}"
            raise BrushletError(f"the strength {strength} is no number of float32", where=where)
    used = [(p, strength) for p, strength in packs if strength and table.model in p.metadata.models]
    rank = sum(pack.metadata.rank for pack, _ in used) or 1
    inputs: dict[str, Float32] = {}
    for slot in table.slots:
        A = inputs[slot.input_a] = np.zeros((slot.in_width, rank), np.float32)
        B = inputs[slot.input_b] = np.zeros((rank, slot.out_width), np.float32)
        start = 0
        for pack, strength in used:
            if slot.input_a in pack.tensors:
                end = start + _rank(pack, slot)
                A[:, start:end] = pack.tensors[slot.input_a]
                B[start:end] = pack.tensors[slot.input_b].astype(np.float32) * np.float32(strength)
            start += pack.metadata.rank
    return inputs


def _rank(pack: Pack, slot: Slot) -> int:
    """A slot's own rank, by the columns of its A; the pack's where these are no rank."""
    A = pack.tensors.get(slot.input_a)
    columns = A.shape[1] if A is not None and A.ndim == 2 else 0
    return columns if 1 <= columns <= pack.metadata.rank else pack.metadata.rank


def _model(name: str) -> SlottedModel:
    """The model that a graph input belongs to, by the rule in `SlotTable`."""
    return "text_encoder" if name.startswith("text_encoder.") else "unet"


def _half(array: Float32, slot: str, path: Path) -> Array:
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        what = f"the LoRA of {slot} reaches {np.abs(array).max():.3g}, which fp16 cannot hold"
        raise BadFile(what, where=str(path), todo="save it with a lower alpha, or train it again")
    return half


def _checked_metadata(fields: dict[str, Any], where: str) -> PackMetadata:
    try:
        return PackMetadata.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"metadata field {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise BadFile(what, where=where, todo="correct the field and export again") from None
