"""What a LoRA file says: its modules, in the key styles in use, and the slots they belong to.

A tensor key is a module key and a suffix. Suffixes are this module's grammar; which module keys
mean which slot is data (`Slot.aliases`). The styles, with the module key in brackets:

- kohya: `[lora_unet_down_blocks_0_..._to_q].lora_down.weight`, `.lora_up.weight`, `.alpha`
- diffusers: `[unet.down_blocks.0...to_q].lora_A.weight`, `.lora_B.weight`, or `.lora.down.weight`,
  `.lora.up.weight`
- PEFT: `[base_model.model.down_blocks.0...to_q].lora_A.weight`, also `.lora_A.default.weight`
- old diffusers attention processors: `[down_blocks.0...attn1.processor.to_q]_lora.down.weight`
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime._lora_config import read_config
from runtime._lora_kinds import model_family, unsupported_kind
from runtime.errors import BadFile, UnmatchedKeys, WrongBase
from runtime.manifest import Slot, SlotTable
from runtime.tensors import Array, Float32, Metadata, Tensors, parse_tensors, read_bytes

_SUFFIXES = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".alpha": "alpha",
}
_TEXT_ENCODERS = ("lora_te", "text_encoder", "text_model.", "te.")


@dataclass(frozen=True)
class LoraModule:
    """One adapted layer, as stored: delta = alpha / rank * up @ down.

    `down [rank, in]` and `up [out, rank]`; a 1x1 convolution's have two more axes of 1.
    `alpha` is None when the file does not say, which means alpha = rank.
    """

    down: Array
    up: Array
    alpha: float | None

    @property
    def rank(self) -> int:
        """The width of the bottleneck."""
        return int(self.down.shape[0])

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file in which every key has been understood. `modules`: module key -> module."""

    path: Path
    sha256: str
    metadata: Metadata
    modules: dict[str, LoraModule]


@dataclass(frozen=True)
class LowRank:
    """A slot's adapter as the graph takes it: A [in, rank], B [rank, out], alpha / rank in B."""

    A: Float32
    B: Float32


def read_lora(path: Path) -> LoraFile:
    """Reads a LoRA `.safetensors` in any of the key styles above.

    Raises:
        BadFile: a damaged or hostile file, a kind of adapter that is not supported, keys that
            belong to no module, halves without their other half, or shapes that do not fit.
    """
    data = read_bytes(path)
    tensors, metadata = parse_tensors(data, str(path))
    if fault := unsupported_kind(tensors):
        raise BadFile(fault.what, where=str(path), todo=fault.todo)
    modules = _modules(tensors, str(path))
    if config := read_config(path, metadata):
        modules = {
            key: module
            if module.alpha is not None
            else replace(module, alpha=config.effective_alpha(key, module.rank))
            for key, module in modules.items()
        }
    return LoraFile(path, hashlib.sha256(data).hexdigest(), metadata, modules)


def match_slots(lora: LoraFile, table: SlotTable) -> dict[str, LowRank]:
    """Finds the slot of every module. Returns slot name -> adapter.

    Raises:
        WrongBase: the keys are those of another model family, or the widths of another size.
        UnmatchedKeys: some modules have no slot; all are listed.
        BadFile: two modules mean the same slot.
    """
    slots = {alias: slot for slot in table.slots for alias in slot.aliases}
    unmatched = [key for key in lora.modules if key not in slots]
    if unmatched:
        _refuse_unmatched(unmatched, lora)
    _refuse_other_widths(lora, slots)
    found: dict[str, LowRank] = {}
    for key, module in lora.modules.items():
        name = slots[key].name
        if name in found:
            raise BadFile(
                f"two modules adapt the same layer {name}; the second is {key}",
                where=str(lora.path),
                todo="merge them in the tool that wrote the file",
            )
        found[name] = _low_rank(module, f"{lora.path}: {key}")
    return found


def _modules(tensors: Tensors, where: str) -> dict[str, LoraModule]:
    parts: dict[str, dict[str, str]] = defaultdict(dict)  # module key -> part -> tensor key
    strangers = []
    for key in tensors:
        suffix = next((suffix for suffix in _SUFFIXES if key.endswith(suffix)), None)
        if suffix is None:
            strangers.append(key)
            continue
        part = parts[key.removesuffix(suffix)]
        if _SUFFIXES[suffix] in part:
            what = f"{part[_SUFFIXES[suffix]]} and {key} say the same thing twice"
            raise BadFile(what, where=where, todo="keep one of them")
        part[_SUFFIXES[suffix]] = key
    if strangers:
        what = f"{_count(strangers, 'key')} not part of any LoRA module: {', '.join(strangers)}"
        raise BadFile(what, where=where, todo="check that this is a LoRA file")
    halves = [key for key, part in parts.items() if not {"down", "up"} <= set(part)]
    if halves:
        what = f"{_count(halves, 'module')} without both down and up: {', '.join(halves)}"
        raise BadFile(what, where=where, todo="download or save the file again")
    if not parts:
        raise BadFile("has no tensors", where=where, todo="check that this is a LoRA file")
    return {
        key: _module({name: tensors[tensor] for name, tensor in part.items()}, key, where)
        for key, part in parts.items()
    }


def _module(part: Tensors, key: str, where: str) -> LoraModule:
    down, up, alpha = part["down"], part["up"], part.get("alpha")

    def shaped(array: Array) -> bool:
        pointwise = array.ndim == 4 and array.shape[2:] == (1, 1)
        return array.dtype.kind == "f" and (array.ndim == 2 or pointwise)

    if not (shaped(down) and shaped(up) and down.shape[0] == up.shape[1]):
        what = (
            f"module {key}: down {list(down.shape)} {down.dtype} and up {list(up.shape)} {up.dtype}"
            " are not [rank, in] and [out, rank]"
        )
        raise BadFile(what, where=where, todo="save the LoRA again")
    if alpha is not None and alpha.size != 1:
        what = f"module {key}: alpha has the shape {list(alpha.shape)}, not one number"
        raise BadFile(what, where=where, todo="save the LoRA again")
    return LoraModule(down, up, None if alpha is None else float(alpha.item()))


def _low_rank(module: LoraModule, where: str) -> LowRank:
    down = module.down.reshape(module.down.shape[:2])
    up = module.up.reshape(module.up.shape[:2])
    with np.errstate(over="ignore", invalid="ignore"):
        A = np.ascontiguousarray(down.T, np.float32)
        B = np.ascontiguousarray(module.scale * up.T.astype(float), np.float32)
    if not (np.isfinite(A).all() and np.isfinite(B).all()):
        what = f"alpha {module.alpha} times the weights is more than a float32 holds"
        raise BadFile(what, where=where, todo="save the LoRA with a lower alpha")
    return LowRank(A, B)


def _refuse_unmatched(unmatched: list[str], lora: LoraFile) -> None:
    where = str(lora.path)
    if family := model_family(lora.modules, lora.metadata):
        what = f"is a LoRA for {family}, whose layers this base does not have"
        raise WrongBase(what, where=where, todo="use a LoRA that was trained on this base")
    what = f"{len(unmatched)} of {len(lora.modules)} modules match no slot: {', '.join(unmatched)}"
    text = [key for key in unmatched if key.startswith(_TEXT_ENCODERS)]
    todo = "use a LoRA trained on this base, or export the base with a wider slot set"
    if text:
        what += f"; {len(text)} of these adapt the text encoder, which takes no LoRA yet"
        if len(text) == len(unmatched):
            todo = "train the UNet only (kohya: --network_train_unet_only)"
    raise UnmatchedKeys(what, where=where, todo=todo)


def _refuse_other_widths(lora: LoraFile, slots: dict[str, Slot]) -> None:
    def widths(module: LoraModule) -> tuple[int, int]:
        return int(module.down.shape[1]), int(module.up.shape[0])

    wrong = [
        f"{key} is {widths(module)[0]} -> {widths(module)[1]}"
        f" where the base has {slots[key].in_width} -> {slots[key].out_width}"
        for key, module in lora.modules.items()
        if widths(module) != (slots[key].in_width, slots[key].out_width)
    ]
    if wrong:
        what = f"{len(wrong)} of {len(lora.modules)} modules have other widths: {', '.join(wrong)}"
        todo = "use a LoRA that was trained on this base"
        raise WrongBase(what, where=str(lora.path), todo=todo)


def _count(items: list[str], noun: str) -> str:
    return f"1 {noun} is" if len(items) == 1 else f"{len(items)} {noun}s are"
