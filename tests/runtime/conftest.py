from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from runtime.bundle import Bundle
from runtime.manifest import Slot, SlotTable, WeightPlace
from runtime.pipeline import Pipeline
from runtime.tensors import Float32
from tests.disks import disk as disk
from tests.disks import read_only_disk as read_only_disk
from tests.disks import small_disk as small_disk
from tests.parity.reference import Reference

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")


def normals(seed: int) -> Callable[..., Float32]:
    """Draws arrays of the shape it is called with, one after another."""
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.standard_normal(shape, np.float32)


def slot(path: str, module: torch.nn.Module) -> Slot:
    """The slot of a module, with the aliases of the four key styles."""
    weight = module.weight
    aliases = [
        f"lora_unet_{path.replace('.', '_')}",
        f"unet.{path}",
        path,
        f"base_model.model.{path}",
    ]
    for projection in ("to_q", "to_k", "to_v", "to_out.0"):
        if path.endswith(f".{projection}"):
            attention = path.removesuffix(f".{projection}")
            aliases.append(f"{attention}.processor.{projection.removesuffix('.0')}")
    kind = "linear"
    if weight.ndim == 4:
        kind = "conv1x1" if weight.shape[2:] == (1, 1) else "conv3x3"
    return Slot(
        name=path,
        kind=kind,
        in_width=weight[0].numel(),
        out_width=weight.shape[0],
        input_a=f"{path}.lora_A",
        input_b=f"{path}.lora_B",
        aliases=aliases,
        weight=WeightPlace(
            shard="0", offset=0, shape=list(weight.shape), dtype="float16", transposed=False
        ),
    )


@pytest.fixture(scope="session")
def table(tiny_base: Path) -> SlotTable:
    """The transformer slot set of the tiny UNet, written down by hand."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet", torch_dtype=torch.float32)
    return SlotTable(
        slot_set="transformer",
        slots=[
            slot(path, module)
            for path, module in unet.named_modules()
            if "attentions" in path and path.endswith(TARGETS)
        ],
    )


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> Pipeline:
    return Pipeline(Bundle.open(tiny_bundle))


@pytest.fixture(scope="module")
def reference(tiny_base: Path, tiny_loras: dict[str, Path]) -> Reference:
    return Reference(tiny_base, tiny_loras)
