"""Merging a LoRA into weights: W + strength * up @ down, in fp32 from the original weights."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from runtime.errors import BadFile
from runtime.lora import LowRank
from runtime.manifest import Slot, WeightPlace
from runtime.tensors import Array, Float32

_WEIGHTS = "diffusion_pytorch_model.safetensors"


def merged(weight: Array, slot: Slot, adapter: LowRank, strength: float) -> Float32:
    """W' = W + strength * (A @ B)^T, computed in fp32.

    Args:
        weight: `[in, out]` where the slot stores it transposed, else `[out, in, ...]`.
        slot: says which.
        adapter: `A [in, rank]`, `B [rank, out]`, alpha / rank in B.
        strength: of the style.
    """
    delta = np.float32(strength) * (adapter.A @ adapter.B)  # [in, out]
    if not slot.weight.transposed:
        delta = delta.T
    return weight.astype(np.float32) + delta.reshape(weight.shape)


def stored(weight: Float32, slot: Slot) -> Array:
    """A merged weight cast, once, to fp16.

    Raises:
        BadFile: fp16 cannot hold it.
    """
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    if not np.isfinite(half).all():
        raise BadFile(
            f"merged, the weight reaches {np.abs(weight).max():.3g}, which fp16 cannot hold",
            where=slot.name,
            todo="merge with a lower strength",
        )
    return half


def stored_weight(folder: Path, place: WeightPlace) -> Array:
    """A base weight as the bundle in `folder` stores it."""
    count = int(np.prod(place.shape))
    with (folder / place.shard).open("rb") as file:
        array = np.fromfile(file, place.dtype, count, offset=place.offset)
    return array.reshape(place.shape)


def original_weights(base: Path, slots: Mapping[str, Slot]) -> Iterator[tuple[Slot, Array]]:
    """Yields the weights of slots as the base model's file has them, laid out as the bundle's.

    Raises:
        BadFile: the base has no UNet in safetensors, or it lacks a weight.
    """
    folder = base / "unet"
    index = folder / f"{_WEIGHTS}.index.json"
    if index.is_file():
        files = json.loads(index.read_bytes())["weight_map"]
    else:
        files = {f"{name}.weight": _WEIGHTS for name in slots}
    for name, slot in slots.items():
        path = folder / files.get(f"{name}.weight", _WEIGHTS)
        try:
            # Through torch, because NumPy has no bfloat16, which some bases are stored in.
            with safe_open(path, framework="pt") as tensors:
                weight = tensors.get_tensor(f"{name}.weight").float().numpy()
        except (OSError, SafetensorError) as error:
            raise BadFile(
                f"has no weight of {name} ({error})",
                where=str(path),
                todo="save the base with `save_pretrained`, as safetensors",
            ) from None
        yield slot, weight.T if slot.weight.transposed else weight
