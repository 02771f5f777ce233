"""Merging a LoRA of any kind into weights, in fp32 from the original weights."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from exporter.ahead import ahead
from exporter.parity import TOLERANCE, Parity, compare
from exporter.progress import Advance
from exporter.quantisation import Packed, pack, rounded, unpack
from exporter.shards import Place
from runtime.errors import BadFile
from runtime.manifest import Slot, SlotTable, SlottedModel, WeightPlace
from runtime.noise import Generator
from runtime.tensors import Array, Float32, TensorFile

_WEIGHTS: dict[SlottedModel, str] = {  # folder of a pipeline -> file
    "unet": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}
_SEED = 4


class WeightChange(Protocol):
    """What an adapter, or several together, do to a weight `[out, in, ...]`."""

    def apply(self, weight: Array, strength: float) -> Float32:
        """The changed weight, in fp32 and in the same shape."""


class Change(WeightChange, Protocol):
    """What they do to a whole layer."""

    @property
    def touches_bias(self) -> bool:
        """Whether they change the layer's bias."""

    def apply_bias(self, bias: Float32, strength: float) -> Float32:
        """The changed bias `[out]`."""


def merged(weight: Array, slot: Slot, adapter: WeightChange, strength: float) -> Float32:
    """The adapter's formula (`runtime.adapters`) on a weight in the bundle's layout, in fp32.

    Args:
        weight: `[in, out]` where the slot stores it transposed, else `[out, in, ...]`.
        slot: says which.
        adapter: what to merge.
        strength: of the style.
    """
    laid_out = weight.T if slot.weight.transposed else weight
    with np.errstate(over="ignore", invalid="ignore"):  # `stored` refuses what comes of it
        changed = adapter.apply(laid_out, strength)
    return changed.T if slot.weight.transposed else changed


def stored(weight: Float32, slot: Slot) -> Array:
    """A merged weight rounded, once, to what the bundle stores.

    Raises:
        BadFile: it is too large for that.
    """
    place = slot.weight
    # of a quantised one the scales
    dtype = np.float32 if place.dtype == "float32" else np.float16
    cast = finite(weight, dtype, slot.name)
    return rounded(weight, place.quantised.bits) if place.quantised else cast


def finite(array: Float32, dtype: type[np.floating[Any]], layer: str) -> Array:
    """A merged weight or bias in another precision; BadFile when that cannot hold it."""
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if not _all_finite(cast):
        name = np.dtype(dtype).name
        what = f"merged, the weight reaches {np.abs(array).max():.3g}, which {name} cannot hold"
        raise BadFile(what, where=layer, todo="merge with a lower strength")
    return cast


def _all_finite(array: Array) -> bool:
    """`np.isfinite(array).all()`, for fp16 by the bits of the exponent, a fifth of the time."""
    if array.dtype != np.float16:
        return bool(np.isfinite(array).all())
    exponents = np.uint16(0x7C00)
    return not ((array.view(np.uint16) & exponents) == exponents).any()


def merged_bias(
    originals: "Originals", slot: Slot, adapter: Change, strength: float
) -> Float32 | None:
    """The bias `[out]` of a layer after a merge, in fp32; None where it stays.

    Raises:
        BadFile: the adapter adds to a bias that the layer does not have.
    """
    if not adapter.touches_bias:
        return None
    bias = originals.bias(slot.name)
    if bias is None:
        unbiased = np.zeros(slot.out_width, np.float32)
        if not adapter.apply_bias(unbiased, strength).any():
            return None  # it multiplies
        what = "the LoRA changes the layer's bias, and the base's layer has none"
        raise BadFile(what, where=slot.name, todo="use a LoRA that was trained on this base")
    with np.errstate(over="ignore", invalid="ignore"):
        return adapter.apply_bias(bias, strength)


def _stores_fp32(table: SlotTable) -> bool:
    return any(slot.weight.dtype == "float32" for slot in table.slots)


class Merge:
    """Adapters going into the weights of one model, one weight in memory at a time."""

    def __init__(
        self,
        bundle: Path,
        base: Path,
        table: SlotTable,
        adapters: Mapping[str, Change],
        strength: float,
        slotted: Collection[str] | None = None,
    ) -> None:
        """`bundle` and `base`: folders; `adapters`: slot name -> what to merge; `slotted`: those of
        `table` that have slots, and so lie in shards of their own; default: all."""
        self.slotted = {slot.name for slot in table.slots} if slotted is None else set(slotted)
        self.bundle, self.base, self.table = bundle, base, table
        self.adapters, self.strength = adapters, strength
        self._probes: dict[str, Float32] = {}

    def weights(self, advance: Advance) -> Iterator[tuple[str, Array]]:
        """Yields the `named_arrays` of every slot whose shard changes.

        Raises:
            BadFile: a merged weight is too large to be stored, or the base lacks one.
        """
        slots = [slot for slot in self.table.slots if slot.name in self.adapters]
        touched = {slot.weight.shard for slot in slots if slot.name in self.slotted}
        originals = Originals(self.base, self.table.model)
        changing = [
            slot
            for slot in self.table.slots
            if slot.name in self.adapters
            or (slot.weight.shard in touched and slot.name in self.slotted)
        ]
        jobs = (partial(self._kept, slot, originals) for slot in changing)
        for slot, kept in zip(changing, ahead(jobs), strict=True):
            yield from named_arrays(slot, kept)
            if slot.name in self.adapters:
                advance()

    def _kept(self, slot: Slot, originals: "Originals") -> Array:
        """A slot's weight as the merged style's shards hold it."""
        if slot.name not in self.adapters:
            return stored_weight(self.bundle, slot.weight)
        weight = originals.weight(slot, self.bundle)
        weight = merged(weight, slot, self.adapters[slot.name], self.strength)
        kept = stored(weight, slot)
        self._probes[slot.name] = probe(slot, kept if slot.weight.quantised else weight)
        return kept

    @cached_property
    def biases(self) -> dict[str, Array]:
        """Slot name -> merged bias `[out]` as it is stored, of the layers whose bias changes.

        Raises:
            BadFile: the layer has none, or it is too large to be stored.
        """
        originals = Originals(self.base, self.table.model)
        dtype = np.float32 if _stores_fp32(self.table) else np.float16
        found: dict[str, Array] = {}
        for slot in self.table.slots:
            adapter = self.adapters.get(slot.name)
            bias = merged_bias(originals, slot, adapter, self.strength) if adapter else None
            if bias is not None:
                found[slot.name] = finite(bias, dtype, slot.name)
        return found

    def changed(self, folder: Path, places: Mapping[str, Place]) -> dict[str, tuple[Slot, Array]]:
        """Slot name -> the slot, its merged weight as it was written."""
        return {
            slot.name: (slot, _written(folder, slot, places))
            for slot in self.table.slots
            if slot.name in self.adapters
        }

    def parity(self, name: str, folder: Path, places: Mapping[str, Place]) -> Parity:
        """What was written for the style `name` against what was merged (of a quantised base, as it
        was rounded), by products with both."""
        slots = [slot for slot in self.table.slots if slot.name in self._probes]

        def written(slot: Slot) -> Float32:
            return probe(slot, _written(folder, slot, places)).ravel()

        found = list(ahead(partial(written, slot) for slot in slots))
        expected = [self._probes[slot.name].ravel() for slot in slots]
        what = f"{name}: written = merged"
        return compare(what, np.concatenate(found), np.concatenate(expected), TOLERANCE["fp16"])


def probe(slot: Slot, weight: Array) -> Float32:
    """Some random rows `[4, in]` times a weight in the bundle's layout: `[4, out]`."""
    columns = weight if slot.weight.transposed else weight.reshape(len(weight), -1).T
    product: Float32 = probing_rows(slot) @ columns.astype(np.float32, copy=False)
    return product


def probing_rows(slot: Slot) -> Float32:
    """Random rows `[4, in]`, the same for every weight of a slot."""
    return Generator(_SEED).randn((4, slot.in_width))


def stored_weight(folder: Path, place: WeightPlace) -> Array:
    """A base weight as the bundle in `folder` stores it; a quantised one widened to fp32."""
    quantised = place.quantised
    if quantised is None:
        return _read(folder / place.shard, place.offset, place.dtype, place.shape)
    ins, outs = place.shape
    blocks = -(-ins // quantised.block)
    code_bytes = quantised.block * quantised.bits // 8
    codes = _read(folder / place.shard, place.offset, "uint8", [outs, blocks, code_bytes])
    scales_file = folder / quantised.scales_shard
    scales = _read(scales_file, quantised.scales_offset, "float16", [outs, blocks])
    return unpack(Packed(codes, scales), quantised.bits, ins)


def named_arrays(slot: Slot, weight: Array) -> Iterator[tuple[str, Array]]:
    """What shards hold of a weight that `stored` or `stored_weight` gave: `<slot>.weight`, and
    `<slot>.scales` where it is quantised."""
    if slot.weight.quantised is None:
        yield f"{slot.name}.weight", weight
    else:
        codes, scales = pack(weight, slot.weight.quantised.bits)
        yield f"{slot.name}.weight", codes
        yield f"{slot.name}.scales", scales


def _written(folder: Path, slot: Slot, places: Mapping[str, Place]) -> Array:
    """`stored_weight` of a slot whose arrays were written to `places`."""
    place, scales = (places.get(f"{slot.name}.{name}") for name in ("weight", "scales"))
    assert place is not None
    update: dict[str, object] = {"shard": place.shard, "offset": place.offset}
    if slot.weight.quantised and scales:
        moved = {"scales_shard": scales.shard, "scales_offset": scales.offset}
        update["quantised"] = slot.weight.quantised.model_copy(update=moved)
    return stored_weight(folder, slot.weight.model_copy(update=update))


def _read(path: Path, offset: int, dtype: str, shape: Sequence[int]) -> Array:
    with path.open("rb") as file:
        return np.fromfile(file, dtype, int(np.prod(shape)), offset=offset).reshape(shape)


class Originals:
    """What the base model's file, or files, of one model hold; names are those of slots."""

    def __init__(self, base: Path, model: SlottedModel) -> None:
        """BadFile, at the first look into it, when `base` has no such model in safetensors."""
        self._folder, self._file, self._model = base / model, _WEIGHTS[model], model
        index = self._folder / f"{self._file}.index.json"
        self._files = json.loads(index.read_bytes())["weight_map"] if index.is_file() else {}
        self._opened: dict[str, TensorFile] = {}

    def read(self, name: str) -> Float32:
        """A tensor in fp32; BadFile when there is none."""
        key = name.removeprefix(f"{self._model}.")
        return self._holder(key).read(key).astype(np.float32, copy=False)

    def weight(self, slot: Slot, bundle: Path | None = None) -> Float32:
        """A slot's weight in fp32, laid out as the bundle has it; BadFile when there is none.

        What the base's file has in fp16 is read from `bundle`, a folder, where the same lies laid
        out already.
        """
        place, key = slot.weight, f"{slot.name.removeprefix(f'{self._model}.')}.weight"
        same = place.dtype == "float16" and not place.quantised
        if bundle and same and self._holder(key).is_half(key):
            return stored_weight(bundle, place).astype(np.float32)
        weight = self.read(f"{slot.name}.weight")
        laid_out = weight.reshape(len(weight), -1).T if place.transposed else weight
        return laid_out.reshape(place.shape)

    def bias(self, layer: str) -> Float32 | None:
        """A layer's bias, or None where it has none."""
        key = f"{layer.removeprefix(f'{self._model}.')}.bias"
        return self.read(f"{layer}.bias") if key in self._holder(key).shapes() else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape."""
        found: dict[str, tuple[int, ...]] = {}
        for file in set(self._files.values()) or {self._file}:
            found |= self._open(file).shapes()
        return found

    def _holder(self, key: str) -> TensorFile:
        anyone = next(iter(self._files.values()), self._file)  # will say that it lacks the key
        return self._open(self._files.get(key, anyone))

    def _open(self, file: str) -> TensorFile:
        if file not in self._opened:
            self._opened[file] = TensorFile(self._folder / file)
        return self._opened[file]
