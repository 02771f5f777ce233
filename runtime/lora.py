"""What a LoRA file says: its modules, in the key styles in use, and the slots they belong to.

A tensor key is a module key and a suffix. Suffixes are a grammar (`runtime/_lora_parts.py`); which
module keys mean which slot is data (`Slot.aliases`). The styles, with the module key in brackets:

- kohya: `[lora_unet_down_blocks_0_..._to_q].lora_down.weight`, `.lora_up.weight`, `.alpha`, with
  diffusers' block names or the original ones (`[lora_unet_input_blocks_1_1_..._to_q]`)
- LyCORIS: kohya's module keys, `.hada_w1_a`, `.lokr_w1`, `.dora_scale`, `.diff`, `.on_input` ...
- diffusers: `[unet.down_blocks.0...to_q].lora_A.weight`, `.lora_B.weight`, or `.lora.down.weight`,
  `.lora.up.weight`
- PEFT: `[base_model.model.down_blocks.0...to_q].lora_A.weight`, also `.lora_A.default.weight`,
  `.lora_magnitude_vector`, `.hada_w1_a`, `.lokr_w1` ...
- old diffusers attention processors: `[down_blocks.0...attn1.processor.to_q]_lora.down.weight`

The text encoder's are `[lora_te_text_model_...]`, `[text_encoder.text_model...]` and so on; of old
diffusers, `[text_encoder.text_model...q_proj].lora_linear_layer.down.weight`.

What the modules do to a weight is in `runtime/adapters.py` and `runtime/products.py`.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime._lora_config import LoraConfig, read_configs
from runtime._lora_kinds import model_family, unsupported_kind
from runtime._lora_parts import modules_of
from runtime.adapters import Adapter, BiasedModule, DoraModule, LoraModule, LowRank
from runtime.errors import BadFile, BrushletError, UnmatchedKeys, WrongBase, listed
from runtime.manifest import Slot, SlotTable
from runtime.products import LohaModule, LokrModule
from runtime.tensors import Metadata, parse_tensors, read_bytes

__all__ = [
    "BASE_HASH_KEY",
    "TEXT_ENCODERS",
    "Adapter",
    "LoraFile",
    "LoraModule",
    "LowRank",
    "match_adapters",
    "match_slots",
    "misfit",
    "model_family",
    "read_lora",
]

# Metadata of our trainer's files: the base's hash, as bundles give it.
BASE_HASH_KEY = "brushlet.base_hash"
# What keys of text-encoder modules begin with.
TEXT_ENCODERS = ("lora_te", "text_encoder", "text_model.", "te.", "lycoris_text_model_")


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file in which every key has been understood. `modules`: module key -> adapter."""

    path: Path
    sha256: str
    metadata: Metadata
    modules: dict[str, Adapter]


def read_lora(path: Path) -> LoraFile:
    """Reads a LoRA `.safetensors` in any of the key styles above and of any kind in `adapters`.

    Raises:
        BadFile: a damaged or hostile file, a kind of adapter that is not supported, keys that
            belong to no module, modules that are not whole, or shapes that do not fit.
    """
    data = read_bytes(path)
    tensors, metadata = parse_tensors(data, str(path))
    if fault := unsupported_kind(tensors):
        raise BadFile(fault.what, where=str(path), todo=fault.todo)
    modules = modules_of(tensors, str(path))
    config_of = read_configs(path, metadata)
    modules = {key: _configured(module, key, config_of(key)) for key, module in modules.items()}
    return LoraFile(path, hashlib.sha256(data).hexdigest(), metadata, modules)


def match_adapters(lora: LoraFile, *tables: SlotTable) -> dict[str, Adapter]:
    """Finds the slot of every module in one of the tables. Returns slot name -> adapter.

    Raises:
        WrongBase: the keys are those of another model family, or the widths of another size.
        UnmatchedKeys: some modules have no slot; the first are named.
        BadFile: two modules mean the same slot.
    """
    slots = {alias: slot for table in tables for slot in table.slots for alias in slot.aliases}
    unmatched = [key for key in lora.modules if key not in slots]
    if unmatched:
        _refuse_unmatched(unmatched, lora)
    _refuse_other_widths(lora, slots)
    found: dict[str, Adapter] = {}
    for key, module in lora.modules.items():
        name = slots[key].name
        if name in found:
            raise BadFile(
                f"two modules adapt the same layer {name}; the second is {key}",
                where=str(lora.path),
                todo="merge them in the tool that wrote the file",
            )
        found[name] = module
    return found


def match_slots(lora: LoraFile, *tables: SlotTable) -> dict[str, LowRank]:
    """Finds the slot of every module in one of the tables. Returns slot name -> exact low rank.

    Raises:
        WrongBase, UnmatchedKeys, BadFile: as `match_adapters`; BadFile also for an alpha that
            float32 cannot hold.
        BrushletError: modules of a kind without an exact low-rank form; the first are named.
    """
    adapters: dict[str, LowRank] = {}
    high: dict[str, list[str]] = defaultdict(list)  # why not -> slots
    for name, module in match_adapters(lora, *tables).items():
        with np.errstate(over="ignore", invalid="ignore"):
            adapter = module.low_rank()
        if adapter is None:
            high[f"{module.kind}: {module.obstacle}"].append(name)
        elif not (np.isfinite(adapter.A).all() and np.isfinite(adapter.B).all()):
            what = "alpha times the weights is more than a float32 holds"
            todo = "save the LoRA with a lower alpha"
            raise BadFile(what, where=f"{lora.path}: {name}", todo=todo)
        else:
            adapters[name] = adapter
    if high:
        count = sum(map(len, high.values()))
        reasons = "; ".join(f"{why} ({listed(names)})" for why, names in high.items())
        what = f"{count} of {len(lora.modules)} modules have no exact low-rank form - {reasons}"
        raise BrushletError(what, where=str(lora.path), todo="export it with MODE=merged")
    return adapters


def _configured(module: Adapter, key: str, config: LoraConfig | None) -> Adapter:
    """A module with the scale that PEFT's config gives it; files with alphas know better."""
    if config is None:
        return module
    if isinstance(module, BiasedModule):
        return replace(module, change=_configured(module.change, key, config))
    if isinstance(module, DoraModule):
        change = _configured(module.change, key, config)
        return replace(module, change=change)  # type: ignore[arg-type]
    if isinstance(module, LokrModule) and module.rank is None and module.alpha is None:
        # PEFT, unlike LyCORIS, scales by alpha / rank where neither factor has a rank, too.
        return replace(module, scalar=config.scale(key))
    if isinstance(module, LoraModule | LohaModule | LokrModule) and module.alpha is None:
        assert module.rank is not None
        return replace(module, alpha=config.effective_alpha(key, module.rank))
    return module


def _refuse_unmatched(unmatched: list[str], lora: LoraFile) -> None:
    where = str(lora.path)
    if family := model_family(lora.modules, lora.metadata):
        what = f"is a LoRA for {family}, whose layers this base does not have"
        raise WrongBase(what, where=where, todo="use a LoRA that was trained on this base")
    what = f"{len(unmatched)} of {len(lora.modules)} modules match no slot: {listed(unmatched)}"
    text = [key for key in unmatched if key.startswith(TEXT_ENCODERS)]
    todo = "use a LoRA trained on this base"
    if len(text) < len(unmatched):
        todo += ", or export the base with a wider slot set"
    if text:
        what += f"; {len(text)} of these adapt a text encoder, where this base's has no slot"
    raise UnmatchedKeys(what, where=where, todo=todo)


def misfit(module: Adapter, slot: Slot) -> str | None:
    """What tells a module's widths from its slot's; None where they are the same."""
    area = 9 if slot.kind == "conv3x3" else 1
    ins = slot.in_width // area
    if module.fits(ins, area, slot.out_width):
        return None
    has = f"{ins} -> {slot.out_width}{' (3x3)' if area == 9 else ''}"
    return f"{module.size} where the base has {has}"


def _refuse_other_widths(lora: LoraFile, slots: dict[str, Slot]) -> None:
    misfits = ((key, misfit(module, slots[key])) for key, module in lora.modules.items())
    wrong = [f"{key} is {said}" for key, said in misfits if said]
    if wrong:
        what = f"{len(wrong)} of {len(lora.modules)} modules have other widths: {listed(wrong)}"
        todo = "use a LoRA that was trained on this base"
        raise WrongBase(what, where=str(lora.path), todo=todo)
