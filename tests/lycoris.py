"""Files of the `lycoris-lora` package, and the weights that it merges itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lycoris.wrapper import LycorisNetwork
from torch import nn


@contextmanager
def _targets(patterns: Sequence[str], prefix: str) -> Iterator[None]:
    """LyCORIS keeps its targets on the class. kohya's scripts set a prefix too."""
    before = {name: value for name, value in vars(LycorisNetwork).items() if name.isupper()}
    try:
        LycorisNetwork.apply_preset(
            {
                "target_module": [],
                "target_name": list(patterns),
                "lora_prefix": prefix,
                "enable_conv": True,
            }
        )
        yield
    finally:
        for name, value in before.items():
            setattr(LycorisNetwork, name, value)


def lycoris_network(
    model: nn.Module,
    layers: Sequence[str],
    *,
    rank: int,
    alpha: float,
    prefix: str = "lora_unet",
    **options: Any,
) -> LycorisNetwork:
    """A network on the modules whose paths match `layers`, with random weights.

    Weights are fractions of 16 of four bits, so that fp16 holds their products. Magnitudes stay
    near the norms.
    """
    with _targets(layers, prefix):
        network = LycorisNetwork(
            model, 1.0, rank, rank, alpha, alpha, warn_on_unmatched=False, **options
        )
        network.apply_to()
    for name, parameter in network.named_parameters():
        if name.endswith("dora_scale"):
            parameter.data *= 1 + 0.3 * torch.rand_like(parameter)
        elif name.endswith("scalar"):
            parameter.data.fill_(1.5)
        elif options["network_module"] == "full":  # applied, it holds the whole weight
            parameter.data += 0.05 * torch.randn_like(parameter)
        else:
            parameter.data = (4 * torch.randn_like(parameter)).round().clamp(-15, 15) / 16
    return network


@torch.no_grad()
def lycoris_merged(network: LycorisNetwork, strength: float) -> dict[str, np.ndarray]:
    """Module name in the file -> what `merge_to` writes into the layer."""
    return {
        module.lora_name: module.get_merged_weight(strength, module.shape)[0].numpy()
        for module in network.loras
    }


@torch.no_grad()
def lycoris_biases(network: LycorisNetwork, strength: float) -> dict[str, np.ndarray]:
    """Module name in the file -> the bias that it merges, of those that change one."""
    merged = {
        module.lora_name: module.get_merged_weight(strength, module.shape)[1]
        for module in network.loras
    }
    return {name: bias.numpy() for name, bias in merged.items() if bias is not None}
