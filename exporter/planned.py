"""The slots that a base will have, told by its configuration in a second."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from exporter.pipeline import loading
from exporter.shards import Place
from exporter.slots import SlotSet, SlotShape, aliases, make_slots, text_aliases
from exporter.slotting import slot_shapes
from exporter.text_encoder import text_slot_shapes
from runtime.manifest import SlotTable


def planned_slots(base: Path, slot_set: SlotSet) -> list[SlotTable]:
    """The slot tables of UNet and text encoder, their weights nowhere yet.

    Raises:
        BadFile: diffusers cannot load the configuration.
        BrushletError: a model has no layers that LoRAs attach to.
    """
    with loading(base), torch.device("meta"):
        settings: Any = UNet2DConditionModel.load_config(
            base, subfolder="unet", local_files_only=True
        )
        unet: Any = UNet2DConditionModel.from_config(settings)
        text_encoder = CLIPTextModel(
            CLIPTextConfig.from_pretrained(base, subfolder="text_encoder", local_files_only=True)
        )
    shapes, text_shapes = slot_shapes(unet, slot_set), text_slot_shapes(text_encoder)
    return [
        SlotTable(
            slot_set=slot_set,
            slots=make_slots(shapes, _nowhere(shapes), lambda path: aliases(path, unet.config)),
        ),
        SlotTable(
            model="text_encoder",
            slot_set="transformer",
            slots=make_slots(text_shapes, _nowhere(text_shapes), text_aliases),
        ),
    ]


def _nowhere(shapes: Mapping[str, SlotShape]) -> dict[str, Place]:
    return {
        f"{path}.weight": Place("", 0, (shape.outs, shape.ins), np.dtype(np.float16))
        for path, shape in shapes.items()
    }
