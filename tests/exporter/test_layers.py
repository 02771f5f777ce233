from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from exporter.layers import every_layer
from runtime.bundle import Bundle


def test_layers_without_a_slot_are_as_those_with_one(
    bundle: Bundle, tiny_base: Path, tiny_unet: UNet2DConditionModel
) -> None:
    """Each read back from where the table says that it lies."""
    every = {slot.name: slot for slot in every_layer(bundle, tiny_base).slots}
    modules = {
        path: module
        for path, module in tiny_unet.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    assert every.keys() == modules.keys()
    slots = bundle.slot_table().slots
    assert every.items() >= {slot.name: slot for slot in slots}.items()
    assert len(every) > len(slots)
    for path, slot in every.items():
        wanted = modules[path].weight.detach().numpy().astype(np.float16)
        if slot.weight.transposed:
            wanted = wanted.reshape(slot.out_width, slot.in_width).T
        data = bundle.path(bundle.manifest.shards[slot.weight.shard]).read_bytes()
        found = np.frombuffer(data, np.float16, wanted.size, slot.weight.offset)
        np.testing.assert_array_equal(found.reshape(wanted.shape), wanted, err_msg=path)
