"""Holds a graph against the UNet step that PyTorch computed at export (`manifest.Golden`)."""

import numpy as np

from runtime.bundle import Bundle
from runtime.errors import BrushletError, ParityMissed
from runtime.manifest import Golden, UNetVariant
from runtime.noise import Generator
from runtime.tensors import Float32, read_tensors
from runtime.unet import UNet


def golden_feeds(bundle: Bundle, variant: UNetVariant) -> tuple[dict[str, Float32], Float32]:
    """The graph inputs of a variant's golden step, and PyTorch's `out_sample`.

    On a variant with slots they include the LoRA, drawn in slot order: A `[in, rank]`, then
    B `[rank, out]`, both times `lora_std`.
    """
    golden = _golden(variant)
    feeds, _ = read_tensors(bundle.path(golden.file))
    expected = feeds.pop("out_sample")
    if variant.slots:
        noise = Generator(golden.lora_seed)
        std, rank = np.float32(golden.lora_std), golden.lora_rank
        for slot in bundle.slot_table().slots:
            feeds[slot.input_a] = std * noise.randn((slot.in_width, rank))
            feeds[slot.input_b] = std * noise.randn((rank, slot.out_width))
    return feeds, expected


def golden_error(bundle: Bundle, unet: UNet) -> float:
    """max abs (UNet - PyTorch) over max abs PyTorch, on the golden step."""
    feeds, expected = golden_feeds(bundle, unet.variant)
    found = unet.step(feeds)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def check_golden(bundle: Bundle, unet: UNet) -> float:
    """`golden_error`; ParityMissed when it is above the tolerance of the graph's precision."""
    golden, graph = _golden(unet.variant), unet.graph
    limit = golden.tolerance_fp16 if graph.compute == "fp16" else golden.tolerance_fp32
    error = golden_error(bundle, unet)
    if not error <= limit:  # NaN is a miss too
        what = f"is {error:.2e} from PyTorch on the golden step, {limit:.0e} is allowed"
        todo = "use another execution provider, or export the bundle again"
        raise ParityMissed(what, where=str(bundle.folder / graph.file.url), todo=todo)
    return error


def _golden(variant: UNetVariant) -> Golden:
    if variant.golden is None:
        what = f"the UNet {variant.name} has no golden vector of its own"
        raise BrushletError(what, todo="check the base of its bundle")
    return variant.golden
