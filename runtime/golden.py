"""Holds a graph against the UNet step that PyTorch computed at export (`manifest.Golden`)."""

import numpy as np
import onnxruntime

from runtime.bundle import Bundle
from runtime.errors import ParityMissed
from runtime.manifest import Graph, UNetVariant
from runtime.noise import Generator
from runtime.tensors import Float32, read_tensors


def golden_feeds(bundle: Bundle, variant: UNetVariant) -> tuple[dict[str, Float32], Float32]:
    """The graph inputs of a variant's golden step, and PyTorch's `out_sample`.

    On a variant with slots they include the LoRA, drawn in slot order: A `[in, rank]`, then
    B `[rank, out]`, both times `lora_std`.
    """
    golden = variant.golden
    feeds, _ = read_tensors(bundle.path(golden.file))
    expected = feeds.pop("out_sample")
    if variant.slots:
        noise = Generator(golden.lora_seed)
        std, rank = np.float32(golden.lora_std), golden.lora_rank
        for slot in bundle.slot_table().slots:
            feeds[slot.input_a] = std * noise.randn((slot.in_width, rank))
            feeds[slot.input_b] = std * noise.randn((rank, slot.out_width))
    return feeds, expected


def golden_error(
    bundle: Bundle, variant: UNetVariant, session: onnxruntime.InferenceSession
) -> float:
    """max abs (session - PyTorch) over max abs PyTorch, on the golden step."""
    feeds, expected = golden_feeds(bundle, variant)
    (found,) = session.run(["out_sample"], feeds)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def check_golden(
    bundle: Bundle, variant: UNetVariant, graph: Graph, session: onnxruntime.InferenceSession
) -> float:
    """`golden_error`; ParityMissed when it is above the tolerance of the graph's precision."""
    golden = variant.golden
    limit = golden.tolerance_fp16 if graph.compute == "fp16" else golden.tolerance_fp32
    error = golden_error(bundle, variant, session)
    if not error <= limit:  # NaN is a miss too
        what = f"is {error:.2e} from PyTorch on the golden step, {limit:.0e} is allowed"
        todo = "use another execution provider, or export the bundle again"
        raise ParityMissed(what, where=str(bundle.folder / graph.file.url), todo=todo)
    return error
